//! Key files: one ed25519 key each, readable by its owner alone.
//!
//! ```json
//! { "version": 1, "kind": "consensus", "scheme": "ed25519", "public": "0x…", "encryption": "none", "secret": "0x…" }
//! ```
//!
//! `version` and `encryption` let a later format be told apart: anything but version 1 with encryption `none` is refused.
//! A file is never overwritten. The secret is zeroized in memory after use and never printed.

use crate::exit::{ExitContext as _, ExitKind, Failure};
use crate::vote_record;
use cairn_chain_spec::development as development_keys;
use cairn_primitives::signer::AccountKey;
use cairn_primitives::{KeyPair, PublicKey};
use serde::{Deserialize, Serialize};
use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::path::Path;
use zeroize::{Zeroize, Zeroizing};

/// The version of the file format.
const VERSION: u32 = 1;

/// The only encryption there is so far.
const ENCRYPTION: &str = "none";

/// The signature scheme.
const SCHEME: &str = "ed25519";

/// A key file larger than this is not one of ours, in bytes.
const FILE_BYTES_MAX: u64 = 4096;

/// What a key is for; a file of one kind is refused where another is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    /// Signs a validator's votes.
    Consensus,
    /// Owns an account and signs transactions.
    Account,
    /// Names a node in the peer-to-peer network.
    Node,
}

impl KeyKind {
    /// The word used in files and on screen.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Consensus => "consensus",
            Self::Account => "account",
            Self::Node => "node",
        }
    }
}

/// The content of a key file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    version: u32,
    kind: KeyKind,
    scheme: String,
    public: String,
    encryption: String,
    secret: String,
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

/// A key with what it is for.
#[derive(Clone, Debug)]
pub struct StoredKey {
    /// What for.
    pub kind: KeyKind,
    /// The key.
    pub pair: KeyPair,
}

/// Makes a key from the system's randomness and writes it to a new file with mode 0600; beside a consensus key also the
/// empty record of its votes.
///
/// # Errors
/// The file exists or cannot be written, or the system has no randomness.
pub fn generate(path: &Path, kind: KeyKind) -> anyhow::Result<KeyPair> {
    let mut seed = Zeroizing::new([0u8; 32]);
    getrandom::fill(seed.as_mut()).map_err(|error| anyhow::anyhow!("the system gives no random bytes: {error}"))?;
    write(path, kind, &seed)?;
    let pair = KeyPair::from_seed(&seed);
    if kind == KeyKind::Consensus {
        vote_record::create(&vote_record::path_beside(path), &pair.public())?;
    }
    Ok(pair)
}

fn write(path: &Path, kind: KeyKind, seed: &[u8; 32]) -> anyhow::Result<()> {
    let file = KeyFile {
        version: VERSION,
        kind,
        scheme: SCHEME.into(),
        public: KeyPair::from_seed(seed).public().to_string(),
        encryption: ENCRYPTION.into(),
        secret: format!("0x{}", *Zeroizing::new(hex::encode(seed))),
    };
    let mut text = Zeroizing::new(serde_json::to_string_pretty(&file)?);
    text.push('\n');
    if let Some(parent) = path.parent() {
        let message = format!("cannot make the folder {}", parent.display());
        std::fs::create_dir_all(parent).exit_with(ExitKind::Key, message)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let result = options.open(path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    let cure = match &result {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            "; keys are never overwritten: choose another file or move this one away"
        }
        Ok(()) | Err(_) => "",
    };
    result.exit_with(ExitKind::Key, format!("cannot write the key file {}{cure}", path.display()))
}

/// Reads a key file.
///
/// # Errors
/// The file is missing, readable by others, damaged, of another version or encryption.
pub fn read(path: &Path) -> anyhow::Result<StoredKey> {
    let shown = path.display();
    let refuse = |message: String| anyhow::Error::new(Failure::new(ExitKind::Key, message));
    let file = std::fs::File::open(path).exit_with(ExitKind::Key, format!("cannot read the key file {shown}"))?;
    check_mode(path, &file)?;
    let mut text = Zeroizing::new(String::new());
    file.take(FILE_BYTES_MAX)
        .read_to_string(&mut text)
        .exit_with(ExitKind::Key, format!("cannot read the key file {shown}"))?;
    // The parser's message could quote the file: say where, not what.
    let file: KeyFile = serde_json::from_str(&text).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        refuse(format!("{shown} is not a key file (stopped at {place}): make one with `cairn keys generate`"))
    })?;
    if file.version != VERSION {
        return Err(refuse(format!("{shown} has format version {}, this binary knows {VERSION}", file.version)));
    }
    if file.encryption != ENCRYPTION {
        return Err(refuse(format!("{shown} is encrypted with `{}`, which this binary cannot open", file.encryption)));
    }
    if file.scheme != SCHEME {
        return Err(refuse(format!("{shown} holds a `{}` key, expected {SCHEME}", file.scheme)));
    }
    let mut seed = Zeroizing::new([0u8; 32]);
    hex::decode_to_slice(file.secret.strip_prefix("0x").unwrap_or(&file.secret), seed.as_mut())
        .map_err(|_| refuse(format!("{shown} is damaged: its secret is not 32 bytes of hexadecimal")))?;
    let pair = KeyPair::from_seed(&seed);
    if pair.public().to_string() != file.public {
        return Err(refuse(format!("{shown} is damaged: its public key does not belong to its secret")));
    }
    Ok(StoredKey { kind: file.kind, pair })
}

