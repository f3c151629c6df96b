//! What the server needs from the node, as traits and plain data.
//!
//! The node implements the three ports over its read model, its mempool driver and its network and consensus drivers.
//! [`ChainPort`] is synchronous: point reads cost microseconds and run on the connection's task, the calls that may walk
//! many keys (see [`crate::config::RpcConfig::expensive_calls_max`]) run on the blocking pool with a budget of their own.

use async_trait::async_trait;
use cairn_primitives::list_tree::InclusionProof;
use cairn_primitives::state_proof::StateProof;
use cairn_primitives::{AccountId32, Certificate, Epoch, FinalizedBlock, Hash, Header, Height, OpaqueExtrinsic};
use cairn_primitives::{TimestampMs, ValidatorSet};
use futures::Stream;
use serde::Serialize;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::watch;

/// The newest committed block; finality is instant, so it is best and finalized at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its height.
    pub height: Height,
    /// Its hash.
    pub hash: Hash,
}

/// Why a read has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No committed block has this hash.
    #[error("no block has the hash {0}")]
    UnknownBlock(Hash),
    /// The node keeps the block but not its state any more.
    #[error("the state of this block was pruned; the lowest height with state is {lowest}")]
    Pruned {
        /// The lowest height whose state can be read here.
        lowest: Height,
    },
    /// The node keeps the block's values but not the tree that proves them.
    #[error("the tree of this block is not kept; the lowest height that can be proved is {lowest}")]
    ProofNotKept {
        /// The lowest height whose state can be proved here.
        lowest: Height,
    },
    /// A block is only in the history of later ones.
    #[error("block {block} is not below block {under}")]
    NotBelow {
        /// The block that was to be shown.
        block: Height,
        /// The one in whose history it was to be.
        under: Height,
    },
    /// The block is below those that the node has.
    #[error("this node has blocks from height {lowest} on")]
    BlockNotKept {
        /// The lowest height from which on it has all blocks.
        lowest: Height,
    },
    /// The node does not have the headers of the oldest blocks.
    #[error("this node has blocks from height {lowest} on and cannot prove history")]
    NoHistory {
        /// The lowest height from which on it has all blocks.
        lowest: Height,
    },
    /// The database did not answer.
    #[error("the database cannot answer: {0}")]
    Database(String),
}

/// Why a runtime call has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The state it was to run on cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The runtime has no function of this name.
    #[error("exported method {0} is not found")]
    UnknownFunction(String),
    /// The function refused its input.
    #[error("{0}")]
    Failed(String),
}

/// The runtime's versions, in the shape that Substrate clients read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeVersion {
    /// Name of the rules.
    pub spec_name: String,
    /// Name of the implementation.
    pub impl_name: String,
    /// Version of the authoring interface.
    pub authoring_version: u32,
    /// Version of the rules.
    pub spec_version: u32,
    /// Version of the implementation.
    pub impl_version: u32,
    /// Runtime interfaces: BLAKE2b-64 of the name and the version.
    #[serde(serialize_with = "crate::json::apis")]
    pub apis: Vec<([u8; 8], u32)>,
    /// Version of call indices and extensions.
    pub transaction_version: u32,
    /// Version of the state layout.
    pub state_version: u8,
    /// Version of the system interface.
    pub system_version: u8,
}

/// Where a transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionLocation {
    /// Height of its block.
    pub height: Height,
    /// Its place in the block, counted from 0.
    pub index: u32,
}

/// An event of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventEntry {
    /// The place of the extrinsic that it belongs to, if to one.
    pub extrinsic: Option<u32>,
    /// The encoded record.
    pub record: Vec<u8>,
    /// Of the last event of an extrinsic: whether that succeeded.
    pub outcome: Option<bool>,
}

/// What shows that an epoch handed over to the next: all that a light client needs to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handover {
    /// The header of the epoch's last block.
    pub closing: Header,
    /// That block's own finalization, by the validators of the epoch.
    pub finalization: Certificate,
    /// The validators of the next epoch.
    pub validators: ValidatorSet,
}

