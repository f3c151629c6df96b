//! Twins: two engines with one key, which do whatever an equivocating villain would, each in good faith.
//!
//! Every assignment of leaders to three views, times every partition of the five engines into two groups in each of
//! them, less those that only rename honest validators or swap the twins. A partition lasts until somebody is in a later
//! view, or until all time-outs of its view have run out; messages flow within a group only. Then all is healed, and
//! finality must go on. The network checks agreement, ancestry, certificates and honest votes after every step.
//!
//! Groups are cut in two ways: [`Cut::Silent`] loses messages and nobody is told, [`Cut::Streams`] takes streams down and
//! up, so that engines greet each other with what they hold.

use super::fixture::Fixture;
use super::network::{Network, Weather};
use crate::schedule::Schedule;
use cairn_primitives::ValidatorIndex;

/// Views with chosen leaders and partitions.
const VIEWS: usize = 3;

/// The validator that runs twice: as node 3 and as node 4.
const TWIN: u16 = 3;

const HONEST: [usize; 3] = [0, 1, 2];

const DELAY: u64 = 5;

/// How long a partition lasts if no view ends in it: both time-outs, doubled by back-off, and some retries.
const PARTITION_MS: u64 = 1_100;

/// How soon finality must go on once all is healed.
const HEALED_MS: u64 = 10_000;

/// Set to run every scenario, not only every [`STRIDE`]th: 51,480 runs, some minutes.
const FULL: &str = "CAIRN_TEST_TWINS_FULL";

/// Prime, so that no leader or partition is passed over each time.
const STRIDE: usize = 17;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Silent,
    Streams,
}

/// Who leads the three views, and who is in the other group than node 3 in each: one bit for each other node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Scenario {
    leaders: [u16; VIEWS],
    apart: [u8; VIEWS],
}

/// The bit of node 4, the second twin.
const SECOND: u8 = 1 << 3;

const HONEST_BITS: u8 = 0b111;

impl Scenario {
    /// The same with honest validators renamed, and the twins swapped if asked for.
    fn renamed(&self, names: [u16; 3], is_swapped: bool) -> Self {
        let leaders = self.leaders.map(|leader| names.get(usize::from(leader)).copied().unwrap_or(leader));
        let apart = self.apart.map(|apart| {
            let renamed = HONEST.iter().filter(|node| apart & 1 << **node != 0);
            let renamed = renamed.fold(apart & SECOND, |all, node| all | 1 << names[*node]);
            let is_other_group = is_swapped && apart & SECOND != 0;
            if is_other_group { renamed ^ HONEST_BITS } else { renamed }
        });
        Self { leaders, apart }
    }

