//! Storage items as `archive_v1_storage` and `chainHead_v1_storage` ask for them, and the difference of two states.
//!
//! Both are read in steps of bounded work, so that a caller can hold the budget of expensive calls for one step at a time
//! and stop in between.

use crate::error::RpcError;
use crate::json::to_hex;
use crate::params::Key;
use crate::ports::{ChainPort, ReadError};
use cairn_primitives::Hash;
use cairn_primitives::hash::blake2_256;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Keys read in one step.
const STEP_KEYS: usize = 256;

/// Bytes of values after which a step ends.
const STEP_BYTES: usize = 256 << 10;

/// Descendants that are hashed for a change marker; where there are more, the state root is the marker.
const MARKER_KEYS_MAX: usize = 4_096;

/// What is asked about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Kind {
    /// Its value.
    Value,
    /// The hash of its value.
    Hash,
    /// A marker that changes with whatever is below it.
    ClosestDescendantMerkleValue,
    /// The values of all keys that begin with it.
    DescendantsValues,
    /// The hashes of the values of all keys that begin with it.
    DescendantsHashes,
}

impl Kind {
    const fn is_walk(self) -> bool {
        matches!(self, Self::DescendantsValues | Self::DescendantsHashes)
    }
}

/// One item of a request.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Item {
    key: Key,
    #[serde(rename = "type")]
    kind: Kind,
    #[serde(default)]
    pagination_start_key: Option<Key>,
}

impl Item {
    /// Checks that a start key is given for walks alone.
    pub(crate) fn check(&self) -> Result<(), RpcError> {
        if self.pagination_start_key.is_some() && !self.kind.is_walk() {
            let detail = "`paginationStartKey` is for descendantsValues and descendantsHashes";
            return Err(RpcError::invalid_params(detail));
        }
        Ok(())
    }
}

/// What was found under a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Found {
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    closest_descendant_merkle_value: Option<String>,
}

impl Found {
    const fn new(key: String) -> Self {
        Self { key, value: None, hash: None, closest_descendant_merkle_value: None }
    }

    fn of(key: &[u8], value: &[u8], as_hash: bool) -> Self {
        let mut found = Self::new(to_hex(key));
        if as_hash {
            found.hash = Some(blake2_256(value).to_string());
        } else {
            found.value = Some(to_hex(value));
        }
        found
    }
}

/// Items that are being read from the state after one block.
pub(crate) struct Query {
    at: Hash,
    items: VecDeque<Item>,
}

impl Query {
    pub(crate) fn new(at: Hash, items: Vec<Item>) -> Self {
        Self { at, items: items.into() }
    }

    /// Whether everything was read.
    pub(crate) fn is_done(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether the next step goes on with a walk that has begun.
    pub(crate) fn is_walking(&self) -> bool {
        self.items.front().is_some_and(|item| item.kind.is_walk() && item.pagination_start_key.is_some())
    }

    /// Reads on for a bounded number of keys and bytes.
    ///
    /// # Errors
    /// The block is unknown, its state pruned, or the database did not answer.
    pub(crate) fn step(&mut self, chain: &dyn ChainPort) -> Result<Vec<Found>, ReadError> {
        let (mut found, mut keys, mut bytes) = (Vec::new(), 0_usize, 0_usize);
        while keys < STEP_KEYS && bytes < STEP_BYTES {
            let Some(item) = self.items.front_mut() else { break };
            let as_hash = matches!(item.kind, Kind::Hash | Kind::DescendantsHashes);
            let Key(key) = &item.key;
            match item.kind {
                Kind::Value | Kind::Hash => {
                    if let Some(value) = chain.storage(&self.at, key)? {
                        bytes = bytes.saturating_add(value.len());
                        found.push(Found::of(key, &value, as_hash));
                    }
                    keys = keys.saturating_add(1);
                }
                Kind::ClosestDescendantMerkleValue => {
                    if let Some(marker) = marker(chain, &self.at, key)? {
                        let mut item = Found::new(to_hex(key));
                        item.closest_descendant_merkle_value = Some(marker.to_string());
                        found.push(item);
                    }
                    // It may have read many keys.
                    keys = STEP_KEYS;
                }
                Kind::DescendantsValues | Kind::DescendantsHashes => {
                    let start = item.pagination_start_key.as_ref().map(|Key(start)| start.as_slice());
                    let page = chain.storage_keys(&self.at, key, start, STEP_KEYS)?;
                    let is_last = page.len() < STEP_KEYS;
                    let mut is_cut = false;
                    for key in page {
                        if bytes >= STEP_BYTES {
                            is_cut = true;
                            break;
                        }
                        if let Some(value) = chain.storage(&self.at, &key)? {
                            bytes = bytes.saturating_add(value.len());
                            found.push(Found::of(&key, &value, as_hash));
                        }
                        keys = keys.saturating_add(1);
                        item.pagination_start_key = Some(Key(key));
                    }
                    if is_cut || !is_last {
                        continue;
                    }
                }
            }
            self.items.pop_front();
        }
        Ok(found)
    }
}

/// A value that changes whenever a key that begins with `prefix`, or its value, does; `None` if there is none. The tree
/// orders keys by their hashes, so none of its nodes stands for a prefix.
fn marker(chain: &dyn ChainPort, at: &Hash, prefix: &[u8]) -> Result<Option<Hash>, ReadError> {
    let (mut text, mut start, mut count) = (Vec::new(), None::<Vec<u8>>, 0_usize);
    if let Some(value) = chain.storage(at, prefix)? {
        // A virtual value is under no key that is listed.
        text.extend(blake2_256(&value).0);
    }
    loop {
        let page = chain.storage_keys(at, prefix, start.as_deref(), STEP_KEYS)?;
        count = count.saturating_add(page.len());
        if count > MARKER_KEYS_MAX {
            return Ok(chain.header(at)?.map(|header| header.state_root));
        }
        for key in &page {
            let value = chain.storage(at, key)?.unwrap_or_default();
            text.extend(blake2_256(key).0);
            text.extend(blake2_256(&value).0);
        }
        let is_last = page.len() < STEP_KEYS;
        start = page.into_iter().next_back();
        if is_last {
            return Ok((!text.is_empty()).then(|| blake2_256(&text)));
        }
    }
}

/// One item of a request for differences.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DiffItem {
    #[serde(default)]
    key: Option<Key>,
    return_type: ReturnType,
    /// There are no child tries, so nothing differs in one.
    #[serde(default)]
    child_trie_key: Option<Key>,
}