/// The read model of committed blocks. Calls never wait for the writer and may be made from any thread.
///
/// `at` is always the hash of a committed block. Block data is kept for ever where it was ever here, state may be pruned.
pub trait ChainPort: Send + Sync + 'static {
    /// The newest committed block.
    fn head(&self) -> Head;

    /// The hash of block 0.
    fn genesis_hash(&self) -> Hash;

    /// The hash of the block at `height`; `None` above the head.
    ///
    /// # Errors
    /// The block is below those that the node has, or the database did not answer.
    fn block_hash(&self, height: Height) -> Result<Option<Hash>, ReadError>;

    /// The height of a committed block; `None` for an unknown hash.
    ///
    /// # Errors
    /// The database did not answer.
    fn height_of(&self, hash: &Hash) -> Result<Option<Height>, ReadError>;

    /// The header of a committed block; `None` for an unknown hash.
    ///
    /// # Errors
    /// The database did not answer.
    fn header(&self, hash: &Hash) -> Result<Option<Header>, ReadError>;

    /// A committed block with its own finalization, if it has one; `None` for an unknown hash.
    ///
    /// # Errors
    /// The node has the header alone, or the database did not answer.
    fn block(&self, hash: &Hash) -> Result<Option<FinalizedBlock>, ReadError>;

    /// The events of a block, in order; `None` for an unknown hash.
    ///
    /// # Errors
    /// The node has the header alone, or the database did not answer.
    fn event_records(&self, hash: &Hash) -> Result<Option<Vec<EventEntry>>, ReadError>;

    /// The finalization that covers `height`: the block's own, or the first of a descendant, with the header it is of;
    /// `None` above the head and at genesis.
    ///
    /// # Errors
    /// The database did not answer.
    fn finalization_for(&self, height: Height) -> Result<Option<(Header, Certificate)>, ReadError>;

    /// A value in the state after block `at`, virtual keys included.
    ///
    /// # Errors
    /// The block is unknown, its state pruned, or the database did not answer.
    fn storage(&self, at: &Hash, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError>;

    /// Up to `count` keys that begin with `prefix` and are greater than `start`, in ascending order.
    ///
    /// # Errors
    /// The block is unknown, its state pruned, or the database did not answer.
    fn storage_keys(
        &self,
        at: &Hash,
        prefix: &[u8],
        start: Option<&[u8]>,
        count: usize,
    ) -> Result<Vec<Vec<u8>>, ReadError>;

    /// Runs a read-only function of the runtime on the state after block `at`.
    ///
    /// # Errors
    /// The state cannot be read, the function is unknown or refuses its input.
    fn runtime_call(&self, at: &Hash, function: &str, input: &[u8]) -> Result<Vec<u8>, CallError>;

    /// The versions that hold after block `at`.
    ///
    /// # Errors
    /// The block is unknown or the database did not answer.
    fn runtime_version(&self, at: &Hash) -> Result<RuntimeVersion, ReadError>;

    /// The V14 metadata that holds after block `at`, beginning with its magic bytes.
    ///
    /// # Errors
    /// The block is unknown or the database did not answer.
    fn metadata(&self, at: &Hash) -> Result<Vec<u8>, ReadError>;

    /// Where the transaction with this hash is; `None` if it is in no committed block.
    ///
    /// # Errors
    /// The database did not answer.
    fn transaction(&self, hash: &Hash) -> Result<Option<TransactionLocation>, ReadError>;

    /// What the state after block `at` holds under `keys`, proved against that block's state root, in their order.
    ///
    /// # Errors
    /// The block is unknown, its state pruned, or the database did not answer.
    fn prove(&self, at: &Hash, keys: &[Vec<u8>]) -> Result<Vec<StateProof>, ReadError>;

    /// Proves that the block at a height is in the history of the one at `under`.
    ///
    /// # Errors
    /// It is not below that; headers of old blocks are missing here; the database did not answer.
    fn prove_history(&self, height: Height, under: Height) -> Result<InclusionProof, ReadError>;

    /// The epoch and the validators that voted on block `at`.
    ///
    /// # Errors
    /// The block is unknown or the database did not answer.
    fn validators(&self, at: &Hash) -> Result<(Epoch, ValidatorSet), ReadError>;

    /// What shows that `epoch` handed over to the next; `None` where it has not ended.
    ///
    /// # Errors
    /// The database did not answer.
    fn handover(&self, epoch: Epoch) -> Result<Option<Handover>, ReadError>;
}

