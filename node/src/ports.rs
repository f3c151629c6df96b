//! The node behind JSON-RPC: the server's ports over the read model, the mempool, the network and the engine.

use crate::drivers::consensus::ConsensusHandle;
use crate::drivers::mempool::MempoolHandle;
use crate::drivers::sync::{SyncHandle, is_alone};
use crate::explain::{self, Surroundings};
use crate::sizes;
use crate::snapshot::Snapshots;
use async_trait::async_trait;
use cairn_ledger::Reader;
use cairn_mempool::PoolConfig;
use cairn_network::{Direction, Handle as Network};
use cairn_primitives::list_tree::InclusionProof;
use cairn_primitives::state_proof::StateProof;
use cairn_primitives::{
    AccountId32, Certificate, Epoch, FinalizedBlock, Hash, Header, Height, OpaqueExtrinsic, PublicKey, TimestampMs,
    ValidatorSet,
};
use cairn_rpc::ports::{
    BannedPeer, CallError, ChainPort, EventEntry, Handover, Head, Health, MempoolStatus, NodeIdentity, NodePort, Peer,
    ReadError, RuntimeVersion, StatusStream, SubmitError, SyncState, TransactionLocation, TransactionPort,
};
use cairn_runtime::{EventRecord, Rules};
use cairn_storage_rocks::{DirectoryStats, RocksDatabase};
use parity_scale_codec::{DecodeAll as _, Encode as _};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// [`ChainPort`] over the read model.
pub struct Chain(pub Reader);

fn read_error(error: cairn_ledger::ReadError) -> ReadError {
    match error {
        cairn_ledger::ReadError::UnknownBlock(hash) => ReadError::UnknownBlock(hash),
        cairn_ledger::ReadError::Pruned { lowest, .. } => ReadError::Pruned { lowest },
        cairn_ledger::ReadError::NotBelow { block, under } => ReadError::NotBelow { block, under },
        cairn_ledger::ReadError::BlockNotKept { lowest } => ReadError::BlockNotKept { lowest },
        cairn_ledger::ReadError::NoHistory { lowest } => ReadError::NoHistory { lowest },
        cairn_ledger::ReadError::State(cairn_storage::StateError::ProofNotKept { lowest, .. }) => {
            ReadError::ProofNotKept { lowest }
        }
        error @ (cairn_ledger::ReadError::Database(_)
        | cairn_ledger::ReadError::State(_)
        | cairn_ledger::ReadError::NoFinalization(_)
        | cairn_ledger::ReadError::UnknownRules(_)
        | cairn_ledger::ReadError::UnknownEpoch(_)) => {
            // A node stops where it does not have the rules of the next block. The epoch of a committed block has begun, so a set that is not there is lost. Logged where it is answered.
            ReadError::Database(error.to_string())
        }
    }
}

impl Chain {
    fn check_known(&self, at: &Hash) -> Result<Height, ReadError> {
        self.0.height_of(at).map_err(read_error)?.ok_or(ReadError::UnknownBlock(*at))
    }

    /// The rules by which is told what is asked at a block: those of the next one.
    fn rules_after(&self, at: &Hash) -> Result<Rules, ReadError> {
        let height = self.check_known(at)?;
        self.0.rules().after(height).map_err(|unknown| read_error(unknown.into()))
    }
}

impl ChainPort for Chain {
    fn head(&self) -> Head {
        let head = self.0.head();
        Head { height: head.height, hash: head.hash }
    }

    fn genesis_hash(&self) -> Hash {
        self.0.genesis_hash()
    }

    fn block_hash(&self, height: Height) -> Result<Option<Hash>, ReadError> {
        // Before the look for the hash: a block that is committed in between is not one that was not kept.
        let head = self.0.head().height;
        let hash = self.0.block_hash(height).map_err(read_error)?;
        if hash.is_none() && height <= head {
            let lowest = self.0.lowest_block().map_err(read_error)?;
            return Err(ReadError::BlockNotKept { lowest });
        }
        Ok(hash)
    }

