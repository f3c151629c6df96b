//! `cairn keys new-record`, `export-record`, `import-record`: the record of what a consensus key has signed.
//!
//! ```json
//! { "version": 1, "public": "0x…", "genesis": "0x…", "floor": { "epoch": 0, "view": 17 },
//!   "signed": [ { "epoch": 0, "view": 18, "kind": "notarize", "parentView": 17, "block": "0x…" },
//!               { "epoch": 0, "view": 19, "kind": "nullify" } ] }
//! ```
//! Nothing at or below the floor is signed any more. An import adds to what a record holds and never takes away.

use crate::exit::{ExitContext as _, ExitKind, Failure};
use crate::keystore::{self, KeyKind};
use crate::launch::{genesis_of, load_spec};
use crate::output::{Output, table};
use crate::vote_record::{Found, VoteRecord, create, path_beside};
use cairn_consensus::VoteGuard;
use cairn_primitives::{Epoch, Hash, KeyPair, Proposal, Subject, View};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::Path;

/// The version of the format.
const VERSION: u32 = 1;

/// A larger file is not one of ours, in bytes.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The exported record of one key for one chain.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    version: u32,
    public: String,
    genesis: String,
    floor: Place,
    signed: Vec<Signed>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    epoch: u64,
    view: u64,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
enum Signed {
    Notarize { epoch: u64, view: u64, parent_view: u64, block: String },
    Finalize { epoch: u64, view: u64, parent_view: u64, block: String },
    Nullify { epoch: u64, view: u64 },
}

/// Makes the empty record of a key that never voted.
///
/// # Errors
/// There is a record, the declaration is missing, or the file cannot be written.
pub fn new(key: &Path, nothing_signed: bool, output: Output) -> anyhow::Result<()> {
    let pair = keystore::read_kind(key, KeyKind::Consensus)?;
    let path = path_beside(key);
    if path.exists() {
        let message = format!("{} exists: it says what this key has signed and is never replaced", path.display());
        return Err(Failure::new(ExitKind::Key, message).into());
    }
    if !nothing_signed {
        let message = "a validator that forgets what it signed may vote twice, which is punished: confirm with \
                       --nothing-signed that this key never voted on the chain, or just start the node, which waits until \
                       it is safe";
        return Err(Failure::new(ExitKind::Key, message).into());
    }
    create(&path, &pair.public())?;
    let facts = [("record", path.display().to_string()), ("public", pair.public().to_string())];
    output.print(&json!({ "record": path, "public": pair.public().to_string() }), &table(&facts))
}

/// Writes the record of a key to a file that people and other signers can read. The node must be stopped.
///
/// # Errors
/// There is no record, it is in use, or the file exists or cannot be written.
pub fn export(key: &Path, chain: &str, out: &Path, output: Output) -> anyhow::Result<()> {
    let (_record, guard, genesis) = open(key, chain)?;
    let document = document(&guard, &genesis);
    let mut text = serde_json::to_string_pretty(&document)?;
    text.push('\n');
    crate::commands::init::write_new(out, &text)?;
    print("exported", out, &document, output)
}

/// Adds what another machine signed with a key to its record. The node must be stopped.
///
/// # Errors
/// The file is no export or one of another key or chain; the record is in use or cannot be written.
pub fn import(key: &Path, chain: &str, from: &Path, output: Output) -> anyhow::Result<()> {
    let shown = from.display();
    let refuse = |message: String| anyhow::Error::new(Failure::new(ExitKind::Key, message));
    let length = std::fs::metadata(from).exit_with(ExitKind::Key, format!("cannot read {shown}"))?.len();
    if length > FILE_BYTES_MAX {
        return Err(refuse(format!("{shown} has {length} bytes, at most {FILE_BYTES_MAX} are read")));
    }
    let text = std::fs::read_to_string(from).exit_with(ExitKind::Key, format!("cannot read {shown}"))?;
    let document: Document =
        serde_json::from_str(&text).exit_with(ExitKind::Key, format!("{shown} is not an exported vote record"))?;
    if document.version != VERSION {
        return Err(refuse(format!("{shown} has format version {}, this binary knows {VERSION}", document.version)));
    }
    let pair = keystore::read_kind(key, KeyKind::Consensus)?;
    let path = path_beside(key);
    if document.public != pair.public().to_string() {
        return Err(refuse(format!("{shown} is the record of the key {}, not of {}", document.public, pair.public())));
    }
    let genesis = genesis_of(&load_spec(chain)?)?.hash();
    if document.genesis != genesis.to_string() {
        return Err(refuse(format!(
            "{shown} is of the chain with genesis {}, {chain} has {genesis}",
            document.genesis
        )));
    }
    let subjects: Result<Vec<_>, _> = document.signed.iter().map(subject).collect();
    let subjects = subjects.map_err(|block| refuse(format!("{shown}: `{block}` is not a block hash")))?;
    // Only now: an empty record says that nothing was signed. Of a key without one, what the import says is all there is.
    create(&path, &pair.public())?;
    let (mut record, mut guard, _) = open(key, chain)?;
    guard.merge(subjects, (Epoch(document.floor.epoch), View(document.floor.view)));
    record.rewrite(&guard.record())?;
    print("imported", &path, &self::document(&guard, &genesis), output)
}

