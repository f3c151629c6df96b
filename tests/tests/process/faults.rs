//! Validators that die and come back.

use cairn_chain_spec::development;
use cairn_tests::harness::{
    Network, Observer, Shape, Signal, account, cairn, hashes, height_of, submit_transfer, transfer, until, wait_for_end,
};
use cairn_tests::rpc::Rpc;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

const VALUE: u128 = 1_000_000_000;

/// How often the validators that are left repeat their nullify votes in vain before the test believes that they are stuck.
const REPEATS: usize = 5;

async fn consensus(rpc: &Rpc) -> Value {
    rpc.call("cairn_consensusState", Vec::<Value>::new()).await.unwrap()
}

fn nullify_left_ms(state: &Value) -> Option<u64> {
    let deadlines = state["deadlines"].as_array().unwrap();
    deadlines.iter().find(|deadline| deadline["name"] == "send nullify again")?["leftMs"].as_u64()
}

/// Waits until a validator has given its view up, sees the votes of those that are left, too few for a quorum, and has
/// repeated its own several times.
async fn wait_until_stuck(rpc: &Rpc) {
    let mut repeats = 0;
    let mut before = None;
    let look = async || {
        let state = consensus(rpc).await;
        assert!(state["votes"]["nullify"].as_str().unwrap() < state["quorum"].as_str().unwrap());
        Ok(Some((
            state["missing"].as_array().unwrap().len(),
            state["votes"]["nullify"].clone(),
            nullify_left_ms(&state),
        )))
    };
    while repeats < REPEATS {
        let (missing, nullify, left) = until("the state of consensus", look).await.unwrap();
        let has_repeated = before.is_some_and(|before| left.is_some_and(|left| left > before));
        repeats += usize::from(has_repeated && missing == 2 && nullify == "2");
        before = left;
        tokio::task::yield_now().await;
    }
}

/// What a stuck validator says of //Charlie and //Dave, who are down: as JSON, and in words on the command line.
async fn assert_names_missing(rpc: &Rpc, folder: &Path) {
    let answer: Value = rpc.call("cairn_whyNoBlock", Vec::<Value>::new()).await.unwrap();
    let why = answer["why"].as_str().unwrap();
    let started = "Waiting for votes: 2 of 3 power has nullified view ";
    assert!(why.starts_with(started) && why.contains("The last final block is "), "{why}");
    assert_eq!((&answer["rule"], &answer["needed"][0]["kind"]), (&json!("R13"), &json!("nullify")));
    assert_eq!(answer["consensus"]["powerInReach"], "2");
    let mut missing = BTreeSet::new();
    for validator in answer["missing"].as_array().unwrap() {
        assert_eq!(validator["connected"], false);
        assert!(validator["heardMsAgo"].is_u64(), "{validator}");
        let key = validator["key"].as_str().unwrap();
        assert!(why.contains(&format!("({}, out of reach, heard ", &key[..10])), "{why} does not name {key}");
        missing.insert(key.to_owned());
    }
    let expected = ["Charlie", "Dave"].map(|name| development::key_pair(name).public().to_string());
    assert_eq!(missing, expected.into());

    let told = cairn(folder, ["query", "why", "--url", rpc.url()]).unwrap();
    assert_eq!(told.code, Some(0), "{}", told.stderr);
    assert!(told.stdout.starts_with(started), "{}", told.stdout);
    assert_eq!(told.stdout.lines().filter(|line| line.starts_with("missing ")).count(), 2, "{}", told.stdout);
}

#[tokio::test]
async fn validators_killed_and_brought_back_agree_on_every_block() {
    let (mut network, clients) = Network::start(Shape { validators: 4, archives: 0 }).await.unwrap();
    let [first, second, ..] = clients.as_slice() else { panic!("four nodes") };
    transfer(first, "Alice", "Ferdie", VALUE).await.unwrap();

    network.nodes[3].kill().await.unwrap();
    for _ in 0..3 {
        transfer(first, "Alice", "Ferdie", VALUE).await.unwrap();
    }

    network.nodes[2].kill().await.unwrap();
    wait_until_stuck(first).await;
    assert_names_missing(first, network.folder()).await;
    let stuck_at = Observer::new(first).await.unwrap();
    let stuck_hashes = hashes(first, stuck_at.height).await.unwrap();
    submit_transfer(first, "Alice", "Ferdie", VALUE).await.unwrap();
    wait_until_stuck(first).await;
    wait_until_stuck(second).await;
    let heads = [Observer::new(first).await.unwrap().height, Observer::new(second).await.unwrap().height];
    assert_eq!(heads[0], stuck_at.height, "a block became final without a quorum");
    assert!(heads[1] >= heads[0].saturating_sub(1) && heads[1] <= heads[0] + 1, "{heads:?}");

    let started = Instant::now();
    let back = network.start_nodes(&[2, 3]).await.unwrap();
    let mut observer = Observer::new(first).await.unwrap();
    let target = heads[0].max(heads[1]) + 1;
    observer.reach(target).await.unwrap();
    eprintln!("finality resumed {:.1} s after the start of the two validators", started.elapsed().as_secs_f64());

    let block = transfer(second, "Bob", "Ferdie", VALUE).await.unwrap();
    let height = height_of(second, &block).await.unwrap();
    let expected = hashes(second, height).await.unwrap();
    assert_eq!(expected[..stuck_hashes.len()], stuck_hashes, "what was final before is no longer");
    for client in [first, second, &back[0], &back[1]] {
        Observer::new(client).await.unwrap().reach(height).await.unwrap();
        assert_eq!(hashes(client, height).await.unwrap(), expected, "{}", client.url());
        // The transfer that was submitted while nothing could become final is in, too.
        let look = async || {
            let free = account(client, "Ferdie", None).await?.data.free;
            Ok((free == 1_000_000_000_000_000_000 + 6 * VALUE).then_some(()))
        };
        until("all transfers on every node", look).await.unwrap();
    }
}