    fn height_of(&self, hash: &Hash) -> Result<Option<Height>, ReadError> {
        self.0.height_of(hash).map_err(read_error)
    }

    fn header(&self, hash: &Hash) -> Result<Option<Header>, ReadError> {
        self.0.header(hash).map_err(read_error)
    }

    fn block(&self, hash: &Hash) -> Result<Option<FinalizedBlock>, ReadError> {
        self.0.block(hash).map_err(read_error)
    }

    fn event_records(&self, hash: &Hash) -> Result<Option<Vec<EventEntry>>, ReadError> {
        let Some(bytes) = self.0.events(hash).map_err(read_error)? else { return Ok(None) };
        let records = Vec::<EventRecord>::decode_all(&mut bytes.as_slice())
            .map_err(|error| ReadError::Database(format!("the events of block {hash} cannot be read: {error}")))?;
        let entries = records.iter().map(|record| EventEntry {
            extrinsic: record.extrinsic(),
            outcome: record.outcome(),
            record: record.encode(),
        });
        Ok(Some(entries.collect()))
    }

    fn finalization_for(&self, height: Height) -> Result<Option<(Header, Certificate)>, ReadError> {
        self.0.finalization_for(height).map_err(read_error)
    }

    fn storage(&self, at: &Hash, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        self.0.state_at(at).and_then(|state| state.get(key)).map_err(read_error)
    }

    fn storage_keys(
        &self,
        at: &Hash,
        prefix: &[u8],
        start: Option<&[u8]>,
        count: usize,
    ) -> Result<Vec<Vec<u8>>, ReadError> {
        self.0.state_at(at).and_then(|state| state.keys(prefix, start, count)).map_err(read_error)
    }

    fn runtime_call(&self, at: &Hash, function: &str, input: &[u8]) -> Result<Vec<u8>, CallError> {
        let state = self.0.state_at(at).map_err(read_error)?;
        state.call(function, input).map_err(|error| match error {
            cairn_runtime::CallError::UnknownMethod { name } => CallError::UnknownFunction(name),
            cairn_runtime::CallError::State(error) => CallError::Read(ReadError::Database(error.to_string())),
            error @ (cairn_runtime::CallError::Input(_) | cairn_runtime::CallError::Extrinsic(_)) => {
                CallError::Failed(error.to_string())
            }
        })
    }

    fn runtime_version(&self, at: &Hash) -> Result<RuntimeVersion, ReadError> {
        let version = cairn_runtime::runtime_version(self.rules_after(at)?);
        Ok(RuntimeVersion {
            spec_name: version.spec_name,
            impl_name: version.impl_name,
            authoring_version: version.authoring_version,
            spec_version: version.spec_version,
            impl_version: version.impl_version,
            apis: version.apis,
            transaction_version: version.transaction_version,
            // The state behind the keys is this chain's own; clients only repeat the number.
            state_version: 1,
            system_version: version.system_version,
        })
    }

    fn metadata(&self, at: &Hash) -> Result<Vec<u8>, ReadError> {
        cairn_runtime::metadata(self.rules_after(at)?, 14)
            .ok_or_else(|| ReadError::Database("this runtime has no V14 metadata".into()))
    }

    fn transaction(&self, hash: &Hash) -> Result<Option<TransactionLocation>, ReadError> {
        let found = self.0.transaction(hash).map_err(read_error)?;
        Ok(found.map(|(height, index)| TransactionLocation { height, index }))
    }

    fn prove(&self, at: &Hash, keys: &[Vec<u8>]) -> Result<Vec<StateProof>, ReadError> {
        self.0.prove(keys, at).map_err(read_error)
    }

    fn prove_history(&self, height: Height, under: Height) -> Result<InclusionProof, ReadError> {
        self.0.prove_history(height, under).map_err(read_error)
    }

