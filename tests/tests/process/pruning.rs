//! What pruning and a change of the history give back, in bytes on disk.

use cairn_primitives::Height;
use cairn_storage::HistoryMode;
use cairn_tests::chain::LongChain;
use cairn_tests::harness::{Finished, cairn};
use serde_json::Value;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

const TRANSFERS: u32 = 10;
/// Heights of a window.
const WINDOW: u32 = 64;

/// A data folder with a chain that grows.
struct Data {
    chain: LongChain,
    folder: TempDir,
}

impl Data {
    fn new() -> Self {
        let (chain, folder) = (LongChain::new().unwrap(), tempfile::tempdir().unwrap());
        fs::write(folder.path().join("spec.json"), chain.spec().to_json()).unwrap();
        Self { chain, folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn grow(&self, history: HistoryMode, to: u32) {
        self.chain.grow(&self.path().join("db"), history, Height(to), &|_| TRANSFERS).unwrap();
    }

    fn db(&self, words: &[&str]) -> Value {
        let place = ["--json", "--chain", "spec.json", "--data-dir", "."];
        let Finished { code, stdout, stderr } = cairn(self.path(), ["db"].iter().chain(words).chain(&place)).unwrap();
        assert_eq!(code, Some(0), "{words:?}: {stderr}");
        serde_json::from_str(&stdout).unwrap()
    }

    /// Bytes of all files.
    fn bytes(&self) -> u64 {
        let files = fs::read_dir(self.path().join("db")).unwrap();
        // The engine's own diary grows with every opening.
        let counts = |name: &str| !name.starts_with("LOG") && !name.starts_with("OPTIONS");
        let counted = files.map(Result::unwrap).filter(|file| file.file_name().to_str().is_some_and(counts));
        counted.map(|file| file.metadata().unwrap().len()).sum()
    }

    /// Past states that a check could build again; it finds nothing wrong.
    fn past_states(&self) -> u64 {
        self.db(&["check"])["pastStates"].as_u64().unwrap()
    }
}

#[test]
fn pruned_archive_gives_its_bytes_back() {
    let data = Data::new();
    data.grow(HistoryMode::Archive, 1_500);
    assert_eq!(data.past_states(), 1_500);
    let before = data.bytes();
    let pruned = data.db(&["prune", "--keep", "64"]);
    assert_eq!((&pruned["lowest"], &pruned["head"]), (&1_436.into(), &1_500.into()));
    let after = data.bytes();
    // Blocks, events and indexes stay.
    assert!(after < before / 2, "{before} bytes before, {after} after");
    assert_eq!(data.past_states(), 64);
}

#[test]
fn archive_becomes_a_window_and_an_archive_again_in_place() {
    let data = Data::new();
    data.grow(HistoryMode::Archive, 1_000);
    let before = data.bytes();
    // The archive goes once the window is above it.
    data.grow(HistoryMode::Window(WINDOW), 1_200);
    data.db(&["prune", "--keep", &WINDOW.to_string()]);
    let after = data.bytes();
    // Blocks, events and indexes stay, and there are a fifth more of them.
    assert!(after < before * 3 / 5, "{before} bytes before, {after} after, with 200 blocks more");
    assert_eq!(data.past_states(), u64::from(WINDOW));
    data.grow(HistoryMode::Archive, 1_400);
    assert_eq!(data.past_states(), 200 + u64::from(WINDOW));
}
