//! The commands for the database of a stopped node: each on the folder of a real one.

use cairn_tests::harness::{Finished, Network, Shape, Signal, account, cairn, hashes, height_of, transfer};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Exit codes of the program: the database is damaged, is in use, does not hold what was asked for.
const DAMAGED: i32 = 7;
const LOCKED: i32 = 6;
const NOT_FOUND: i32 = 15;

fn run(folder: &Path, words: &[&str], config: &Path) -> Finished {
    let config = ["--config", config.to_str().unwrap(), "--json"];
    cairn(folder, ["db"].iter().chain(words).chain(&config)).unwrap()
}

/// Runs a command that has to succeed; its answer.
fn answer(folder: &Path, words: &[&str], config: &Path) -> Value {
    let Finished { code, stdout, stderr } = run(folder, words, config);
    assert_eq!(code, Some(0), "{words:?}: {stderr}");
    serde_json::from_str(&stdout).unwrap()
}

fn refused(folder: &Path, words: &[&str], config: &Path, code: i32) -> Finished {
    let finished = run(folder, words, config);
    assert_eq!(finished.code, Some(code), "{words:?}: {}", finished.stderr);
    finished
}

fn assert_sound(folder: &Path, config: &Path) {
    assert_eq!(answer(folder, &["check"], config)["damageCount"], 0);
}

fn table_files(database: &Path) -> Vec<PathBuf> {
    let is_table = |path: &PathBuf| path.extension().is_some_and(|name| name == "sst" || name == "blob");
    fs::read_dir(database).unwrap().map(|entry| entry.unwrap().path()).filter(is_table).collect()
}

#[tokio::test]
async fn database_of_a_stopped_node_is_checked_taken_back_pruned_and_goes_on() {
    let (mut network, clients) = Network::start(Shape { validators: 1, archives: 0 }).await.unwrap();
    let here = network.folder().to_path_buf();
    for value in 1..=8 {
        transfer(&clients[0], "Alice", "Ferdie", 1_000_000 * value).await.unwrap();
    }
    let node = network.node(0).unwrap();
    let (config, database) = (node.configure().unwrap(), node.database());
    let in_use = refused(&here, &["check"], &config, LOCKED);
    assert!(in_use.stderr.contains("in use"), "{}", in_use.stderr);
    node.stop(Signal::Terminate).await.unwrap();

    assert_sound(&here, &config);
    let head = u32::try_from(answer(&here, &["check"], &config)["head"].as_u64().unwrap()).unwrap();
    assert!(head >= 8);
    assert!(answer(&here, &["stats"], &config)["tables"].as_array().is_some_and(|tables| tables.len() == 16));

    // Each table file cut short is found and named. A check may have merged some with others.
    let mut cut = BTreeSet::new();
    while let Some(file) = table_files(&database).into_iter().find(|file| !cut.contains(file)) {
        cut.insert(file.clone());
        let whole = fs::read(&file).unwrap();
        fs::write(&file, &whole[..whole.len() * 2 / 3]).unwrap();
        let found = refused(&here, &["check"], &config, DAMAGED);
        let name = file.file_name().unwrap().to_str().unwrap();
        let said = [found.stdout, found.stderr].concat();
        assert!(said.contains(name) || said.contains("state_"), "{name}: {said}");
        fs::write(&file, whole).unwrap();
    }
    assert!(cut.len() >= 8, "{cut:?}");
    assert_sound(&here, &config);

    let file = here.join("blocks");
    answer(&here, &["export-blocks", file.to_str().unwrap()], &config);
    let to = head - 3;
    let back = answer(&here, &["rollback", "--to", &to.to_string()], &config);
    assert_eq!((&back["head"], &back["headBefore"]), (&to.into(), &head.into()));
    assert_sound(&here, &config);
    refused(&here, &["rollback", "--to", &(head + 1).to_string()], &config, NOT_FOUND);
    answer(&here, &["import-blocks", file.to_str().unwrap()], &config);
    assert_eq!(answer(&here, &["check"], &config)["head"], head);
    let pruned = answer(&here, &["prune", "--keep", "2"], &config);
    assert_eq!(pruned["lowest"], head - 2);
    assert_sound(&here, &config);

    let client = network.node(0).unwrap().start().await.unwrap();
    let before = account(&client, "Ferdie", None).await.unwrap();
    let block = transfer(&client, "Alice", "Ferdie", 7_000_000).await.unwrap();
    assert_ne!(account(&client, "Ferdie", Some(&block)).await.unwrap(), before);
    let reached = height_of(&client, &block).await.unwrap();
    assert_eq!(hashes(&client, reached).await.unwrap().len(), usize::try_from(reached).unwrap() + 1);
}
