//! From configuration and files to everything a node needs to start: the chain spec, its genesis, the keys.

use crate::config::{NodeConfig, Role};
use crate::exit::{ExitContext as _, ExitKind, Failure};
use crate::keystore::{self, KeyKind};
use crate::observability::Readiness;
use crate::vote_record;
use cairn_chain_spec::{ChainSpec, DOCUMENT_BYTES_MAX};
use cairn_ledger::Genesis;
use cairn_primitives::{KeyPair, PublicKey};
use cairn_rpc::Token;
use prometheus::Registry;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A node that is ready to start: what was read and checked, and what it shares with the outside.
#[derive(Debug)]
pub struct Launch {
    /// The settings.
    pub config: NodeConfig,
    /// The chain.
    pub spec: ChainSpec,
    /// Its genesis block and state.
    pub genesis: Genesis,
    /// The key of the peer id.
    pub node_key: KeyPair,
    /// The keys that vote, each in the epochs whose validators hold it; none unless the role is validator.
    pub consensus_keys: Vec<ConsensusKey>,
    /// Whoever shows it may call unsafe methods.
    pub unsafe_token: Option<Token>,
    /// What `/readyz` shows; the node's parts report to it.
    pub readiness: Readiness,
    /// What `/metrics` shows; every metric carries the label `chain_id`.
    pub registry: Registry,
}

impl Launch {
    /// The public halves of the keys that vote.
    #[must_use]
    pub fn own_keys(&self) -> Vec<PublicKey> {
        self.consensus_keys.iter().map(|key| key.pair.public()).collect()
    }

    /// Reads the chain spec and the keys that the configuration names. A missing node key is made.
    ///
    /// # Errors
    /// A file is missing, unreadable, wrong or, where it holds a secret, open to others; a validator has no key or one that the chain does not know.
    pub fn prepare(config: NodeConfig) -> anyhow::Result<Self> {
        let spec = load_spec(&config.node.chain)?;
        let genesis = genesis_of(&spec)?;
        let node_key = node_key(&config)?;
        let consensus_keys = match config.node.role {
            Role::Validator => consensus_keys(&config, &spec)?,
            Role::Rpc | Role::Archive => Vec::new(),
        };
        let unsafe_token = unsafe_token(&config)?;
        let labels = [("chain_id".to_owned(), spec.id().to_owned())].into_iter().collect();
        let registry = Registry::new_custom(None, Some(labels))?;
        Ok(Self {
            config,
            spec,
            genesis,
            node_key,
            consensus_keys,
            unsafe_token,
            readiness: Readiness::default(),
            registry,
        })
    }
}

/// A key that votes, and where its votes are recorded.
#[derive(Clone, Debug)]
pub struct ConsensusKey {
    /// The key.
    pub pair: KeyPair,
    /// The file of its record.
    pub record: PathBuf,
}

/// The fewest characters of a token: fewer could be guessed.
const TOKEN_CHARS_MIN: usize = 16;

/// The most characters of a token.
const TOKEN_CHARS_MAX: usize = 256;

/// The token whose bearer may call unsafe methods, from the file that the configuration names; `None` where it names none.
///
/// # Errors
/// The file cannot be read, can be read by others, or holds no token.
fn unsafe_token(config: &NodeConfig) -> anyhow::Result<Option<Token>> {
    let named = &config.rpc.unsafe_token_file;
    if named.is_empty() {
        return Ok(None);
    }
    let path = Path::new(named);
    let cannot_read = || format!("cannot read the token {named} (rpc.unsafe_token_file)");
    let file = std::fs::File::open(path).exit_with(ExitKind::Config, cannot_read())?;
    keystore::check_mode(path, &file)?;
    let mut text = String::new();
    // A little more than allowed, so that too much is seen.
    let limit = u64::try_from(TOKEN_CHARS_MAX).unwrap_or(u64::MAX).saturating_add(16);
    file.take(limit).read_to_string(&mut text).exit_with(ExitKind::Config, cannot_read())?;
    let token = text.trim();
    if (TOKEN_CHARS_MIN..=TOKEN_CHARS_MAX).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(Some(token.into()));
    }
    let message = format!(
        "{named} (rpc.unsafe_token_file) must hold {TOKEN_CHARS_MIN} to {TOKEN_CHARS_MAX} visible ASCII characters on one line: \
         make them with `openssl rand -hex 32`"
    );
    Err(Failure::new(ExitKind::Config, message).into())
}

/// The folder of the database.
#[must_use]
pub fn database_folder(config: &NodeConfig) -> PathBuf {
    config.node.data_dir.join("db")
}

/// The folder in which an archive executes blocks again whose states it lacks.
#[must_use]
pub fn replay_folder(config: &NodeConfig) -> PathBuf {
    config.node.data_dir.join("replay")
}

