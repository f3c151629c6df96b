//! A node made of memory: a chain that grows on command, a mempool that judges by the last byte.

use crate::ports::{
    BannedPeer, CallError, ChainPort, ChainProperties, ChainType, EventEntry, Handover, Head, Health, MempoolStatus,
    NodeIdentity, NodePort, Peer, PlannedUpgrade, Ports, ReadError, Refusal, RuntimeVersion, StatusStream, SubmitError,
    SyncState, TransactionLocation, TransactionPort, TransactionStatus,
};
use async_trait::async_trait;
use cairn_primitives::list_tree::{self, InclusionProof};
use cairn_primitives::state_proof::{ExistenceProof, StateProof};
use cairn_primitives::{
    AccountId32, Block, Certificate, ConsensusContext, Epoch, FinalizedBlock, Hash, Header, Height, KeyPair,
    OpaqueExtrinsic, Power, Proposal, Subject, TimestampMs, Validator, ValidatorIndex, ValidatorSet, View, Vote,
};
use parity_scale_codec::Encode;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// The last byte of extrinsics that are refused, and why.
pub(super) const STALE: u8 = 0xf1;
pub(super) const KNOWN: u8 = 0xf2;
pub(super) const CHEAP: u8 = 0xf3;
pub(super) const FULL: u8 = 0xf4;
pub(super) const BANNED: u8 = 0xf5;

/// A value that every block carries.
pub(super) const KEY: &[u8] = b"always";

struct Entry {
    block: FinalizedBlock,
    hash: Hash,
    state: BTreeMap<Vec<u8>, Vec<u8>>,
}

pub(super) struct FakeChain {
    entries: Mutex<Vec<Entry>>,
    heads: watch::Sender<Head>,
    pub(super) spec_version: Mutex<u32>,
    /// Calls of `Wait` end once nobody holds it.
    pub(super) gate: Mutex<()>,
    /// State below it is pruned.
    pub(super) lowest: Mutex<Height>,
    /// The epoch of every block.
    pub(super) epoch: Mutex<Epoch>,
    /// Epochs that have ended.
    pub(super) handovers: Mutex<BTreeMap<Epoch, Handover>>,
}

fn key_pairs() -> Vec<KeyPair> {
    let mut keys: Vec<_> = (1..=4).map(|seed| KeyPair::from_seed(&[seed; 32])).collect();
    keys.sort_by_key(KeyPair::public);
    keys
}

pub(super) fn validators() -> ValidatorSet {
    let validators = key_pairs().into_iter().map(|key| Validator { key: key.public(), power: Power(10) });
    ValidatorSet::new(validators.collect()).expect("four keys are a set")
}

/// What three of the four sign.
fn certify(block: Hash, view: View, genesis: &Hash) -> Certificate {
    let subject = Subject::Finalize(Proposal { epoch: Epoch(0), view, parent_view: View(0), block });
    let votes = key_pairs().into_iter().zip(0..3).map(|(key, index)| {
        let vote = Vote::sign(subject, ValidatorIndex(index), &key, genesis);
        (vote.signer, vote.signature)
    });
    Certificate::from_signatures(subject, votes, &validators())
}

/// Two events for each extrinsic, the second of which is the outcome: one that ends in 2 fails.
fn event_entries(extrinsics: &[OpaqueExtrinsic]) -> Vec<EventEntry> {
    let of = |(extrinsic, index): (&OpaqueExtrinsic, u32)| {
        let succeeds = extrinsic.bytes().last() != Some(&2);
        let record = |tail: u8| [vec![0], index.to_le_bytes().to_vec(), vec![tail]].concat();
        let outcome = EventEntry { extrinsic: Some(index), record: record(succeeds.into()), outcome: Some(succeeds) };
        [EventEntry { extrinsic: Some(index), record: record(9), outcome: None }, outcome]
    };
    extrinsics.iter().zip(0..).flat_map(of).collect()
}

pub(super) fn extrinsic(last: u8) -> OpaqueExtrinsic {
    OpaqueExtrinsic::new(vec![0x84, 0, 1, 2, last])
}

impl FakeChain {
    pub(super) fn new() -> Arc<Self> {
        let heads = watch::channel(Head { height: Height::ZERO, hash: Hash::ZERO }).0;
        let chain = Self {
            entries: Mutex::default(),
            heads,
            spec_version: Mutex::new(1),
            gate: Mutex::default(),
            lowest: Mutex::default(),
            epoch: Mutex::default(),
            handovers: Mutex::default(),
        };
        chain.commit(&[(KEY, b"genesis")], Vec::new(), false);
        Arc::new(chain)
    }

