//! What the node measures of itself; `docs/metrics.md` lists every name with unit and meaning.

use cairn_consensus::EngineState;
use cairn_ledger::CommittedBlock;
use cairn_mempool::Status;
use cairn_sync::SnapshotProgress;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Opts, Registry};
use std::time::Duration;

/// Bounds of latency histograms, in seconds: from a lone transfer to a full block on a slow machine.
const SECONDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// Handles to the node's metrics; cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    height: IntGauge,
    timestamp_ms: IntGauge,
    blocks: IntCounter,
    transactions: IntCounter,
    unsaved_bytes: IntGauge,
    unknown_rules_height: IntGauge,
    propose_seconds: Histogram,
    verify_seconds: Histogram,
    execute_seconds: Histogram,
    proposed_transactions: IntCounter,
    view: IntGauge,
    finalized_view: IntGauge,
    backoff: IntGauge,
    validators_connected: IntGauge,
    evidence: IntCounter,
    pool_ready: IntGauge,
    pool_future: IntGauge,
    pool_bytes: IntGauge,
    gossip_dropped: IntCounter,
    sync_refused: IntCounter,
    lowest_block: IntGauge,
    replay_height: IntGauge,
    snapshot_height: IntGauge,
    snapshot_chunks: IntGauge,
    snapshot_chunks_wanted: IntGauge,
    snapshots_made: IntCounter,
    snapshot_parts_served: IntCounter,
}

