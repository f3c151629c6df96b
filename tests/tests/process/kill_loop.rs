//! The short form of the kill loop; `make kill-loop` runs the long one.

use cairn_tests::kill::{Options, kill_loop};

/// Draws one node, two, all four, and nodes that die while they start.
const SEED: u64 = 182;

#[tokio::test]
async fn validators_killed_at_random_moments_lose_nothing_and_vote_once() {
    let report = kill_loop(&Options { kills: 12, seed: SEED, rate: 800 }).await.unwrap();
    eprintln!("{report}");
    assert_eq!((report.kills, report.turns), (12, [4, 1, 1]));
    assert!(report.finalized > 0 && report.compared > u64::from(report.height));
}
