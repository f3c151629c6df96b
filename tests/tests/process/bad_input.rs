//! What a node is given wrongly: each has a message that says the cure, an exit code of its own, and loses nothing.

use cairn_tests::harness::{Finished, Network, Node, Observer, Shape, Signal, account, cairn, fast_spec, transfer};
use std::fs;
use std::path::{Path, PathBuf};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const ONE: Shape = Shape { validators: 1, archives: 0 };

/// Exit codes of `docs/operations.md`.
const CONFIG: i32 = 3;
const CHAIN_SPEC: i32 = 4;
const ADDRESS: i32 = 5;
const LOCKED: i32 = 6;
const DAMAGED: i32 = 7;
const WRONG_CHAIN: i32 = 8;

/// Checks how a command was refused.
fn assert_refused(finished: &Finished, code: i32, words: &[&str]) {
    let Finished { code: actual, stderr, .. } = finished;
    assert_eq!(*actual, Some(code), "{stderr}");
    let last = stderr.lines().last().unwrap_or_default();
    for word in words {
        assert!(last.contains(word), "`{word}` is not in: {stderr}");
    }
    assert!(!stderr.contains("panicked"), "{stderr}");
}

/// Runs a second process with the configuration of a node, changed by flags.
fn run_as(node: &Node, flags: &[&str]) -> Finished {
    let config = node.configure().unwrap();
    let arguments = ["run", "--config"].map(Into::into).into_iter().chain([config.into_os_string()]);
    cairn(&node.folder, arguments.chain(flags.iter().map(Into::into))).unwrap()
}

const OTHER_PORTS: [&str; 6] =
    ["--rpc.listen", "127.0.0.1:0", "--metrics.listen", "127.0.0.1:0", "--network.listen", "/ip4/127.0.0.1/tcp/0"];

/// The largest file of a database whose name ends in a certain way.
fn file_of(database: &Path, is_wanted: impl Fn(&str) -> bool) -> Option<PathBuf> {
    let files = fs::read_dir(database).unwrap().flatten().map(|entry| entry.path());
    let named = files.filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(&is_wanted));
    named.max_by_key(|path| fs::metadata(path).map(|found| found.len()).unwrap_or_default())
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[tokio::test]
async fn configuration_spec_ports_and_lock_are_checked_before_anything_is_touched() {
    let (mut network, clients) = Network::start(ONE).await.unwrap();
    let rpc = &clients[0];
    let node = network.node(0).unwrap();

    let with_spec = |chain: &str| run_as(node, &[OTHER_PORTS.as_slice(), &["--chain", chain]].concat());
    assert_refused(&with_spec("/no/such/spec.json"), CHAIN_SPEC, &["/no/such/spec.json"]);
    let wrong = node.folder.join("wrong.json");
    fs::write(&wrong, fs::read_to_string(&node.settings.chain).unwrap().replace("\"power\": 1", "\"power\": 0"))
        .unwrap();
    assert_refused(&with_spec(&wrong.display().to_string()), CHAIN_SPEC, &["$.validators[0].power"]);
    fs::write(node.folder.join("unknown.toml"), "[network]\nlisen = []\n").unwrap();
    let unknown = cairn(&node.folder, ["run", "--config", "unknown.toml"]).unwrap();
    assert_refused(&unknown, CONFIG, &["did you mean `network.listen`?"]);
    let (host, port) = node.rpc_address();
    assert_refused(&run_as(node, &[]), ADDRESS, &[&format!("{host}:{port}"), "--rpc.listen"]);
    assert_refused(&run_as(node, &OTHER_PORTS), LOCKED, &["in use by another process"]);

    // The node that runs has noticed nothing.
    let before = account(rpc, "Bob", None).await.unwrap().data.free;
    transfer(rpc, "Alice", "Bob", 1_000_000).await.unwrap();
    assert!(account(rpc, "Bob", None).await.unwrap().data.free >= before + 1_000_000);
}