impl Metrics {
    /// Registers everything.
    ///
    /// # Errors
    /// A name is taken.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| -> Result<IntGauge, prometheus::Error> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let counter = |name: &str, help: &str| -> Result<IntCounter, prometheus::Error> {
            let counter = IntCounter::with_opts(Opts::new(name, help))?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let seconds = |name: &str, help: &str| -> Result<Histogram, prometheus::Error> {
            let histogram = Histogram::with_opts(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()))?;
            registry.register(Box::new(histogram.clone()))?;
            Ok(histogram)
        };
        Ok(Self {
            height: gauge("cairn_ledger_head_height", "Height of the last committed block")?,
            timestamp_ms: gauge("cairn_ledger_head_timestamp_ms", "Timestamp of the last committed block")?,
            blocks: counter("cairn_ledger_committed_blocks", "Blocks committed since the start")?,
            transactions: counter("cairn_ledger_committed_transactions", "Extrinsics committed since the start")?,
            unsaved_bytes: gauge(
                "cairn_ledger_unsaved_state_bytes",
                "Bytes of state that no checkpoint has written yet",
            )?,
            unknown_rules_height: gauge(
                "cairn_ledger_unknown_rules_height",
                "First height under rules that this binary lacks, 0 if there is none",
            )?,
            propose_seconds: seconds("cairn_ledger_propose_seconds", "Time to build a block")?,
            verify_seconds: seconds("cairn_ledger_verify_seconds", "Time to check a block's form and signatures")?,
            execute_seconds: seconds("cairn_ledger_execute_seconds", "Time to execute a block and compute its root")?,
            proposed_transactions: counter("cairn_ledger_proposed_transactions", "Extrinsics in blocks built here")?,
            view: gauge("cairn_consensus_view", "The current view")?,
            finalized_view: gauge("cairn_consensus_finalized_view", "The highest finalized view")?,
            backoff: gauge("cairn_consensus_backoff_factor", "The factor on time-outs, 1 in good times")?,
            validators_connected: gauge(
                "cairn_consensus_connected_validators",
                "Validators in reach, this one included",
            )?,
            evidence: counter("cairn_consensus_evidence_total", "Proofs of votes that exclude each other")?,
            pool_ready: gauge("cairn_mempool_ready_transactions", "Transactions that may be included next")?,
            pool_future: gauge("cairn_mempool_future_transactions", "Transactions that wait for an earlier nonce")?,
            pool_bytes: gauge("cairn_mempool_size_bytes", "Bytes of all waiting transactions")?,
            gossip_dropped: counter(
                "cairn_mempool_dropped_transactions",
                "Gossiped transactions dropped for lack of room",
            )?,
            sync_refused: counter("cairn_sync_refused_requests", "Sync requests of peers refused for lack of room")?,
            lowest_block: gauge("cairn_sync_lowest_block", "Lowest height from which on all blocks are here")?,
            replay_height: gauge(
                "cairn_sync_replay_height",
                "Height up to which blocks were executed for their states",
            )?,
            snapshot_height: gauge("cairn_sync_snapshot_height", "Height of the snapshot that the node begins with")?,
            snapshot_chunks: gauge("cairn_sync_snapshot_chunks", "Chunks of that snapshot that are here")?,
            snapshot_chunks_wanted: gauge("cairn_sync_snapshot_chunks_wanted", "All chunks of that snapshot")?,
            snapshots_made: counter("cairn_sync_snapshots_made", "Snapshots made to be offered to others")?,
            snapshot_parts_served: counter("cairn_sync_snapshot_parts_served", "Parts of snapshots given to peers")?,
        })
    }

    /// A block became final.
    pub fn committed(&self, block: &CommittedBlock) {
        self.height.set(i64::from(block.height.0));
        if let Ok(context) = block.block.header.context() {
            self.timestamp_ms.set(i64::try_from(context.timestamp.0).unwrap_or(i64::MAX));
        }
        self.blocks.inc();
        self.transactions.inc_by(count(block.transactions.len()));
    }

    /// How much of the state is in no checkpoint.
    pub fn unsaved(&self, bytes: usize) {
        self.unsaved_bytes.set(level(count(bytes)));
    }

    /// The head at the start.
    pub fn head(&self, height: u32) {
        self.height.set(i64::from(height));
    }

    /// Where rules begin that this binary does not have.
    pub fn unknown_rules(&self, height: Option<u32>) {
        self.unknown_rules_height.set(height.map_or(0, i64::from));
    }

    /// A block was built.
    pub fn proposed(&self, took: Duration, extrinsics: usize) {
        self.propose_seconds.observe(took.as_secs_f64());
        self.proposed_transactions.inc_by(count(extrinsics));
    }

    /// A block was checked.
    pub fn verified(&self, took: Duration) {
        self.verify_seconds.observe(took.as_secs_f64());
    }

    /// A block was executed.
    pub fn executed(&self, took: Duration) {
        self.execute_seconds.observe(took.as_secs_f64());
    }

    /// The engine after a turn.
    pub fn observe_engine(&self, state: &EngineState) {
        self.view.set(level(state.view.0));
        self.finalized_view.set(level(state.finalized_view.0));
        self.backoff.set(level(state.backoff));
        let connected = state.validators.iter().filter(|validator| validator.connected).count();
        self.validators_connected.set(level(count(connected)));
    }

    /// A validator signed two things that exclude each other.
    pub fn evidence(&self) {
        self.evidence.inc();
    }

    /// The pool after a change.
    pub fn pool(&self, status: &Status) {
        self.pool_ready.set(level(count(status.ready)));
        self.pool_future.set(level(count(status.future)));
        self.pool_bytes.set(level(count(status.bytes)));
    }

    /// Gossiped transactions found no room on their way to the pool.
    pub fn gossip_dropped(&self, transactions: usize) {
        self.gossip_dropped.inc_by(count(transactions));
    }

    /// From which height on all blocks are here.
    pub fn lowest_block(&self, height: u32) {
        self.lowest_block.set(i64::from(height));
    }

    /// How far blocks were executed again for the states below a snapshot.
    pub fn replayed(&self, height: u32) {
        self.replay_height.set(i64::from(height));
    }

    /// How far the snapshot is that the node begins with.
    pub fn snapshot(&self, progress: &SnapshotProgress) {
        self.snapshot_height.set(i64::from(progress.height.0));
        self.snapshot_chunks.set(level(count(progress.chunks)));
        self.snapshot_chunks_wanted.set(level(count(progress.chunks_total)));
    }

    /// A snapshot was made to be offered.
    pub fn snapshot_made(&self) {
        self.snapshots_made.inc();
    }

    /// A peer got a part of a snapshot.
    pub fn snapshot_part_served(&self) {
        self.snapshot_parts_served.inc();
    }

    /// A peer's request for blocks or state found no room.
    pub fn sync_refused(&self) {
        self.sync_refused.inc();
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn level(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::Metrics;
    use cairn_network::{NetworkConfig, NodeKey};
    use cairn_primitives::Hash;
    use prometheus::Registry;
    use std::collections::BTreeSet;

    /// The names in the tables of the list, but for those of the RPC server, which has a test of its own.
    fn listed() -> BTreeSet<&'static str> {
        let rows = include_str!("../../docs/metrics.md").lines().filter_map(|line| line.strip_prefix("| `cairn_"));
        let names = rows.filter_map(|row| row.split('`').next());
        names.filter(|name| !name.starts_with("rpc_")).collect()
    }

    #[tokio::test]
    async fn metrics_registered_are_those_in_the_list() {
        let registry = Registry::new();
        Metrics::register(&registry).unwrap();
        let mut network = NetworkConfig::new(NodeKey::from_seed([1; 32]), Hash([2; 32]));
        network.registry = Some(registry.clone());
        let (handle, _events) = cairn_network::start(network).unwrap();
        handle.stop().await;
        let families = registry.gather();
        let registered = families.iter().filter_map(|family| family.name().strip_prefix("cairn_")).collect();
        assert_eq!(listed(), registered, "docs/metrics.md and the code differ");
    }
}