impl DiffItem {
    /// Everything, with values.
    pub(crate) const fn all() -> Self {
        Self { key: None, return_type: ReturnType::Value, child_trie_key: None }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum ReturnType {
    Value,
    Hash,
}

/// A key whose value differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Difference {
    event: &'static str,
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    r#type: &'static str,
}

/// The keys of one state under one prefix, read page by page.
struct Keys {
    /// `None` before genesis: no keys.
    at: Option<Hash>,
    page: VecDeque<Vec<u8>>,
    last: Option<Vec<u8>>,
    is_last_page: bool,
}

impl Keys {
    const fn new(at: Option<Hash>) -> Self {
        Self { at, page: VecDeque::new(), last: None, is_last_page: at.is_none() }
    }

    /// The next key, without taking it.
    fn peek(&mut self, chain: &dyn ChainPort, prefix: &[u8]) -> Result<Option<&Vec<u8>>, ReadError> {
        if let (true, false, Some(at)) = (self.page.is_empty(), self.is_last_page, self.at) {
            let page = chain.storage_keys(&at, prefix, self.last.as_deref(), STEP_KEYS)?;
            self.is_last_page = page.len() < STEP_KEYS;
            self.last = page.last().cloned().or_else(|| self.last.take());
            self.page = page.into();
        }
        Ok(self.page.front())
    }

    fn value(&self, chain: &dyn ChainPort, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        self.at.map_or(Ok(None), |at| chain.storage(&at, key))
    }
}

/// The difference of two states, being read.
pub(crate) struct Diff {
    old: Option<Hash>,
    new: Hash,
    items: VecDeque<DiffItem>,
    sides: Option<(Keys, Keys)>,
}

impl Diff {
    /// What changed from the state after `old` (nothing before genesis) to the state after `new`.
    pub(crate) fn new(old: Option<Hash>, new: Hash, items: Vec<DiffItem>) -> Self {
        let items = items.into_iter().filter(|item| item.child_trie_key.is_none()).collect();
        Self { old, new, items, sides: None }
    }

    /// Whether everything was read.
    pub(crate) fn is_done(&self) -> bool {
        self.items.is_empty()
    }

    /// Reads on for a bounded number of keys and bytes.
    ///
    /// # Errors
    /// A state is pruned, or the database did not answer.
    pub(crate) fn step(&mut self, chain: &dyn ChainPort) -> Result<Vec<Difference>, ReadError> {
        let (mut found, mut bytes) = (Vec::new(), 0_usize);
        let Some(item) = self.items.front() else { return Ok(found) };
        let prefix = item.key.as_ref().map_or(&[][..], |Key(key)| key);
        let (old, new) = self.sides.get_or_insert_with(|| (Keys::new(self.old), Keys::new(Some(self.new))));
        for _ in 0..STEP_KEYS {
            if bytes >= STEP_BYTES {
                return Ok(found);
            }
            let key = match (old.peek(chain, prefix)?, new.peek(chain, prefix)?) {
                (None, None) => {
                    self.items.pop_front();
                    self.sides = None;
                    return Ok(found);
                }
                (Some(key), None) | (None, Some(key)) => key.clone(),
                (Some(old), Some(new)) => old.min(new).clone(),
            };
            for side in [&mut *old, &mut *new] {
                if side.page.front() == Some(&key) {
                    side.page.pop_front();
                }
            }
            let (before, after) = (old.value(chain, &key)?, new.value(chain, &key)?);
            let change = match (&before, &after) {
                (None, Some(_)) => "added",
                (Some(_), None) => "deleted",
                (Some(before), Some(after)) if before != after => "modified",
                (Some(_), Some(_)) | (None, None) => continue,
            };
            bytes = bytes.saturating_add(after.as_ref().map_or(0, Vec::len)).saturating_add(key.len());
            // Of a key that is gone, the value that it had.
            let shown = after.as_deref().or(before.as_deref()).map(|value| match item.return_type {
                ReturnType::Value => (Some(to_hex(value)), None),
                ReturnType::Hash => (None, Some(blake2_256(value).to_string())),
            });
            let (value, hash) = shown.unwrap_or_default();
            found.push(Difference { event: "storageDiff", key: to_hex(&key), value, hash, r#type: change });
        }
        Ok(found)
    }
}
