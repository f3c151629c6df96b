//! The short form of `make hostile`: one peer for each attack.

use cairn_tests::hostile::{Attack, Options, run};
use clap::ValueEnum as _;

/// What the node may need beyond what it had, in bytes: the largest message twice, its answers, and room for an allocator.
const RESIDENT_GROWTH_MAX: u64 = 128 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_peers_are_banned_and_honest_transfers_become_final() {
    // Attackers that wait for the node to ask take minutes.
    let attacks = Attack::value_variants().iter().filter(|attack| !attack.is_answering()).copied().collect();
    let report = run(&Options { attacks, rounds: 1, transfers: 10 }).await.unwrap();
    eprint!("{report}");
    assert!(report.resident_max < report.resident_before + RESIDENT_GROWTH_MAX, "{report}");
}