    /// Whether it is the first of all that are the same but for names.
    fn is_representative(&self) -> bool {
        const NAMES: [[u16; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        let mut images = NAMES.into_iter().flat_map(|names| [false, true].map(|swap| self.renamed(names, swap)));
        images.all(|image| *self <= image)
    }

    fn all() -> Vec<Self> {
        let leaders = (0..4u16).flat_map(|a| (0..4).flat_map(move |b| (0..4).map(move |c| [a, b, c])));
        let cuts = || 0..16u8;
        let aparts: Vec<_> = cuts().flat_map(|a| cuts().flat_map(move |b| cuts().map(move |c| [a, b, c]))).collect();
        let all = leaders.flat_map(|leaders| aparts.iter().map(move |apart| Self { leaders, apart: *apart }));
        all.filter(Self::is_representative).collect()
    }

    /// The group of each node in a view.
    fn groups(&self, view: usize) -> [u64; 5] {
        let apart = self.apart[view - 1];
        let group = |bit: u8| u64::from(apart & bit != 0);
        [group(1), group(2), group(4), 0, group(SECOND)]
    }
}

/// What happened in some runs.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    runs: u64,
    /// Runs in which something was final before the network was healed.
    final_early: u64,
    /// Runs in which the twins were caught signing against each other.
    accused: u64,
    /// The longest that finality took once all was healed.
    healed_ms_max: u64,
}

fn cut_into(network: &mut Network, groups: &[u64], cut: Cut) {
    match cut {
        Cut::Streams => network.set_groups(groups),
        Cut::Silent => {
            for (node, group) in network.nodes.iter_mut().zip(groups) {
                node.group = *group;
            }
        }
    }
}

/// The leaders asked for, then everybody in turn.
fn leaders(chosen: &[u16], validators: u16) -> Schedule {
    let turns = (0..16).flat_map(|_| 0..validators);
    Schedule::rigged(chosen.iter().copied().chain(turns).map(ValidatorIndex).collect())
}

fn view_max(network: &Network) -> u64 {
    (0..network.nodes.len()).map(|at| network.engine(at).view().0).max().unwrap()
}

/// Runs the views with their partitions.
fn run_views(network: &mut Network, groups_of: impl Fn(usize) -> Vec<u64>, cut: Cut) {
    for view in 1..=VIEWS {
        cut_into(network, &groups_of(view), cut);
        if view == 1 {
            network.start_all();
        }
        let until = network.time + PARTITION_MS;
        while network.time < until && view_max(network) <= view as u64 {
            network.run_for(DELAY);
        }
    }
}

fn run(scenario: Scenario, cut: Cut, fixture: &Fixture, tally: &mut Tally) {
    let mut fixture = fixture.clone();
    fixture.schedule = leaders(&scenario.leaders, 4);
    let mut network = Network::new(fixture, 1, Weather::calm(DELAY));
    network.add(ValidatorIndex(TWIN));
    run_views(&mut network, |view| scenario.groups(view).to_vec(), cut);
    tally.final_early += u64::from(!network.finalized.is_empty());
    network.set_groups(&[0; 5]);
    let (healed_at, goal) = (network.time, network.height_max() + 2);
    while network.height_min() < goal {
        assert!(network.time < healed_at + HEALED_MS, "no finality after healing");
        network.run_for(DELAY);
    }
    assert!(network.evidence.iter().all(|accused| accused.0 == TWIN));
    tally.runs += 1;
    tally.accused += u64::from(!network.evidence.is_empty());
    tally.healed_ms_max = tally.healed_ms_max.max(network.time - healed_at);
}

fn run_all(cut: Cut) {
    let every = if std::env::var_os(FULL).is_some() { 1 } else { STRIDE };
    let (fixture, scenarios, mut tally) = (Fixture::equal(4), Scenario::all(), Tally::default());
    assert_eq!(scenarios.len(), 25_740);
    for scenario in scenarios.into_iter().step_by(every) {
        let run = std::panic::AssertUnwindSafe(|| run(scenario, cut, &fixture, &mut tally));
        assert!(std::panic::catch_unwind(run).is_ok(), "{cut:?} {scenario:?}");
    }
    println!("{cut:?}: {tally:?}");
    // The scenarios do what they are for: the twins contradict each other, and partitions let some views be final.
    assert!(tally.accused > tally.runs / 3 && tally.final_early > tally.runs / 3, "{tally:?}");
}

#[test]
fn twins_lost_messages_keep_everything_safe_and_heal() {
    run_all(Cut::Silent);
}

#[test]
fn twins_lost_streams_keep_everything_safe_and_heal() {
    run_all(Cut::Streams);
}

/// With two of four as twins there is nothing to rely on: each side of a partition has a quorum of its own. The network
/// must notice.
#[test]
#[should_panic(expected = "two certificates of one kind in view 1")]
fn twins_two_of_four_break_the_chain() {
    let mut fixture = Fixture::equal(4);
    fixture.schedule = leaders(&[2, 2, 2], 4);
    let mut network = Network::new(fixture, 1, Weather::calm(DELAY));
    network.add(ValidatorIndex(2));
    network.add(ValidatorIndex(TWIN));
    run_views(&mut network, |_| vec![0, 1, 0, 0, 1, 1], Cut::Silent);
}