/// The file of a key of the node.
#[must_use]
pub fn key_file(data_dir: &Path, kind: KeyKind) -> PathBuf {
    data_dir.join("keys").join(format!("{}.json", kind.word()))
}

/// A preset by name, else the chain spec in a file.
///
/// # Errors
/// Nothing was chosen, the file cannot be read, or it is no chain spec.
pub fn load_spec(chain: &str) -> anyhow::Result<ChainSpec> {
    if chain.is_empty() {
        let message = "no chain was chosen: give --chain with a chain spec file, or the preset dev or local4";
        return Err(Failure::new(ExitKind::Config, message).into());
    }
    if let Some(spec) = preset(chain) {
        return spec;
    }
    let path = Path::new(chain);
    let cannot_read = || format!("cannot read the chain spec {chain} (presets are dev and local1 to local20)");
    let length = std::fs::metadata(path).exit_with(ExitKind::ChainSpec, cannot_read())?.len();
    if length > u64::try_from(DOCUMENT_BYTES_MAX).unwrap_or(u64::MAX) {
        let message = format!("{chain} has {length} bytes, at most {DOCUMENT_BYTES_MAX} are read");
        return Err(Failure::new(ExitKind::ChainSpec, message).into());
    }
    let text = std::fs::read_to_string(path).exit_with(ExitKind::ChainSpec, cannot_read())?;
    ChainSpec::parse(&text).exit_with(ExitKind::ChainSpec, format!("{chain} cannot be used"))
}

/// Whether a chain is meant by its preset's name, and not by a file.
#[must_use]
pub fn is_preset(chain: &str) -> bool {
    preset(chain).is_some()
}

/// `dev`, or `local` and a number of validators.
fn preset(name: &str) -> Option<anyhow::Result<ChainSpec>> {
    if name == "dev" {
        return Some(Ok(ChainSpec::dev()));
    }
    let validators = name.strip_prefix("local")?.parse::<u16>().ok()?;
    Some(ChainSpec::local(validators).exit_with(ExitKind::ChainSpec, format!("there is no preset {name}")))
}

/// The genesis block that a chain spec stands for.
///
/// # Errors
/// The state it describes cannot be built.
pub fn genesis_of(spec: &ChainSpec) -> anyhow::Result<Genesis> {
    let cannot = "the chain spec's genesis state cannot be built";
    let state = cairn_runtime::genesis_state(&genesis_config(spec)).exit_with(ExitKind::ChainSpec, cannot)?;
    Genesis::new(state, spec.validator_set().clone(), spec.genesis_time(), spec.spec_hash())
        .exit_with(ExitKind::ChainSpec, cannot)
}

fn genesis_config(spec: &ChainSpec) -> cairn_runtime::GenesisConfig {
    spec.genesis_config()
}

fn node_key(config: &NodeConfig) -> anyhow::Result<KeyPair> {
    if !config.node.node_key.is_empty() {
        return keystore::read_kind(Path::new(&config.node.node_key), KeyKind::Node);
    }
    let path = key_file(&config.node.data_dir, KeyKind::Node);
    if path.exists() { keystore::read_kind(&path, KeyKind::Node) } else { keystore::generate(&path, KeyKind::Node) }
}

fn consensus_keys(config: &NodeConfig, spec: &ChainSpec) -> anyhow::Result<Vec<ConsensusKey>> {
    let refuse = |message: String| anyhow::Error::new(Failure::new(ExitKind::Key, message));
    let named = &config.node.consensus_key;
    let mut keys = Vec::new();
    if named.is_empty() {
        let path = key_file(&config.node.data_dir, KeyKind::Consensus);
        if !path.exists() {
            return Err(refuse(format!(
                "a validator needs a consensus key and {} does not exist: make one with `cairn keys generate --kind \
                 consensus --out {}`, or name one with --consensus-key",
                path.display(),
                path.display()
            )));
        }
        keys.push(key_in_file(&path)?);
    } else {
        keys.push(named_key(named, config, spec)?);
    }
    if !config.node.next_consensus_key.is_empty() {
        keys.push(named_key(&config.node.next_consensus_key, config, spec)?);
    }
    // Where validators change, a key may be waiting for its epoch.
    let is_known = |key: &ConsensusKey| spec.validator_set().index_of(&key.pair.public()).is_some();
    if spec.consensus().epoch_length == 0 && !keys.iter().any(is_known) {
        let publics: Vec<_> = keys.iter().map(|key| key.pair.public().to_string()).collect();
        return Err(refuse(format!(
            "the consensus key {} is not among the validators of {}: use another key, or run with --role rpc",
            publics.join(", "),
            spec.name()
        )));
    }
    Ok(keys)
}

