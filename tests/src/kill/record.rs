//! What nodes said to be final: kept for ever and compared with everything that any node says later.

use crate::rpc::Rpc;
use anyhow::{Context as _, bail};
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::harness::PATIENCE;

/// The blocks that nodes told of, and who told how far.
#[derive(Debug, Default)]
pub(super) struct Record {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    hashes: BTreeMap<u32, String>,
    /// The highest block that each node told of.
    heights: BTreeMap<usize, u32>,
    contradiction: Option<String>,
}

#[derive(Deserialize)]
struct Block {
    height: u32,
    hash: String,
}

impl Record {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes down what a node says.
    pub(super) fn put(&self, node: usize, height: u32, hash: String) {
        let mut state = self.state();
        let known = state.hashes.entry(height).or_insert_with(|| hash.clone()).clone();
        if known != hash {
            let words = format!("at height {height} node {node} has {hash}, somebody said that {known} is final");
            state.contradiction.get_or_insert(words);
        }
        let highest = state.heights.entry(node).or_default();
        *highest = height.max(*highest);
        drop(state);
        self.changed.notify_waiters();
    }

    /// The highest block that a node told of; 0 if none.
    pub(super) fn height(&self, node: usize) -> u32 {
        self.state().heights.get(&node).copied().unwrap_or_default()
    }

    /// The highest block that any node told of.
    pub(super) fn tip(&self) -> u32 {
        self.state().hashes.last_key_value().map_or(0, |(height, _)| *height)
    }

    /// Compares a node's blocks, from height `from` on, with what was said; all of them were said to be final by somebody.
    ///
    /// # Errors
    /// The node has another one, or nodes contradicted each other before.
    pub(super) fn check(&self, node: usize, from: u32, hashes: &[String]) -> anyhow::Result<()> {
        self.check_agreement()?;
        let state = self.state();
        for (height, hash) in (from..).zip(hashes) {
            match state.hashes.get(&height) {
                Some(known) if known != hash => {
                    bail!("node {node} came back with {hash} at height {height}, where {known} was final")
                }
                Some(_) | None => {}
            }
        }
        Ok(())
    }

    /// Whether all said the same.
    ///
    /// # Errors
    /// Two nodes, or one before and after, have different blocks at one height.
    pub(super) fn check_agreement(&self) -> anyhow::Result<()> {
        self.state().contradiction.clone().map_or(Ok(()), |words| bail!("two blocks are final: {words}"))
    }

    /// Waits until a node tells of a height.
    ///
    /// # Errors
    /// It does not, or nodes contradict each other.
    pub(super) async fn reached(&self, node: usize, height: u32) -> anyhow::Result<()> {
        let reached = async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if self.height(node) >= height {
                    return;
                }
                changed.await;
            }
        };
        let words = || format!("node {node} stands at {} and does not reach {height}", self.height(node));
        timeout(PATIENCE, reached).await.with_context(words)?;
        self.check_agreement()
    }
}

/// Takes down every block that a node tells of from a height on, until the connection ends.
pub(super) fn observe(record: Arc<Record>, rpc: Rpc, node: usize, from: u32) -> JoinHandle<anyhow::Result<()>> {
    tokio::spawn(async move {
        let parameters = vec![json!(from)];
        let mut blocks = rpc.subscribe::<Block>("cairn_subscribeBlocks", parameters, "cairn_unsubscribeBlocks").await?;
        while let Some(block) = blocks.next().await {
            let Block { height, hash } = block?;
            record.put(node, height, hash);
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::Record;

    #[test]
    fn record_of_two_hashes_at_one_height_is_a_contradiction() {
        let record = Record::default();
        record.put(0, 7, "a".into());
        record.put(1, 7, "a".into());
        assert!(record.check_agreement().is_ok());
        record.put(2, 7, "b".into());
        let error = record.check_agreement().unwrap_err().to_string();
        assert!(error.contains("height 7") && error.contains("node 2"), "{error}");
    }

    #[test]
    fn record_check_of_another_block_names_height_and_node() {
        let record = Record::default();
        record.put(0, 7, "a".into());
        assert!(record.check(3, 6, &["x".into(), "a".into(), "y".into()]).is_ok());
        let error = record.check(3, 6, &["x".into(), "b".into()]).unwrap_err().to_string();
        assert!(error.contains("node 3") && error.contains("height 7"), "{error}");
        assert_eq!((record.height(0), record.height(3), record.tip()), (7, 0, 7));
    }
}