/// Why a transaction was refused, as far as clients act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Not an extrinsic of a known version, or not canonically encoded.
    Malformed,
    /// The signature does not hold; also a signature over another chain, spec version or era block.
    BadSignature,
    /// Its nonce was used.
    Stale,
    /// Its nonce is too far ahead to wait for.
    Future,
    /// The sender cannot pay the fees.
    Unaffordable,
    /// The era's first block is too old or unknown.
    EraEnded,
    /// The runtime does not accept this call in a transaction.
    BadCall,
    /// Larger or heavier than any block allows.
    TooLarge,
    /// The pool has it already.
    AlreadyKnown,
    /// It is in a committed block already.
    AlreadyIncluded,
    /// It would replace a transaction, but does not tip enough more.
    PriorityTooLow,
    /// The pool is full of better ones, or the sender has too many waiting.
    PoolFull,
    /// It was dropped as invalid a moment ago.
    Banned,
    /// The node is busy or stopping.
    Unavailable,
}

/// A transaction was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct SubmitError {
    /// The reason clients act on.
    pub refusal: Refusal,
    /// The reason in words, with figures.
    pub detail: String,
}

/// What happens to a watched transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    /// It may go into the next block.
    Ready,
    /// It waits for a transaction with a lower nonce.
    Future,
    /// It is in a committed, so final, block; nothing follows.
    Included {
        /// The block.
        block: Hash,
        /// The place in it.
        index: u32,
    },
    /// Another transaction with the same nonce took its place; nothing follows.
    Usurped(Hash),
    /// It was pushed out; nothing follows.
    Dropped,
    /// It can no longer be included; nothing follows.
    Invalid,
}

/// The states of one watched transaction; ends after the last.
pub type StatusStream = Pin<Box<dyn Stream<Item = TransactionStatus> + Send>>;

/// The way into the mempool.
#[async_trait]
pub trait TransactionPort: Send + Sync + 'static {
    /// Offers transactions to the mempool; one verdict each, in their order. Must cost little per item.
    async fn submit(&self, extrinsics: Vec<OpaqueExtrinsic>) -> Vec<Result<Hash, SubmitError>>;

    /// Offers one transaction and follows it.
    ///
    /// # Errors
    /// It was refused.
    async fn submit_and_watch(&self, extrinsic: OpaqueExtrinsic) -> Result<StatusStream, SubmitError>;

    /// Follows a transaction that was offered before, from its next state on.
    fn watch(&self, hash: &Hash) -> StatusStream;

    /// The transactions that wait, at most `limit`, in the order in which they would be included.
    async fn pending(&self, limit: usize) -> Vec<OpaqueExtrinsic>;

    /// The nonce for the account's next transaction, those that wait included.
    ///
    /// # Errors
    /// The database did not answer.
    async fn next_nonce(&self, account: &AccountId32) -> Result<u32, ReadError>;

    /// How full the mempool is.
    async fn status(&self) -> MempoolStatus;
}

/// How full the mempool is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MempoolStatus {
    /// Transactions that may be included next.
    pub ready: usize,
    /// Transactions that wait for one with a lower nonce.
    pub future: usize,
    /// Bytes of all of them.
    pub bytes: usize,
    /// The most transactions it holds.
    pub count_max: usize,
    /// The most bytes it holds.
    pub bytes_max: usize,
}

/// What kind of chain this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum ChainType {
    /// Throw-away, with public keys.
    Development,
    /// On one machine.
    Local,
    /// A real one.
    Live,
}

/// What wallets show amounts and addresses with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChainProperties {
    /// The SS58 prefix of addresses.
    pub ss58_format: u16,
    /// Digits after the point.
    pub token_decimals: u8,
    /// The unit.
    pub token_symbol: String,
}

/// What does not change while the node runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeIdentity {
    /// The chain's name.
    pub chain: String,
    /// The chain's id.
    pub chain_id: String,
    /// The chain's kind.
    pub chain_type: ChainType,
    /// The chain's properties.
    pub properties: ChainProperties,
    /// The software's name.
    pub node_name: String,
    /// The software's version.
    pub node_version: String,
    /// What the node does: `validator`, `rpc` or `archive`.
    pub role: String,
    /// The libp2p peer id.
    pub peer_id: String,
    /// The changes of the chain's rules, in order of height.
    pub upgrades: Vec<PlannedUpgrade>,
}