    /// Commits a block with these values and, if asked, its own finalization.
    pub(super) fn commit(&self, values: &[(&[u8], &[u8])], extrinsics: Vec<OpaqueExtrinsic>, finalized: bool) -> Head {
        let mut entries = self.entries.lock().unwrap();
        let (parent_hash, mut state) =
            entries.last().map_or_else(|| (Hash::ZERO, BTreeMap::new()), |entry| (entry.hash, entry.state.clone()));
        state.extend(values.iter().map(|(key, value)| (key.to_vec(), value.to_vec())));
        let height = Height(u32::try_from(entries.len()).unwrap());
        let context = ConsensusContext {
            protocol_version: 1,
            epoch: Epoch(0),
            view: View(u64::from(height.0)),
            proposer: ValidatorIndex(0),
            timestamp: TimestampMs(1_000 + u64::from(height.0)),
            events_root: list_tree::root(event_entries(&extrinsics).iter().map(|entry| &entry.record)),
            history_root: list_tree::root(entries.iter().map(|entry| entry.hash)),
            validators_hash: validators().hash(),
            next_validators_hash: validators().hash(),
        };
        let extrinsics_root = list_tree::root(extrinsics.iter().map(Encode::encode));
        let header = Header::new(parent_hash, height, Hash([7; 32]), extrinsics_root, &context);
        let hash = header.hash();
        let genesis = entries.first().map_or(hash, |entry| entry.hash);
        let finalization = finalized.then(|| certify(hash, context.view, &genesis));
        let block = FinalizedBlock { block: Block { header, extrinsics: extrinsics.into() }, finalization };
        entries.push(Entry { block, hash, state });
        let head = Head { height, hash };
        self.heads.send_replace(head);
        head
    }

    /// Takes a key out of the state after `head`.
    pub(super) fn remove(&self, head: &Head, key: &[u8]) {
        let mut entries = self.entries.lock().unwrap();
        entries.iter_mut().find(|entry| entry.hash == head.hash).expect("a block").state.remove(key);
    }

    /// Commits `count` blocks, each with its own finalization and a new value under [`KEY`].
    pub(super) fn grow(&self, count: u32) -> Vec<Head> {
        (0..count)
            .map(|step| self.commit(&[(KEY, &[u8::try_from(step % 251).unwrap(), 1])], Vec::new(), true))
            .collect()
    }

    pub(super) fn heads(&self) -> watch::Receiver<Head> {
        self.heads.subscribe()
    }

    fn with<T>(&self, at: &Hash, read: impl FnOnce(&Entry) -> T) -> Option<T> {
        self.entries.lock().unwrap().iter().find(|entry| entry.hash == *at).map(read)
    }

    fn state<T>(&self, at: &Hash, read: impl FnOnce(&BTreeMap<Vec<u8>, Vec<u8>>) -> T) -> Result<T, ReadError> {
        let found = self.with(at, |entry| {
            let lowest = *self.lowest.lock().unwrap();
            let pruned = entry.block.block.header.height() < lowest;
            if pruned { Err(ReadError::Pruned { lowest }) } else { Ok(read(&entry.state)) }
        });
        found.ok_or(ReadError::UnknownBlock(*at))?
    }
}

impl ChainPort for FakeChain {
    fn head(&self) -> Head {
        let entries = self.entries.lock().unwrap();
        let last = entries.last().expect("there is a genesis");
        Head { height: last.block.block.header.height(), hash: last.hash }
    }

    fn genesis_hash(&self) -> Hash {
        self.entries.lock().unwrap()[0].hash
    }

    fn block_hash(&self, height: Height) -> Result<Option<Hash>, ReadError> {
        Ok(self.entries.lock().unwrap().get(height.0 as usize).map(|entry| entry.hash))
    }

    fn height_of(&self, hash: &Hash) -> Result<Option<Height>, ReadError> {
        Ok(self.with(hash, |entry| entry.block.block.header.height()))
    }

    fn header(&self, hash: &Hash) -> Result<Option<Header>, ReadError> {
        Ok(self.with(hash, |entry| entry.block.block.header.clone()))
    }

    fn block(&self, hash: &Hash) -> Result<Option<FinalizedBlock>, ReadError> {
        Ok(self.with(hash, |entry| entry.block.clone()))
    }

    fn event_records(&self, hash: &Hash) -> Result<Option<Vec<EventEntry>>, ReadError> {
        Ok(self.with(hash, |entry| event_entries(&entry.block.block.extrinsics)))
    }