/// A key given by its file or, on a development chain, by its name.
fn named_key(named: &str, config: &NodeConfig, spec: &ChainSpec) -> anyhow::Result<ConsensusKey> {
    if !named.starts_with("//") {
        return key_in_file(Path::new(named));
    }
    if !spec.is_development() {
        let message = format!(
            "{named} is a development key that everybody knows, and {} is not a development chain",
            spec.name()
        );
        return Err(Failure::new(ExitKind::Key, message).into());
    }
    let pair = keystore::from_argument(named, KeyKind::Consensus)?;
    let name = named.trim_start_matches('/');
    let record = vote_record::path_beside(&config.node.data_dir.join("keys").join(format!("{name}.json")));
    // Nobody owns a development key: there is nothing to lose with its record.
    vote_record::create(&record, &pair.public())?;
    Ok(ConsensusKey { pair, record })
}

fn key_in_file(path: &Path) -> anyhow::Result<ConsensusKey> {
    Ok(ConsensusKey { pair: keystore::read_kind(path, KeyKind::Consensus)?, record: vote_record::path_beside(path) })
}

/// Refuses a start on addresses that are taken, before the database is opened.
///
/// # Errors
/// One of the addresses is in use or not of this machine; the message names address, setting and cure.
pub fn check_addresses(config: &NodeConfig) -> anyhow::Result<()> {
    check_address(config.rpc.listen, "rpc.listen")?;
    if config.metrics.enabled {
        check_address(config.metrics.listen, "metrics.listen")?;
    }
    for address in &config.network.listen {
        if let Some(address) = tcp_address(address) {
            check_address(address, "network.listen")?;
        }
    }
    Ok(())
}

/// Tries to listen on an address for a moment.
///
/// # Errors
/// It is taken or not of this machine; the message names address, setting and cure.
pub fn check_address(address: SocketAddr, setting: &str) -> anyhow::Result<()> {
    use std::io::ErrorKind::{AddrInUse, AddrNotAvailable, PermissionDenied};
    let cures = [
        (AddrInUse, "another program uses it: stop that program or choose another port"),
        (AddrNotAvailable, "this machine has no such address: correct it"),
        (PermissionDenied, "ports below 1024 need privileges: choose a higher one"),
    ];
    match std::net::TcpListener::bind(address) {
        Ok(_) => Ok(()),
        Err(error) => {
            let cure = cures.iter().find(|(kind, _)| *kind == error.kind()).map_or("correct it", |(_, cure)| *cure);
            let message = format!("cannot listen on {address}: {cure} with --{setting}");
            Err(error).exit_with(ExitKind::Address, message)
        }
    }
}

/// The socket address in `/ip4/…/tcp/…`; `None` for other transports and names.
fn tcp_address(multiaddr: &str) -> Option<SocketAddr> {
    let mut parts = multiaddr.split('/').skip(1);
    let ip = match parts.next()? {
        "ip4" | "ip6" => parts.next()?.parse().ok()?,
        _ => return None,
    };
    let port = match parts.next()? {
        "tcp" => parts.next()?.parse().ok()?,
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::{check_address, load_spec, tcp_address};
    use crate::exit::{ExitKind, kind_of, one_line};

    #[test]
    fn tcp_address_of_multiaddr_is_found_and_others_are_passed_over() {
        assert_eq!(tcp_address("/ip4/127.0.0.1/tcp/30333"), "127.0.0.1:30333".parse().ok());
        assert_eq!(tcp_address("/ip6/::1/tcp/1/p2p/12D3"), "[::1]:1".parse().ok());
        assert_eq!(tcp_address("/ip4/127.0.0.1/udp/1/quic-v1"), None);
        assert_eq!(tcp_address("/dns/localhost/tcp/1"), None);
        assert_eq!(tcp_address("nonsense"), None);
    }

    #[test]
    fn address_in_use_names_address_flag_and_cure() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = check_address(address, "rpc.listen").unwrap_err();
        assert_eq!(kind_of(&error), ExitKind::Address);
        let line = one_line(&error);
        assert!(line.contains(&address.to_string()) && line.contains("--rpc.listen"), "{line}");
        drop(taken);
        assert!(check_address(address, "rpc.listen").is_ok());
    }

    #[test]
    fn chain_presets_are_known_and_files_are_not_invented() {
        assert_eq!(load_spec("local4").unwrap().validator_set().len(), 4);
        assert_eq!(load_spec("dev").unwrap().validator_set().len(), 1);
        assert_eq!(kind_of(&load_spec("local0").unwrap_err()), ExitKind::ChainSpec);
        assert_eq!(kind_of(&load_spec("no/such/file.json").unwrap_err()), ExitKind::ChainSpec);
        assert_eq!(kind_of(&load_spec("").unwrap_err()), ExitKind::Config);
    }
}
