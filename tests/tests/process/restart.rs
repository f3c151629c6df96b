//! A network that stops and starts again goes on where it was.

use cairn_tests::harness::{Network, Observer, Shape, Signal, account, hashes, height_of, transfer};
use std::time::Duration;

/// How long a node may take to stop.
const STOP_TIME_MAX: Duration = Duration::from_secs(10);

const ALL: [usize; 4] = [0, 1, 2, 3];

#[tokio::test]
async fn network_restarted_goes_on_from_the_same_height() {
    let (mut network, mut clients) = Network::start(Shape { validators: 4, archives: 0 }).await.unwrap();
    let mut expected = account(&clients[0], "Ferdie", None).await.unwrap().data.free;
    for round in 0..2 {
        let value = 5_000_000_000;
        let block = transfer(&clients[0], "Alice", "Ferdie", value).await.unwrap();
        let height = height_of(&clients[0], &block).await.unwrap();
        let known = hashes(&clients[0], height).await.unwrap();
        expected += value;
        drop(clients);
        for node in &mut network.nodes {
            if round == 0 {
                let (status, time) = node.stop(Signal::Terminate).await.unwrap();
                assert_eq!(status.code(), Some(0), "{}", node.tail());
                assert!(time < STOP_TIME_MAX, "{} took {time:?} to stop", node.name);
            } else {
                node.kill().await.unwrap();
            }
        }

        clients = network.start_nodes(&ALL).await.unwrap();
        // The node that had the block final has it now, before anything new happens.
        assert!(Observer::new(&clients[0]).await.unwrap().height >= height);
        for client in &clients {
            Observer::new(client).await.unwrap().reach(height + 2).await.unwrap();
            assert_eq!(hashes(client, height).await.unwrap(), known, "{}", client.url());
            assert_eq!(account(client, "Ferdie", None).await.unwrap().data.free, expected);
        }
        let heights = hashes(&clients[0], height + 2).await.unwrap();
        assert_eq!(hashes(&clients[3], height + 2).await.unwrap(), heights);
    }
}
