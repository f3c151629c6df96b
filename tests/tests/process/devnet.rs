//! `cairn devnet` and what it prints.

use cairn_tests::harness::{Finished, PATIENCE, Signal, cairn, ports, program, turn, until, wait_for_end};
use serde_json::Value;
use std::path::Path;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Starts a network and waits until it says that it is ready.
async fn start(folder: &Path, base_port: u16) -> (Child, Value) {
    let mut command = Command::new(program().unwrap());
    command.args(["--json", "devnet", "--validators", "4", "--archive", "1", "--base-port", &base_port.to_string()]);
    command.current_dir(folder).stdout(Stdio::piped()).stdin(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = timeout(PATIENCE, lines.next_line()).await.expect("the network is ready").unwrap();
    (child, serde_json::from_str(&line.expect("one line of JSON")).unwrap())
}

/// Runs a command as it was printed, in a shell.
async fn shell(folder: &Path, line: &str) -> Finished {
    let mut command = Command::new("sh");
    let output = command.args(["-c", line]).current_dir(folder).kill_on_drop(true).output();
    timeout(PATIENCE, output).await.expect("the command ends").unwrap().into()
}

/// Processes that work in a folder.
fn processes_in(folder: &Path) -> Vec<String> {
    let folder = folder.canonicalize().unwrap();
    let entries = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let here = entries.filter(|path| std::fs::read_link(path.join("cwd")).is_ok_and(|cwd| cwd.starts_with(&folder)));
    here.map(|path| std::fs::read_to_string(path.join("cmdline")).unwrap_or_default()).collect()
}

fn height(folder: &Path, url: &str) -> u64 {
    let Finished { code, stdout, stderr } = cairn(folder, ["--json", "query", "info", "--url", url]).unwrap();
    assert_eq!(code, Some(0), "{stderr}");
    let info: Value = serde_json::from_str(&stdout).unwrap();
    info.pointer("/head/height").and_then(Value::as_u64).unwrap_or_else(|| panic!("{info}"))
}

#[tokio::test]
async fn devnet_commands_work_as_printed_and_ctrl_c_leaves_nothing_behind() {
    let _turn = turn().await;
    let folder = tempfile::tempdir().unwrap();
    let base_port = ports(5).unwrap()[0];
    let (mut child, ready) = start(folder.path(), base_port).await;
    assert_eq!(ready["nodes"].as_array().unwrap().len(), 5);
    let url = ready["nodes"][0]["rpc"].as_str().unwrap();
    let commands: Vec<&str> = ready["commands"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    let [transfer, account, proof] = commands[..] else { panic!("three commands: {commands:?}") };

    let transferred = shell(folder.path(), transfer).await;
    assert_eq!(transferred.code, Some(0), "{transferred:?}");
    assert!(transferred.stdout.contains("success"), "{}", transferred.stdout);
    let asked = shell(folder.path(), account).await;
    assert_eq!(asked.code, Some(0), "{asked:?}");
    assert!(asked.stdout.contains("1000010"), "{}", asked.stdout);
    let proved = shell(folder.path(), proof).await;
    assert_eq!(proved.code, Some(0), "{proved:?}");
    assert!(proved.stdout.contains("verified") && proved.stdout.contains("1000010"), "{}", proved.stdout);
    // The same proof for those who trust another chain.
    let refused = shell(folder.path(), &proof.replace("devnet/spec.json", "local3")).await;
    assert_eq!(refused.code, Some(8), "{refused:?}");

    let before = height(folder.path(), url);
    assert!(processes_in(folder.path()).len() >= 6);
    Signal::Interrupt.send(child.id().unwrap()).unwrap();
    assert_eq!(wait_for_end(&mut child).await.unwrap().code(), Some(0));
    let gone = || async { Ok(processes_in(folder.path()).is_empty().then_some(())) };
    until("the end of every node", gone).await.unwrap();

    let (mut child, _) = start(folder.path(), base_port).await;
    assert!(height(folder.path(), url) > before);
    let again = shell(folder.path(), account).await;
    assert!(again.stdout.contains("1000010"), "{}", again.stdout);
    Signal::Terminate.send(child.id().unwrap()).unwrap();
    assert_eq!(wait_for_end(&mut child).await.unwrap().code(), Some(0));
    until("the end of every node", gone).await.unwrap();
}
