//! The real binary without a network: what it prints, what it refuses, how it ends.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::path::Path;
use std::process::{Command, Output};

fn cairn(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cairn"));
    command.current_dir(folder).args(arguments).env_clear();
    command.output().expect("the binary starts")
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Exit code and message of a command that must fail.
fn failure(output: &Output) -> (i32, String) {
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    (output.status.code().unwrap(), String::from_utf8(output.stderr.clone()).unwrap())
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_str(&stdout(output)).unwrap()
}

#[test]
fn init_makes_a_configuration_that_check_accepts_and_never_overwrites() {
    let folder = tempfile::tempdir().unwrap();
    let init = ["init", "--data-dir", "node", "--chain", "local4", "--role", "validator"];
    stdout(&cairn(folder.path(), &init));
    for file in ["node/cairn.toml", "node/keys/node.json", "node/keys/consensus.json"] {
        assert!(folder.path().join(file).exists(), "{file}");
    }
    stdout(&cairn(folder.path(), &["config", "check", "--config", "node/cairn.toml"]));
    let before = std::fs::read(folder.path().join("node/keys/node.json")).unwrap();
    let (code, message) = failure(&cairn(folder.path(), &init));
    assert_eq!(code, 3);
    assert!(message.contains("never overwritten"), "{message}");
    assert_eq!(std::fs::read(folder.path().join("node/keys/node.json")).unwrap(), before);
}

#[test]
fn init_writes_whole_paths_and_names_a_key_that_the_chain_does_not_know() {
    let folder = tempfile::tempdir().unwrap();
    stdout(&cairn(folder.path(), &["chain-spec", "new", "--preset", "local1", "--out", "spec.json"]));
    let init = ["init", "--data-dir", "node", "--chain", "spec.json", "--role", "validator"];
    let said = stdout(&cairn(folder.path(), &init));
    let key = json(&cairn(folder.path(), &["--json", "keys", "show", "node/keys/consensus.json"]));
    assert!(said.contains(&format!("add {}", key["public"].as_str().unwrap())), "{said}");
    let elsewhere = tempfile::tempdir().unwrap();
    let config = folder.path().join("node/cairn.toml");
    let explained =
        json(&cairn(elsewhere.path(), &["--json", "config", "explain", "--config", config.to_str().unwrap()]));
    for key in ["node.data_dir", "node.chain"] {
        let entry = explained.as_array().unwrap().iter().find(|entry| entry["key"] == key).unwrap();
        let path = Path::new(entry["value"].as_str().unwrap());
        assert!(path.is_absolute() && path.exists(), "{key}: {}", path.display());
    }
}

#[test]
fn output_whose_reader_has_left_is_no_error() {
    use std::process::Stdio;
    let mut command = Command::new(env!("CARGO_BIN_EXE_cairn"));
    let mut child = command.args(["config", "explain"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn config_with_unknown_key_is_refused_with_a_suggestion() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("cairn.toml"), "[network]\nlisen = []\n").unwrap();
    let (code, message) = failure(&cairn(folder.path(), &["run", "--config", "cairn.toml"]));
    assert_eq!(code, 3);
    assert!(message.contains("did you mean `network.listen`?"), "{message}");
}

#[test]
fn config_explain_as_json_names_the_origin_of_a_flag() {
    let folder = tempfile::tempdir().unwrap();
    let explained = json(&cairn(folder.path(), &["--json", "config", "explain", "--rpc.batch_max", "7"]));
    let entry = explained.as_array().unwrap().iter().find(|entry| entry["key"] == "rpc.batch_max").unwrap();
    assert_eq!((entry["value"].as_u64(), entry["origin"].as_str()), (Some(7), Some("--rpc.batch_max")));
}

#[test]
fn keys_generated_show_the_same_public_key_and_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let generate = ["--json", "keys", "generate", "--kind", "account", "--out", "me.json"];
    let made = json(&cairn(folder.path(), &generate));
    let shown = cairn(folder.path(), &["--json", "keys", "show", "me.json"]);
    assert_eq!(json(&shown)["public"], made["public"]);
    let file: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("me.json")).unwrap()).unwrap();
    let secret = file["secret"].as_str().unwrap();
    assert!(!String::from_utf8_lossy(&shown.stdout).contains(&secret[2..]));
    let (code, message) = failure(&cairn(folder.path(), &generate));
    assert_eq!(code, 9);
    assert!(message.contains("never overwritten"), "{message}");
}

#[test]
fn chain_spec_new_checked_and_damaged_is_refused_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spec.json");
    stdout(&cairn(folder.path(), &["chain-spec", "new", "--preset", "local3", "--out", "spec.json"]));
    stdout(&cairn(folder.path(), &["chain-spec", "check", "spec.json"]));
    let of_file = stdout(&cairn(folder.path(), &["chain-spec", "genesis-hash", "spec.json"]));
    let of_preset = stdout(&cairn(folder.path(), &["chain-spec", "genesis-hash", "local3"]));
    assert_eq!(of_file, of_preset);
    assert_ne!(of_file, stdout(&cairn(folder.path(), &["chain-spec", "genesis-hash", "local4"])));
    let mut spec: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    spec["validators"][1]["power"] = 0.into();
    std::fs::write(&path, spec.to_string()).unwrap();
    let (code, message) = failure(&cairn(folder.path(), &["chain-spec", "check", "spec.json"]));
    assert_eq!(code, 4);
    assert!(message.contains("$.validators[1].power"), "{message}");
}

#[test]
fn run_without_chain_or_with_a_wrong_key_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let quiet =
        ["--rpc.listen", "127.0.0.1:0", "--metrics.listen", "127.0.0.1:0", "--network.listen", "/ip4/127.0.0.1/tcp/0"];
    let run = |more: &[&str]| failure(&cairn(folder.path(), &[&["run"], quiet.as_slice(), more].concat()));
    let (code, message) = run(&[]);
    assert_eq!(code, 3);
    assert!(message.contains("--chain"), "{message}");
    let (code, message) = run(&["--chain", "local4", "--role", "validator"]);
    assert_eq!(code, 9);
    assert!(message.contains("cairn keys generate --kind consensus"), "{message}");
    let (code, message) = run(&["--chain", "local4", "--role", "validator", "--consensus-key", "//Ferdie"]);
    assert_eq!(code, 9);
    assert!(message.contains("not among the validators"), "{message}");
    let (code, message) = run(&["--chain", "missing.json"]);
    assert_eq!(code, 4);
    assert!(message.contains("missing.json"), "{message}");
}

#[test]
fn run_on_a_port_in_use_names_address_and_flag() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let arguments = ["run", "--chain", "local4", "--rpc.listen", &address, "--metrics.enabled=false"];
    let (code, message) = failure(&cairn(folder.path(), &arguments));
    assert_eq!(code, 5);
    assert!(message.contains(&address) && message.contains("--rpc.listen"), "{message}");
}

#[test]
fn query_where_no_node_answers_is_one_line_with_its_code() {
    let folder = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("ws://127.0.0.1:{port}");
    let (code, message) = failure(&cairn(folder.path(), &["query", "info", "--url", &url]));
    assert_eq!(code, 10);
    assert_eq!(message.lines().count(), 1, "{message}");
    assert!(message.contains(&url), "{message}");
    let (code, message) = failure(&cairn(folder.path(), &["--json", "query", "info", "--url", "https://example.org"]));
    assert_eq!(code, 2);
    let document: serde_json::Value = serde_json::from_str(&message).unwrap();
    assert_eq!(document["exitCode"], 2);
}