/// How often a validator is killed in the middle of its work.
const KILLS: usize = 8;

#[tokio::test]
async fn validators_killed_in_turn_under_load_lose_nothing_final() {
    let (mut network, mut clients) = Network::start(Shape { validators: 4, archives: 0 }).await.unwrap();
    let mut final_blocks = Vec::new();
    for kill in 0..KILLS {
        let victim = kill % clients.len();
        let witness = (victim + 1) % clients.len();
        // What the victim itself said to be final must be final for ever; the last ones are on their way when it dies.
        for sender in ["Alice", "Bob", "Charlie"] {
            let block = transfer(&clients[victim], sender, "Ferdie", VALUE).await.unwrap();
            final_blocks.push((height_of(&clients[victim], &block).await.unwrap(), block));
            submit_transfer(&clients[victim], sender, "Ferdie", VALUE).await.unwrap();
        }
        network.nodes[victim].kill().await.unwrap();
        let block = transfer(&clients[witness], "Dave", "Ferdie", VALUE).await.unwrap();
        final_blocks.push((height_of(&clients[witness], &block).await.unwrap(), block));
        clients[victim] = network.node(victim).unwrap().start().await.unwrap();
    }
    let height = final_blocks.iter().map(|(height, _)| *height).max().unwrap();
    let mut expected: Option<Vec<String>> = None;
    for client in &clients {
        Observer::new(client).await.unwrap().reach(height).await.unwrap();
        let found = hashes(client, height).await.unwrap();
        for (height, block) in &final_blocks {
            assert_eq!(&found[usize::try_from(*height).unwrap()], block, "height {height} of {}", client.url());
        }
        assert_eq!(expected.get_or_insert_with(|| found.clone()), &found, "{}", client.url());
    }
}

#[tokio::test]
async fn validator_paused_is_passed_over_and_catches_up() {
    let (network, clients) = Network::start(Shape { validators: 4, archives: 0 }).await.unwrap();
    let pid = network.nodes[3].pid().unwrap();
    Signal::Pause.send(pid).unwrap();
    let mut last = String::new();
    for _ in 0..5 {
        last = transfer(&clients[0], "Alice", "Ferdie", VALUE).await.unwrap();
    }
    Signal::Continue.send(pid).unwrap();
    let height = height_of(&clients[0], &last).await.unwrap();
    Observer::new(&clients[3]).await.unwrap().reach(height).await.unwrap();
    assert_eq!(hashes(&clients[3], height).await.unwrap(), hashes(&clients[0], height).await.unwrap());
    // It takes part again.
    let block = transfer(&clients[3], "Bob", "Ferdie", VALUE).await.unwrap();
    assert!(height_of(&clients[3], &block).await.unwrap() > height);
}

/// Blocks under full load before everything is killed.
const LOADED_BLOCKS: u32 = 10;

#[tokio::test]
async fn network_killed_whole_under_full_load_agrees_afterwards() {
    let (mut network, clients) = Network::start(Shape { validators: 4, archives: 0 }).await.unwrap();
    let mut load = tokio::process::Command::new(env!("CARGO_BIN_EXE_load"));
    load.args(["--seconds", "60", "--accounts", "400", "--sign-ahead", "4000", "--in-flight", "4000"]);
    for node in &network.nodes {
        load.args(["--url", &node.url()]);
    }
    let mut load = load.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap();
    // The generator's first blocks fund its accounts; from then on every sender is one of those.
    let mut observer = Observer::new(&clients[0]).await.unwrap();
    let mut loaded = 0;
    while loaded < LOADED_BLOCKS {
        observer.next().await.unwrap();
        let block: Value = clients[0].call("chain_getBlock", vec![json!(observer.hash)]).await.unwrap();
        loaded += u32::from(block.pointer("/block/extrinsics").unwrap().as_array().unwrap().len() > 20);
    }
    let (height, hash) = (observer.height, observer.hash.clone());
    drop(observer);
    drop(clients);
    for node in &mut network.nodes {
        node.kill().await.unwrap();
    }
    assert_ne!(wait_for_end(&mut load).await.unwrap().code(), Some(0), "a network that went away is an error");

    let clients = network.start_nodes(&[0, 1, 2, 3]).await.unwrap();
    let block = transfer(&clients[0], "Bob", "Ferdie", VALUE).await.unwrap();
    let head = height_of(&clients[0], &block).await.unwrap();
    let expected = hashes(&clients[0], head).await.unwrap();
    assert_eq!(expected[usize::try_from(height).unwrap()], hash, "what was final before is no longer");
    for client in &clients {
        Observer::new(client).await.unwrap().reach(head).await.unwrap();
        assert_eq!(hashes(client, head).await.unwrap(), expected, "{}", client.url());
    }
}