/// A change of the chain's rules at a height fixed in advance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedUpgrade {
    /// The first height under the new rules.
    pub height: Height,
    /// Their version.
    pub spec_version: u32,
    /// Whether the node has them; if not, it stops before that height.
    pub known: bool,
}

/// Whether the node is of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// Connected peers.
    pub peers: usize,
    /// Whether it is catching up.
    pub is_syncing: bool,
    /// Whether a node of this chain has peers at all.
    pub should_have_peers: bool,
}

/// How far the node has caught up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncState {
    /// The head when the node started.
    pub starting_block: u32,
    /// The head now.
    pub current_block: u32,
    /// The highest head any peer reported, or the own.
    pub highest_block: u32,
    /// The lowest height from which on all blocks are here.
    pub lowest_block: u32,
}

/// A connected peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    /// Its libp2p peer id.
    pub peer_id: String,
    /// The address of the connection.
    pub address: String,
    /// `in` or `out`.
    pub direction: String,
    /// Its consensus key in hexadecimal, if it proved to be a validator.
    pub validator: Option<String>,
    /// Its software.
    pub agent: Option<String>,
    /// Its reported head, if known.
    pub best_block: Option<u32>,
    /// Its reputation: 0 at best, banned at -100.
    pub score: i32,
    /// What it did wrong last, as far as that is remembered: `malformed`, `invalid`, `flooding`, `useless` or `slow`.
    pub last_offence: Option<String>,
    /// The last measured round trip, in milliseconds.
    pub round_trip_ms: Option<u64>,
    /// How long it has been connected, in seconds.
    pub connected_seconds: u64,
}

/// A banned peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BannedPeer {
    /// Its libp2p peer id.
    pub peer_id: String,
    /// The offence that led to the ban.
    pub reason: String,
    /// How long the ban still lasts, in seconds.
    pub seconds_left: u64,
    /// Which ban of the peer it is: each lasts twice as long as the one before.
    pub count: u32,
}

/// The node around the chain.
#[async_trait]
pub trait NodePort: Send + Sync + 'static {
    /// What does not change while the node runs.
    fn identity(&self) -> &NodeIdentity;

    /// Whether the node is of use.
    async fn health(&self) -> Health;

    /// How far the node has caught up.
    async fn sync_state(&self) -> SyncState;

    /// The multiaddresses the node listens on, with its peer id.
    async fn listen_addresses(&self) -> Vec<String>;

    /// Connected peers.
    async fn peers(&self) -> Vec<Peer>;

    /// Banned peers.
    async fn banned_peers(&self) -> Vec<BannedPeer>;

    /// The engine's view of consensus (view, leader, power by kind, deadlines, who is missing), `null` where the node
    /// runs no engine.
    async fn consensus_state(&self) -> serde_json::Value;

    /// Why there is no new block in this moment: `why` in words, and what it was concluded from. On every node.
    async fn why_no_block(&self) -> serde_json::Value;

    /// What the database has in its tables and takes on disk; `null` if that cannot be read.
    async fn database_stats(&self) -> serde_json::Value;

    /// Begins a snapshot of the newest block, unless one is under way, and answers as [`Self::snapshot_state`].
    async fn create_snapshot(&self) -> serde_json::Value;

    /// What became of the last snapshot: `state`, `permille`, `height`, `folder`, `error`; `null` if none was asked for.
    async fn snapshot_state(&self) -> serde_json::Value;

    /// When the process started.
    fn started_at(&self) -> TimestampMs;
}

/// The ports, and the heads as they are committed.
#[derive(Clone)]
pub struct Ports {
    /// The read model.
    pub chain: Arc<dyn ChainPort>,
    /// The mempool.
    pub transactions: Arc<dyn TransactionPort>,
    /// The node.
    pub node: Arc<dyn NodePort>,
    /// The newest committed head, set after each commit; heads that are skipped here are read from `chain` by height, so
    /// subscribers get every one.
    pub heads: watch::Receiver<Head>,
}