    fn validators(&self, at: &Hash) -> Result<(Epoch, ValidatorSet), ReadError> {
        let (epoch, set) = self.0.validators(self.check_known(at)?).map_err(read_error)?;
        Ok((epoch, ValidatorSet::clone(&set)))
    }

    fn handover(&self, epoch: Epoch) -> Result<Option<Handover>, ReadError> {
        let handover = self.0.handover(epoch).map_err(read_error)?;
        Ok(handover.map(|cairn_ledger::Handover { closing, finalization, validators }| Handover {
            closing,
            finalization,
            validators: ValidatorSet::clone(&validators),
        }))
    }
}

/// [`TransactionPort`] over the mempool.
pub struct Transactions {
    /// The mempool.
    pub mempool: MempoolHandle,
    /// Account nonces.
    pub reader: Reader,
    /// The pool's bounds.
    pub config: PoolConfig,
}

#[async_trait]
impl TransactionPort for Transactions {
    async fn submit(&self, extrinsics: Vec<OpaqueExtrinsic>) -> Vec<Result<Hash, SubmitError>> {
        self.mempool.submit(extrinsics).await
    }

    async fn submit_and_watch(&self, extrinsic: OpaqueExtrinsic) -> Result<StatusStream, SubmitError> {
        let states = self.mempool.watch(extrinsic.hash());
        for verdict in self.mempool.submit(vec![extrinsic]).await {
            verdict?;
        }
        Ok(Box::pin(tokio_stream::wrappers::ReceiverStream::new(states)))
    }

    fn watch(&self, hash: &Hash) -> StatusStream {
        Box::pin(tokio_stream::wrappers::ReceiverStream::new(self.mempool.watch(*hash)))
    }

    async fn pending(&self, limit: usize) -> Vec<OpaqueExtrinsic> {
        self.mempool.pending(limit)
    }

    async fn next_nonce(&self, account: &AccountId32) -> Result<u32, ReadError> {
        let info = cairn_runtime::account(&self.reader.state_at_head(), account)
            .map_err(|error| ReadError::Database(error.to_string()))?;
        let next = self.mempool.next_nonce(account, u64::from(info.nonce));
        Ok(u32::try_from(next).unwrap_or(u32::MAX))
    }

    async fn status(&self) -> MempoolStatus {
        let status = self.mempool.status();
        MempoolStatus {
            ready: status.ready,
            future: status.future,
            bytes: status.bytes,
            count_max: self.config.transactions_max,
            bytes_max: self.config.bytes_max,
        }
    }
}

/// [`NodePort`] over everything else.
pub struct Node {
    /// What does not change.
    pub identity: NodeIdentity,
    /// The network.
    pub network: Network,
    /// The engine, if there is one.
    pub consensus: Option<ConsensusHandle>,
    /// Block sync.
    pub sync: SyncHandle,
    /// Committed blocks.
    pub reader: Reader,
    /// What makes snapshots.
    pub snapshots: Arc<Snapshots>,
    /// The database.
    pub database: Arc<RocksDatabase>,
    /// Its folder.
    pub database_folder: PathBuf,
    /// When the process started.
    pub started_at: TimestampMs,
    /// The head at the start.
    pub starting_block: Height,
    /// The node's own keys.
    pub own_keys: Vec<PublicKey>,
}

impl Node {
    /// Whether the chain needs others than this node.
    fn should_have_peers(&self) -> bool {
        !is_alone(&self.reader.current_epoch().validators, &self.own_keys)
    }
}

#[async_trait]
impl NodePort for Node {
    fn identity(&self) -> &NodeIdentity {
        &self.identity
    }

    async fn health(&self) -> Health {
        let peers = self.network.status().await.map_or(0, |status| status.connected.len());
        Health { peers, is_syncing: self.sync.is_syncing(), should_have_peers: self.should_have_peers() }
    }

