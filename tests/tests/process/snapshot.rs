//! Snapshots with the real binary: made by a running validator, restored into new nodes that go on with the chain.

use cairn_tests::harness::{Finished, Network, Observer, Shape, Signal, account, cairn, hashes, height_of, transfer};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs a command that has to succeed; its answer.
fn answer(folder: &Path, arguments: &[&str]) -> Value {
    let Finished { code, stdout, stderr } = cairn(folder, ["--json"].iter().chain(arguments)).unwrap();
    assert_eq!(code, Some(0), "{arguments:?}: {stderr}");
    serde_json::from_str(&stdout).unwrap()
}

/// Runs a command that has to fail with a code; its message.
fn refusal(folder: &Path, arguments: &[&str], code: i32) -> String {
    let finished = cairn(folder, arguments).unwrap();
    assert_eq!(finished.code, Some(code), "{arguments:?}: {}", finished.stderr);
    finished.stderr
}

#[tokio::test]
async fn snapshot_of_a_running_validator_starts_an_archive_node_and_the_other_validator() {
    let mut network = Network::prepare(Shape { validators: 2, archives: 1 }).await.unwrap();
    let mut clients = network.start_nodes(&[0, 1]).await.unwrap();
    for value in 1..=5 {
        transfer(&clients[0], "Alice", "Ferdie", 1_000_000 * value).await.unwrap();
    }
    let here = network.folder().to_path_buf();
    let spec = network.spec_file();
    let url = network.node(0).unwrap().url();

    let made = answer(&here, &["snapshot", "create", "--url", &url]);
    let height = u32::try_from(made["height"].as_u64().unwrap()).unwrap();
    let snapshot = PathBuf::from(made["folder"].as_str().unwrap());
    assert!(height >= 5);
    // The validator went on meanwhile, and its data folder is in use.
    let database = network.node(0).unwrap().database();
    let data = database.parent().unwrap();
    let locked = refusal(&here, &["snapshot", "create", "--data-dir", text(data), "--chain", text(&spec)], 6);
    assert!(locked.contains("--url"), "{locked}");
    let listed = answer(&here, &["snapshot", "list", "--data-dir", text(data)]);
    assert_eq!(listed[0]["height"], height);

    let verified = answer(&here, &["snapshot", "verify", text(&snapshot), "--chain", text(&spec)]);
    assert_eq!((&verified["height"], &verified["state"]), (&height.into(), &"verified".into()));
    refusal(&here, &["snapshot", "verify", text(&snapshot), "--chain", "dev"], 8);
    let damaged = here.join("damaged");
    fs::create_dir(&damaged).unwrap();
    for entry in fs::read_dir(&snapshot).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), damaged.join(entry.file_name())).unwrap();
    }
    let chunk = damaged.join("chunk-000000");
    let mut bytes = fs::read(&chunk).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&chunk, bytes).unwrap();
    let found = refusal(&here, &["snapshot", "verify", text(&damaged), "--chain", text(&spec)], 12);
    assert!(found.contains("chunk 0"), "{found}");

    // A new archive node begins with it, and is told to ask nobody for the blocks below.
    let target = network.node(2).unwrap().database().parent().unwrap().to_path_buf();
    let into = ["snapshot", "restore", text(&snapshot), "--chain", text(&spec), "--data-dir", text(&target)];
    let mut from_damaged = into;
    from_damaged[2] = text(&damaged);
    refusal(&here, &from_damaged, 12);
    assert_eq!(answer(&here, &into)["state"], "restored");
    network.node(2).unwrap().settings.sync = vec!["backfill = false".into()];
    let again = refusal(&here, &into, 3);
    assert!(again.contains("not empty"), "{again}");
    let archive = network.node(2).unwrap().start().await.unwrap();
    let block = transfer(&clients[0], "Alice", "Ferdie", 7_000_000).await.unwrap();
    let reached = height_of(&clients[0], &block).await.unwrap();
    Observer::new(&archive).await.unwrap().reach(reached).await.unwrap();
    let (known, theirs) = (hashes(&clients[0], reached).await.unwrap(), hashes(&archive, reached).await.unwrap());
    assert_eq!(known, theirs);
    for hash in &known[usize::try_from(height).unwrap()..] {
        let expected = account(&clients[0], "Ferdie", Some(hash)).await.unwrap();
        assert_eq!(account(&archive, "Ferdie", Some(hash)).await.unwrap(), expected);
    }
    let below = archive.call::<Option<Value>>("chain_getBlock", vec![Value::from(known[2].clone())]).await.unwrap_err();
    assert!(format!("{below:#}").contains(&format!("this node has blocks from height {height} on")), "{below:#}");

    // The second validator lost its disk: with both votes needed, blocks come only if it goes on from the snapshot.
    drop(clients.pop());
    network.node(1).unwrap().stop(Signal::Terminate).await.unwrap();
    let database = network.node(1).unwrap().database();
    let target = database.parent().unwrap().to_path_buf();
    fs::remove_dir_all(&database).unwrap();
    answer(&here, &["snapshot", "restore", text(&snapshot), "--chain", text(&spec), "--data-dir", text(&target)]);
    let second = network.node(1).unwrap().start().await.unwrap();
    // Until it has what came after the snapshot, it knows an old nonce of Alice.
    Observer::new(&second).await.unwrap().reach(reached).await.unwrap();
    let block = transfer(&second, "Alice", "Ferdie", 9_000_000).await.unwrap();
    let reached = height_of(&second, &block).await.unwrap();
    Observer::new(&archive).await.unwrap().reach(reached).await.unwrap();
    assert_eq!(hashes(&clients[0], reached).await.unwrap(), hashes(&archive, reached).await.unwrap());
}