#[tokio::test]
async fn database_damaged_is_refused_and_its_copy_works() {
    let (mut network, clients) = Network::start(ONE).await.unwrap();
    transfer(&clients[0], "Alice", "Bob", 1_000_000).await.unwrap();
    let expected = account(&clients[0], "Bob", None).await.unwrap().data.free;
    drop(clients);
    let node = network.node(0).unwrap();
    // The second start writes what the first left in the log into tables.
    node.stop(Signal::Terminate).await.unwrap();
    drop(node.start().await.unwrap());
    node.stop(Signal::Terminate).await.unwrap();
    let copy = node.folder.join("copy");
    copy_folder(&node.database(), &copy);
    let restore = || {
        fs::remove_dir_all(node.database()).unwrap();
        copy_folder(&copy, &node.database());
    };

    let manifest = file_of(&node.database(), |name| name.starts_with("MANIFEST")).unwrap();
    let mut bytes = fs::read(&manifest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&manifest, bytes).unwrap();
    assert_refused(&run_as(node, &[]), DAMAGED, &["is damaged", "restore"]);

    restore();
    let table = file_of(&node.database(), |name| name.ends_with(".sst")).expect("a table");
    let length = fs::metadata(&table).unwrap().len();
    fs::File::options().write(true).open(&table).unwrap().set_len(length / 2).unwrap();
    assert_refused(&run_as(node, &[]), DAMAGED, &["is damaged", "restore"]);

    restore();
    fs::remove_file(node.database().join("CURRENT")).unwrap();
    assert_ne!(run_as(node, &OTHER_PORTS).code, Some(0));

    restore();
    let rpc = node.start().await.unwrap();
    assert!(account(&rpc, "Bob", None).await.unwrap().data.free >= expected);
    transfer(&rpc, "Alice", "Bob", 1_000_000).await.unwrap();
}

#[tokio::test]
async fn chain_of_another_genesis_is_refused_on_disk_and_turned_away_as_peer() {
    let (mut network, clients) = Network::start(Shape { validators: 1, archives: 1 }).await.unwrap();
    let rpc = &clients[0];
    let foreign = network.folder().join("foreign.json");
    fs::write(&foreign, fast_spec(1, "foreign").unwrap().to_json()).unwrap();
    let [validator, archive] = network.nodes.as_mut_slice() else { panic!("two nodes") };

    // On disk: the data of one chain, the spec of another.
    archive.stop(Signal::Terminate).await.unwrap();
    let flags = ["--chain", &foreign.display().to_string()];
    assert_refused(&run_as(archive, &flags), WRONG_CHAIN, &["genesis", "use the matching spec or another data folder"]);

    // As peer: a new folder, the other chain, the address of a node of this chain.
    fs::remove_dir_all(archive.database()).unwrap();
    archive.settings.chain = foreign;
    drop(archive.start().await.unwrap());
    archive.logs("a peer of another chain was turned away").await.unwrap();
    validator.logs("a peer of another chain was turned away").await.unwrap();
    transfer(rpc, "Alice", "Bob", 1_000_000).await.unwrap();
}

/// Sends an HTTP request and gives what comes back until the node closes the connection or is silent.
async fn http(address: (&str, u16), head: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\n{head}\r\n"
    );
    // A node that refuses may close before everything is written.
    let written = async {
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body).await
    };
    let _closed = written.await;
    let mut answer = Vec::new();
    let _reset = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn rpc_malformed_is_answered_with_its_code_and_hurts_nobody() {
    let (mut network, clients) = Network::start(ONE).await.unwrap();
    let rpc = &clients[0];
    let address = network.node(0).unwrap().rpc_address();
    let post = async |body: &[u8]| http(address, &format!("content-length: {}\r\n", body.len()), body).await;

    let deep = "[".repeat(100_000);
    let deep_params =
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"chain_getBlockHash","params":{deep}{}}}"#, "]".repeat(100_000));
    for (body, code) in [
        (b"\xff\xfe garbage".as_slice(), "-32700"),
        (b"", "-32700"),
        (deep.as_bytes(), "-3270"),
        (deep_params.as_bytes(), "-32"),
        (br#"{"jsonrpc":"2.0","id":1}"#, "-32600"),
        (br#"{"jsonrpc":"2.0","id":1,"method":"no_such"}"#, "-32601"),
        (br#"{"jsonrpc":"2.0","id":1,"method":"state_getStorage","params":["0xzz"]}"#, "-32602"),
        (br#"{"jsonrpc":"2.0","id":1,"method":"state_getStorage","params":{}}"#, "-32602"),
        (br#"{"jsonrpc":"2.0","id":1,"method":"author_submitExtrinsic","params":["0x00"]}"#, "1001"),
        (br#"{"jsonrpc":"2.0","id":1,"method":"state_getStorage","params":["0x00","0x0000000000000000000000000000000000000000000000000000000000000000"]}"#, "4000"),
    ] {
        let answer = post(body).await;
        let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        assert!(answer.contains(code), "{shown}: {answer}");
    }
    let huge = vec![b' '; 3 << 20];
    let answer = post(&huge).await;
    assert!(answer.is_empty() || answer.contains("413") || answer.contains("-32007"), "{answer}");

    // Bytes that are no HTTP at all, and a connection that says nothing.
    let mut garbage = TcpStream::connect(address).await.unwrap();
    garbage.write_all(&[0; 1_000]).await.unwrap();
    let _silent = TcpStream::connect(address).await.unwrap();

    let mut observer = Observer::new(rpc).await.unwrap();
    observer.next().await.unwrap();
    transfer(rpc, "Alice", "Bob", 1_000_000).await.unwrap();
}