    async fn sync_state(&self) -> SyncState {
        let current = self.reader.head().height;
        SyncState {
            starting_block: self.starting_block.0,
            current_block: current.0,
            highest_block: self.sync.highest().max(current).0,
            lowest_block: self.reader.lowest_block().map_or_else(
                |error| {
                    tracing::error!(%error, "the lowest block cannot be read");
                    current.0
                },
                |lowest| lowest.0,
            ),
        }
    }

    async fn listen_addresses(&self) -> Vec<String> {
        let status = self.network.status().await;
        status.map_or_else(|_| Vec::new(), |status| status.listening.iter().map(ToString::to_string).collect())
    }

    async fn peers(&self) -> Vec<Peer> {
        let Ok(status) = self.network.status().await else { return Vec::new() };
        let peers = status.connected.into_iter().map(|peer| Peer {
            best_block: self.sync.head_of(&peer.peer).map(|height| height.0),
            peer_id: peer.peer.to_string(),
            address: peer.address.to_string(),
            direction: match peer.direction {
                Direction::Inbound => "in".into(),
                Direction::Outbound => "out".into(),
            },
            validator: peer.validator.map(|key| key.to_string()),
            agent: peer.agent,
            score: peer.score,
            last_offence: peer.last_offence.map(|offence| offence.label().to_owned()),
            round_trip_ms: peer.round_trip.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
            connected_seconds: peer.connected.as_secs(),
        });
        peers.collect()
    }

    async fn banned_peers(&self) -> Vec<BannedPeer> {
        let Ok(status) = self.network.status().await else { return Vec::new() };
        let banned = status.banned.into_iter().map(|ban| BannedPeer {
            peer_id: ban.peer.to_string(),
            reason: ban.reason.label().to_owned(),
            seconds_left: ban.remaining.as_secs(),
            count: ban.count,
        });
        banned.collect()
    }

    async fn consensus_state(&self) -> Value {
        let Some(consensus) = &self.consensus else { return Value::Null };
        consensus.state().await.map_or(Value::Null, |state| explain::state_json(&state))
    }

    async fn why_no_block(&self) -> Value {
        let state = match &self.consensus {
            Some(consensus) => consensus.state().await,
            None => None,
        };
        let head = self.reader.head();
        let age = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let around = Surroundings {
            peers: self.network.status().await.map_or(0, |status| status.connected.len()),
            should_have_peers: self.should_have_peers(),
            is_syncing: self.sync.is_syncing(),
            head: head.height,
            head_hash: head.hash,
            head_age: age.saturating_sub(Duration::from_millis(head.timestamp.0)),
            highest: self.sync.highest().max(head.height),
        };
        explain::why_json(state.as_ref(), &around)
    }

    async fn database_stats(&self) -> Value {
        let (database, folder) = (Arc::clone(&self.database), self.database_folder.clone());
        let read = tokio::task::spawn_blocking(move || {
            anyhow::Ok(sizes::to_fields(&database.table_stats()?, &DirectoryStats::read(&folder)?))
        });
        let mut fields = match read.await.map_err(anyhow::Error::new).flatten() {
            Ok(fields) => fields,
            Err(error) => {
                tracing::error!(%error, "the sizes of the database cannot be read");
                return Value::Null;
            }
        };
        fields.insert("head".to_owned(), self.reader.head().height.0.into());
        fields.insert("lowestState".to_owned(), self.reader.lowest_state().0.into());
        fields.into()
    }

    async fn create_snapshot(&self) -> Value {
        let (snapshots, reader) = (Arc::clone(&self.snapshots), self.reader.clone());
        // The headers of the manifest are read at once.
        let begun = tokio::task::spawn_blocking(move || snapshots.begin(&reader)).await;
        if let Err(error) = begun {
            tracing::error!(%error, "a snapshot cannot be begun");
        }
        self.snapshots.to_json()
    }

    async fn snapshot_state(&self) -> Value {
        self.snapshots.to_json()
    }

    fn started_at(&self) -> TimestampMs {
        self.started_at
    }
}