    fn finalization_for(&self, height: Height) -> Result<Option<(Header, Certificate)>, ReadError> {
        let entries = self.entries.lock().unwrap();
        let covering = entries.iter().skip(height.0 as usize).find_map(|entry| {
            let certificate = entry.block.finalization.clone()?;
            Some((entry.block.block.header.clone(), certificate))
        });
        Ok(covering)
    }

    fn storage(&self, at: &Hash, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        self.state(at, |state| state.get(key).cloned())
    }

    fn storage_keys(
        &self,
        at: &Hash,
        prefix: &[u8],
        start: Option<&[u8]>,
        count: usize,
    ) -> Result<Vec<Vec<u8>>, ReadError> {
        let after = |key: &&Vec<u8>| start.is_none_or(|start| key.as_slice() > start);
        self.state(at, |state| {
            state.keys().filter(|key| key.starts_with(prefix)).filter(after).take(count).cloned().collect()
        })
    }

    fn runtime_call(&self, at: &Hash, function: &str, input: &[u8]) -> Result<Vec<u8>, CallError> {
        self.state(at, |_| ())?;
        match function {
            "Echo" => Ok(input.to_vec()),
            "Fail" => Err(CallError::Failed("bad input".into())),
            "Panic" => panic!("a fault of the node"),
            "Wait" => {
                drop(self.gate.lock().unwrap());
                Ok(Vec::new())
            }
            "Large" => Ok(vec![0; 64 << 10]),
            other => Err(CallError::UnknownFunction(other.into())),
        }
    }

    fn runtime_version(&self, at: &Hash) -> Result<RuntimeVersion, ReadError> {
        self.with(at, |_| RuntimeVersion {
            spec_name: "cairn".into(),
            impl_name: "cairn".into(),
            authoring_version: 1,
            spec_version: *self.spec_version.lock().unwrap(),
            impl_version: 1,
            apis: vec![([0xdf; 8], 5)],
            transaction_version: 1,
            state_version: 1,
            system_version: 1,
        })
        .ok_or(ReadError::UnknownBlock(*at))
    }

    fn metadata(&self, at: &Hash) -> Result<Vec<u8>, ReadError> {
        self.with(at, |_| b"meta\x0e".to_vec()).ok_or(ReadError::UnknownBlock(*at))
    }

    fn transaction(&self, hash: &Hash) -> Result<Option<TransactionLocation>, ReadError> {
        let entries = self.entries.lock().unwrap();
        let location = entries.iter().zip(0u32..).find_map(|(entry, height)| {
            let index = entry.block.block.extrinsics.iter().position(|extrinsic| extrinsic.hash() == *hash)?;
            Some(TransactionLocation { height: Height(height), index: u32::try_from(index).unwrap() })
        });
        Ok(location)
    }

    /// Proofs of a state of nothing but the key.
    fn prove(&self, at: &Hash, keys: &[Vec<u8>]) -> Result<Vec<StateProof>, ReadError> {
        self.state(at, |state| {
            let one = |key: &Vec<u8>| match state.get(key).cloned() {
                Some(value) => StateProof::Present(ExistenceProof { key: key.clone(), value, siblings: Vec::new() }),
                None => StateProof::Absent { left: None, right: None },
            };
            keys.iter().map(one).collect()
        })
    }

    fn prove_history(&self, block: Height, under: Height) -> Result<InclusionProof, ReadError> {
        let entries = self.entries.lock().unwrap();
        let below: Vec<_> = entries.iter().take(under.0 as usize).map(|entry| entry.hash).collect();
        list_tree::prove(below, block.0.into()).ok_or(ReadError::NotBelow { block, under })
    }

    fn validators(&self, at: &Hash) -> Result<(Epoch, ValidatorSet), ReadError> {
        self.with(at, |_| (*self.epoch.lock().unwrap(), validators())).ok_or(ReadError::UnknownBlock(*at))
    }

    fn handover(&self, epoch: Epoch) -> Result<Option<Handover>, ReadError> {
        Ok(self.handovers.lock().unwrap().get(&epoch).cloned())
    }
}

#[derive(Default)]
pub(super) struct FakePool {
    pub(super) accepted: Mutex<Vec<OpaqueExtrinsic>>,
    /// The statuses of the next watched transaction.
    pub(super) statuses: Mutex<Vec<TransactionStatus>>,
}

impl FakePool {
    fn judge(&self, extrinsic: OpaqueExtrinsic) -> Result<Hash, SubmitError> {
        let refusal = match extrinsic.bytes().last() {
            Some(&STALE) => Some(Refusal::Stale),
            Some(&KNOWN) => Some(Refusal::AlreadyKnown),
            Some(&CHEAP) => Some(Refusal::PriorityTooLow),
            Some(&FULL) => Some(Refusal::PoolFull),
            Some(&BANNED) => Some(Refusal::Banned),
            Some(_) | None => None,
        };
        if let Some(refusal) = refusal {
            return Err(SubmitError { refusal, detail: "nonce 3 is below 5".into() });
        }
        let hash = extrinsic.hash();
        self.accepted.lock().unwrap().push(extrinsic);
        Ok(hash)
    }
}

