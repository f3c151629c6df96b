//! Validators that die and come back.

use cairn_tests::harness::{Network, Observer, Shape, account, hashes, height_of, submit_transfer, transfer, until};
use cairn_tests::rpc::Rpc;
use serde_json::Value;
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