fn open(key: &Path, chain: &str) -> anyhow::Result<(VoteRecord, VoteGuard, Hash)> {
    let pair: KeyPair = keystore::read_kind(key, KeyKind::Consensus)?;
    let genesis = genesis_of(&load_spec(chain)?)?.hash();
    let path = path_beside(key);
    let (record, found) = VoteRecord::open(&path, pair.public(), genesis)?;
    match found {
        Found::Records(records) => Ok((record, VoteGuard::new(pair, genesis, records), genesis)),
        Found::Lost => {
            let message = format!("{} does not exist: there is nothing to export", path.display());
            Err(Failure::new(ExitKind::Key, message).into())
        }
    }
}

fn document(guard: &VoteGuard, genesis: &Hash) -> Document {
    let (epoch, view) = guard.floor();
    Document {
        version: VERSION,
        public: guard.public().to_string(),
        genesis: genesis.to_string(),
        floor: Place { epoch: epoch.0, view: view.0 },
        signed: guard.signed().map(|subject| signed(&subject)).collect(),
    }
}

fn signed(subject: &Subject) -> Signed {
    let (epoch, view) = (subject.epoch().0, subject.view().0);
    match subject {
        Subject::Notarize(Proposal { parent_view, block, .. }) => {
            Signed::Notarize { epoch, view, parent_view: parent_view.0, block: block.to_string() }
        }
        Subject::Finalize(Proposal { parent_view, block, .. }) => {
            Signed::Finalize { epoch, view, parent_view: parent_view.0, block: block.to_string() }
        }
        Subject::Nullify { .. } => Signed::Nullify { epoch, view },
    }
}

/// The vote, or what is not a hash in it.
fn subject(signed: &Signed) -> Result<Subject, String> {
    let proposal = |epoch: u64, view: u64, parent_view: u64, block: &String| {
        let block = block.parse().map_err(|_| block.clone())?;
        Ok(Proposal { epoch: Epoch(epoch), view: View(view), parent_view: View(parent_view), block })
    };
    match signed {
        Signed::Notarize { epoch, view, parent_view, block } => {
            proposal(*epoch, *view, *parent_view, block).map(Subject::Notarize)
        }
        Signed::Finalize { epoch, view, parent_view, block } => {
            proposal(*epoch, *view, *parent_view, block).map(Subject::Finalize)
        }
        Signed::Nullify { epoch, view } => Ok(Subject::Nullify { epoch: Epoch(*epoch), view: View(*view) }),
    }
}

fn print(done: &'static str, file: &Path, document: &Document, output: Output) -> anyhow::Result<()> {
    let Place { epoch, view } = document.floor;
    let facts = [
        (done, file.display().to_string()),
        ("public", document.public.clone()),
        ("genesis", document.genesis.clone()),
        ("floor", format!("view {view} of epoch {epoch}: nothing at or below is signed")),
        ("signed", format!("{} votes above it", document.signed.len())),
    ];
    let value = json!({
        done: file, "public": document.public, "genesis": document.genesis,
        "floor": { "epoch": epoch, "view": view }, "signed": document.signed.len(),
    });
    output.print(&value, &table(&facts))
}

#[cfg(test)]
mod tests {
    use super::{export, import};
    use crate::exit::one_line;
    use crate::keystore::{KeyKind, generate};
    use crate::launch::{genesis_of, load_spec};
    use crate::output::Output;
    use crate::vote_record::{Found, VoteRecord, path_beside};
    use cairn_consensus::{JournalRecord, VoteGuard};
    use cairn_primitives::{Epoch, Hash, Proposal, Subject, ValidatorIndex, View};

    fn votes() -> [Subject; 3] {
        let proposal = Proposal { epoch: Epoch(0), view: View(7), parent_view: View(6), block: Hash([3; 32]) };
        [Subject::Notarize(proposal), Subject::Finalize(proposal), Subject::Nullify { epoch: Epoch(0), view: View(8) }]
    }

    #[test]
    fn record_exported_and_imported_elsewhere_binds_the_key_there() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("consensus.json");
        let pair = generate(&key, KeyKind::Consensus).unwrap();
        let genesis = genesis_of(&load_spec("local4").unwrap()).unwrap().hash();
        let (mut record, _) = VoteRecord::open(&path_beside(&key), pair.public(), genesis).unwrap();
        let mut guard = VoteGuard::new(pair.clone(), genesis, []);
        for subject in votes() {
            record.append(&[JournalRecord::Vote(guard.sign(subject, ValidatorIndex(0)).unwrap())]).unwrap();
        }
        let out = folder.path().join("export.json");
        let in_use = export(&key, "local4", &out, Output::Json).unwrap_err();
        assert!(one_line(&in_use).contains("another process uses"), "{}", one_line(&in_use));
        drop(record);
        export(&key, "local4", &out, Output::Json).unwrap();

        let elsewhere = tempfile::tempdir().unwrap();
        let copy = elsewhere.path().join("consensus.json");
        std::fs::copy(&key, &copy).unwrap();
        let other_chain = import(&copy, "dev", &out, Output::Json).unwrap_err();
        assert!(one_line(&other_chain).contains("genesis"), "{}", one_line(&other_chain));
        assert!(!path_beside(&copy).exists(), "an empty record would say that nothing was signed");
        import(&copy, "local4", &out, Output::Json).unwrap();
        let (_, found) = VoteRecord::open(&path_beside(&copy), pair.public(), genesis).unwrap();
        let Found::Records(records) = found else { panic!("the record is lost") };
        let mut guard = VoteGuard::new(pair, genesis, records);
        assert_eq!(guard.signed().collect::<Vec<_>>(), votes());
        assert!(guard.sign(Subject::Nullify { epoch: Epoch(0), view: View(7) }, ValidatorIndex(0)).is_err());
    }
}
