//! The load generator against a running node: what it counts is what the chain holds.

use cairn_tests::harness::{Network, PATIENCE, Shape, id};
use cairn_tests::rpc::Rpc;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::timeout;

/// Runs the generator and gives its report.
async fn load(url: &str, arguments: &str) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_load"));
    command.args(["--json", "--url", url]).args(arguments.split(' ')).kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await.expect("the run ends").unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// How many transactions the blocks hold, without those that set the time and those of //Alice.
async fn transactions(rpc: &Rpc, funding: u64) -> u64 {
    let head: Value = rpc.call("chain_getHeader", Vec::<Value>::new()).await.unwrap();
    let digits = head["number"].as_str().unwrap().trim_start_matches("0x").to_owned();
    let head = u64::from_str_radix(&digits, 16).unwrap();
    let mut count = 0;
    for height in 1..=head {
        let hash: String = rpc.call("chain_getBlockHash", vec![json!(height)]).await.unwrap();
        let block: Value = rpc.call("chain_getBlock", vec![json!(hash)]).await.unwrap();
        count += u64::try_from(block.pointer("/block/extrinsics").unwrap().as_array().unwrap().len()).unwrap() - 1;
    }
    count - funding
}

#[tokio::test]
async fn load_report_agrees_with_the_chain() {
    let (mut network, clients) = Network::start(Shape { validators: 1, archives: 0 }).await.unwrap();
    let node = network.node(0).unwrap();
    let common = format!("--pid {} --seconds 1 --accounts 40 --batch 20", node.pid().unwrap());
    let slow = load(&node.url(), &format!("{common} --rate 200")).await;
    let fast = load(&node.url(), &format!("{common} --in-flight 500 --sign-ahead 2000")).await;

    let alice: u64 = clients[0].call("system_accountNextIndex", vec![json!(id("Alice").to_ss58(42))]).await.unwrap();
    let finalized = |report: &Value| report["finalized"].as_u64().unwrap();
    for report in [&slow, &fast] {
        assert_eq!(report["submitted"], report["finalized"], "{report}");
        assert_eq!(report["latencyMs"]["samples"], report["finalized"], "{report}");
        assert_eq!((&report["refused"], &report["unfinished"]), (&json!(0), &json!(0)), "{report}");
        assert!(report["cpuMicrosPerTransaction"].as_f64().unwrap() > 0.0, "{report}");
        assert!(report["processes"][0]["residentBytes"].as_u64().unwrap() > 1 << 20, "{report}");
    }
    assert!(finalized(&slow) <= 220 && finalized(&fast) > 0, "{slow} {fast}");
    assert_eq!(transactions(&clients[0], alice).await, finalized(&slow) + finalized(&fast));
}

#[tokio::test]
async fn readers_and_subscribers_are_served_while_blocks_are_committed() {
    let (mut network, _clients) = Network::start(Shape { validators: 1, archives: 0 }).await.unwrap();
    let node = network.node(0).unwrap();
    for transport in ["ws", "http"] {
        let arguments = format!(
            "--pid {} --seconds 2 --accounts 40 --batch 20 --rate 200 --readers 8 --subscribers 20 --transport {transport}",
            node.pid().unwrap()
        );
        let report = load(&node.url(), &arguments).await;
        let (reads, heads) = (&report["reads"], &report["heads"]);
        assert!(reads["requests"].as_u64().unwrap() > 100, "{report}");
        assert_eq!((&reads["connections"], &reads["transport"]), (&json!(8), &json!(transport)), "{report}");
        // A gap or a head out of order fails the run.
        assert!(heads["subscribers"] == 20 && heads["fewest"].as_u64().unwrap() > 1, "{report}");
    }
}

#[tokio::test]
async fn load_without_a_node_is_a_clear_error() {
    let port = cairn_tests::harness::ports(1).unwrap()[0];
    let url = format!("ws://127.0.0.1:{port}");
    let output = Command::new(env!("CARGO_BIN_EXE_load")).args(["--url", &url]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains(&format!("no node answers at {url}")), "{message}");
}