#[async_trait]
impl TransactionPort for FakePool {
    async fn submit(&self, extrinsics: Vec<OpaqueExtrinsic>) -> Vec<Result<Hash, SubmitError>> {
        extrinsics.into_iter().map(|extrinsic| self.judge(extrinsic)).collect()
    }

    async fn submit_and_watch(&self, extrinsic: OpaqueExtrinsic) -> Result<StatusStream, SubmitError> {
        self.judge(extrinsic)?;
        let statuses = std::mem::take(&mut *self.statuses.lock().unwrap());
        Ok(Box::pin(futures::stream::iter(statuses)))
    }

    fn watch(&self, _: &Hash) -> StatusStream {
        Box::pin(futures::stream::iter(std::mem::take(&mut *self.statuses.lock().unwrap())))
    }

    async fn pending(&self, limit: usize) -> Vec<OpaqueExtrinsic> {
        self.accepted.lock().unwrap().iter().take(limit).cloned().collect()
    }

    async fn next_nonce(&self, account: &AccountId32) -> Result<u32, ReadError> {
        Ok(u32::from(account.0[0]))
    }

    async fn status(&self) -> MempoolStatus {
        MempoolStatus { ready: 2, future: 1, bytes: 300, count_max: 100, bytes_max: 1_000 }
    }
}

pub(super) struct FakeNode(NodeIdentity);

impl FakeNode {
    fn new() -> Self {
        let properties = ChainProperties { ss58_format: 42, token_decimals: 12, token_symbol: "CRN".into() };
        Self(NodeIdentity {
            chain: "Cairn Test".into(),
            chain_id: "test".into(),
            chain_type: ChainType::Development,
            properties,
            node_name: "cairn".into(),
            node_version: "0.1.0".into(),
            role: "validator".into(),
            peer_id: "12D3KooW".into(),
            upgrades: vec![PlannedUpgrade { height: Height(90), spec_version: 9, known: false }],
        })
    }
}

#[async_trait]
impl NodePort for FakeNode {
    fn identity(&self) -> &NodeIdentity {
        &self.0
    }

    async fn health(&self) -> Health {
        Health { peers: 1, is_syncing: false, should_have_peers: true }
    }

    async fn sync_state(&self) -> SyncState {
        SyncState { starting_block: 0, current_block: 5, highest_block: 7, lowest_block: 3 }
    }

    async fn listen_addresses(&self) -> Vec<String> {
        vec!["/ip4/127.0.0.1/tcp/30333".into()]
    }

    async fn peers(&self) -> Vec<Peer> {
        vec![Peer {
            peer_id: "12D3KooX".into(),
            address: "/ip4/127.0.0.1/tcp/30334".into(),
            direction: "out".into(),
            validator: Some("0x01".into()),
            agent: None,
            best_block: Some(4),
            score: -5,
            last_offence: Some("useless".into()),
            round_trip_ms: Some(3),
            connected_seconds: 60,
        }]
    }

    async fn banned_peers(&self) -> Vec<BannedPeer> {
        vec![BannedPeer { peer_id: "12D3KooY".into(), reason: "malformed".into(), seconds_left: 50, count: 1 }]
    }

    async fn consensus_state(&self) -> serde_json::Value {
        serde_json::json!({ "view": 9 })
    }

    async fn why_no_block(&self) -> serde_json::Value {
        serde_json::json!({ "why": "Waiting for votes.", "rule": "R7" })
    }

    async fn database_stats(&self) -> serde_json::Value {
        serde_json::json!({ "totalBytes": 12 })
    }

    async fn create_snapshot(&self) -> serde_json::Value {
        self.snapshot_state().await
    }

    async fn snapshot_state(&self) -> serde_json::Value {
        serde_json::json!({ "state": "running", "permille": 250 })
    }

    fn started_at(&self) -> TimestampMs {
        TimestampMs(123)
    }
}

/// The ports of a fake node.
pub(super) fn ports(chain: &Arc<FakeChain>, pool: &Arc<FakePool>) -> Ports {
    let (chain, heads) = (Arc::clone(chain), chain.heads());
    Ports { chain, transactions: Arc::<FakePool>::clone(pool), node: Arc::new(FakeNode::new()), heads }
}