/// Reads a key file that must be of one kind.
///
/// # Errors
/// As [`read`], or the file is of another kind.
pub fn read_kind(path: &Path, kind: KeyKind) -> anyhow::Result<KeyPair> {
    let key = read(path)?;
    if key.kind == kind {
        return Ok(key.pair);
    }
    let message = format!("{} is a {} key, a {} key is needed here", path.display(), key.kind.word(), kind.word());
    Err(Failure::new(ExitKind::Key, message).into())
}

/// Checks that a file with a secret can be read by its owner alone.
///
/// # Errors
/// It can be read by others.
#[cfg(unix)]
pub fn check_mode(path: &Path, file: &std::fs::File) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = file.metadata()?.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let shown = path.display();
    let message =
        format!("{shown} can be read by others (mode {mode:04o}): run `chmod 600 {shown}` and think of a new secret");
    Err(Failure::new(ExitKind::Key, message).into())
}

/// Checks nothing: there are no modes here.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn check_mode(_path: &Path, _file: &std::fs::File) -> anyhow::Result<()> {
    Ok(())
}

/// The key of a development account written as `//Alice`; `None` if the text is nothing of the kind.
#[must_use]
pub fn development(path: &str) -> Option<KeyPair> {
    let name = path.strip_prefix("//")?;
    let is_name = !name.is_empty() && name.len() <= 31 && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_name.then(|| development_keys::key_pair(name))
}

/// The key behind an argument: a development path or an account key's file.
///
/// # Errors
/// The text is neither; or as [`read_kind`].
pub fn from_argument(text: &str, kind: KeyKind) -> anyhow::Result<KeyPair> {
    if text.starts_with("//") {
        let message =
            format!("`{text}` is not a development key: write //Alice, //Bob, //Charlie, //Dave, //Eve or //Ferdie");
        return development(text).ok_or_else(|| Failure::new(ExitKind::Key, message).into());
    }
    if text.starts_with("0x") && text.len() > 60 {
        let message = "a secret on the command line stays in the shell's history: put the key into a file \
                       (`cairn keys generate`) and name the file";
        return Err(Failure::new(ExitKind::Key, message).into());
    }
    read_kind(Path::new(text), kind)
}

/// The key of an account behind an argument: as [`from_argument`], or `sr25519//Alice` for a development account as wallets
/// have it.
///
/// # Errors
/// As [`from_argument`].
pub fn account_key(text: &str) -> anyhow::Result<AccountKey> {
    let sr25519 = text.strip_prefix("sr25519//").filter(|name| development_keys::NAMES.contains(name));
    match sr25519 {
        Some(name) => Ok(development_keys::sr25519_pair(name).into()),
        None => from_argument(text, KeyKind::Account).map(AccountKey::from),
    }
}

/// The libp2p peer id of a node key: base 58 of the identity multihash of the protobuf-encoded public key.
#[must_use]
pub fn peer_id(key: &PublicKey) -> String {
    const HEAD: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
    bs58::encode([HEAD.as_slice(), &key.0].concat()).into_string()
}

#[cfg(test)]
mod tests;
