//! Snapshots of a small chain, true and false.

use crate::tests::{keys_of, set_of};
use cairn_primitives::hash::sha256;
use cairn_primitives::light::TrustAnchor;
use cairn_primitives::list_tree::{ListAccumulator, root};
use cairn_primitives::snapshot::{ChunkEntry, SNAPSHOT_VERSION, SnapshotManifest, SnapshotOffer, VerifiedManifest};
use cairn_primitives::state_proof::{
    KeyRange, RangeProof, RangeTree, StateChunk, StateLeaf, Subtree, leaf_hash, subtree_hash,
};
use cairn_primitives::{
    Block, Certificate, ConsensusContext, Epoch, Hash, Header, Height, Proposal, Subject, TimestampMs, ValidatorIndex,
    View, Vote,
};
use parity_scale_codec::Encode;
use std::convert::Infallible;

/// How a manifest lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lie {
    /// The block is not final.
    Unfinal,
    /// The state root of the block is another one.
    StateRoot,
    /// The chain is another one.
    Genesis,
    /// A chunk is missing.
    Gap,
    /// Headers are missing.
    Headers,
    /// A chunk has another hash.
    ChunkHash,
}

impl Lie {
    /// Those that the manifest alone shows.
    pub(super) const OF_MANIFESTS: [Self; 5] =
        [Self::Unfinal, Self::StateRoot, Self::Genesis, Self::Gap, Self::Headers];
}

/// A tree as key hashes and leaves, in order.
struct Tree(Vec<(Hash, StateLeaf)>);

impl Tree {
    fn new(salt: u8, leaves: usize) -> Self {
        let leaf = |number| StateLeaf { key: format!("key {number}").into_bytes(), value: vec![salt; 40] };
        let mut all: Vec<_> = (0..leaves).map(leaf).map(|leaf| (sha256(&leaf.key), leaf)).collect();
        all.sort_by_key(|(hash, _)| *hash);
        Self(all)
    }

    fn node(&self) -> Vec<(Hash, Hash)> {
        self.0.iter().map(|(hash, leaf)| (*hash, sha256(&leaf.value))).collect()
    }

    fn chunk(&self, range: &KeyRange) -> StateChunk {
        let leaves = self.0.iter().filter(|(hash, _)| range.contains(hash)).map(|(_, leaf)| leaf.clone());
        let Ok(proof) = RangeProof::make(self, &self.node(), range);
        StateChunk { leaves: leaves.collect(), proof }
    }
}

impl RangeTree for Tree {
    /// Key hashes and value hashes of the leaves below.
    type Node = Vec<(Hash, Hash)>;
    type Error = Infallible;

    fn hash(&self, node: &Self::Node, depth: u16) -> Result<Hash, Infallible> {
        let leaves: Vec<_> = node.iter().map(|(key, value)| (*key, leaf_hash(key, value))).collect();
        Ok(subtree_hash(&leaves, depth))
    }

    fn open(&self, node: &Self::Node, depth: u16) -> Result<Subtree<Self::Node>, Infallible> {
        let bit = |key: &Hash| key.0[usize::from(depth / 8)] & (0x80 >> (depth % 8)) != 0;
        Ok(match node.as_slice() {
            [] => Subtree::Empty,
            [(key_hash, value_hash)] => Subtree::Leaf { key_hash: *key_hash, value_hash: *value_hash },
            _ => {
                let (right, left) = node.iter().partition(|(key, _)| bit(key));
                Subtree::Inner(left, right)
            }
        })
    }
}

fn header(height: u32, parent: Hash, state_root: Hash, history_root: Hash) -> Header {
    let set = set_of(Epoch::ZERO).hash();
    let context = ConsensusContext {
        protocol_version: 1,
        epoch: Epoch::ZERO,
        view: View(u64::from(height)),
        proposer: ValidatorIndex(0),
        timestamp: TimestampMs(u64::from(height)),
        events_root: Hash::ZERO,
        history_root,
        validators_hash: set,
        next_validators_hash: set,
    };
    Header::new(parent, Height(height), state_root, root(Vec::<Vec<u8>>::new()), &context)
}

fn genesis() -> Header {
    header(0, Hash::ZERO, Hash::ZERO, ListAccumulator::default().root())
}

/// What a node trusts before it has anything.
pub(super) fn anchor() -> TrustAnchor {
    TrustAnchor::new(genesis().hash(), set_of(Epoch::ZERO).as_ref().clone())
}

/// A snapshot as a peer has it.
#[derive(Clone, Debug)]
pub(super) struct Cut {
    manifest: SnapshotManifest,
    /// The encoded chunks.
    pub(super) chunks: Vec<Vec<u8>>,
}

impl Cut {
    /// Of the block at a height, in `chunks` chunks; `salt` is what all values of the state consist of.
    pub(super) fn new(height: u32, salt: u8, chunks: usize) -> Self {
        Self::with_events(height, salt, chunks, 0)
    }

    /// With so many bytes in place of events: nobody here looks at them.
    pub(super) fn with_events(height: u32, salt: u8, chunks: usize, event_bytes: usize) -> Self {
        let tree = Tree::new(salt, chunks * 3);
        let Ok(state_root) = tree.hash(&tree.node(), 0);
        let mut history = ListAccumulator::default();
        let mut headers = vec![genesis()];
        for number in 1..=height {
            let parent = headers.last().unwrap().hash();
            history.push(&parent.0);
            let root = if number == height { state_root } else { Hash::ZERO };
            headers.push(header(number, parent, root, history.root()));
        }
        let header = headers.pop().unwrap();
        headers.reverse();
        let bounds: Vec<_> = tree.0.iter().step_by(3).skip(1).map(|(hash, _)| *hash).collect();
        let starts = [Hash::ZERO].into_iter().chain(bounds.iter().copied());
        let ends = bounds.iter().copied().map(Some).chain([None]);
        let (mut entries, mut encoded) = (Vec::new(), Vec::new());
        for (from, to) in starts.zip(ends) {
            let range = KeyRange { from, to };
            let chunk = tree.chunk(&range);
            let bytes = chunk.encode();
            entries.push(ChunkEntry::new(&range, chunk.leaves.len(), &bytes));
            encoded.push(bytes);
        }
        let manifest = SnapshotManifest {
            version: SNAPSHOT_VERSION,
            genesis: genesis().hash(),
            finalization: finalize(&header),
            block: Block { header, extrinsics: Vec::new().into() },
            events: vec![0; event_bytes],
            history,
            ancestors: headers,
            handovers: Vec::new(),
            chunks: entries,
        };
        Self { manifest, chunks: encoded }
    }

    pub(super) fn lying(mut self, lie: Lie) -> Self {
        let manifest = &mut self.manifest;
        match lie {
            Lie::Unfinal => {
                let subject = manifest.finalization.subject;
                manifest.finalization = Certificate::from_signatures(subject, [], &set_of(Epoch::ZERO));
            }
            Lie::StateRoot => manifest.block.header.state_root = Hash([3; 32]),
            Lie::Genesis => manifest.genesis = Hash([3; 32]),
            Lie::Gap => drop(manifest.chunks.pop()),
            Lie::Headers => drop(manifest.ancestors.pop()),
            Lie::ChunkHash => manifest.chunks.iter_mut().for_each(|chunk| chunk.hash = Hash([3; 32])),
        }
        self
    }

    pub(super) fn offer(&self) -> SnapshotOffer {
        let manifest_bytes = u32::try_from(self.manifest().len()).unwrap();
        SnapshotOffer { id: self.manifest.id(), height: self.manifest.height(), manifest_bytes }
    }

    pub(super) fn manifest(&self) -> Vec<u8> {
        self.manifest.encode()
    }

    pub(super) fn verified(&self) -> VerifiedManifest {
        self.manifest.clone().verify(anchor()).unwrap()
    }
}

fn finalize(header: &Header) -> Certificate {
    let view = View(u64::from(header.number));
    let proposal = Proposal { epoch: Epoch::ZERO, view, parent_view: view.previous(), block: header.hash() };
    let subject = Subject::Finalize(proposal);
    let votes = keys_of(Epoch::ZERO).into_iter().zip(0u16..).take(3).map(|(key, index)| {
        let vote = Vote::sign(subject, ValidatorIndex(index), &key, &genesis().hash());
        (vote.signer, vote.signature)
    });
    Certificate::from_signatures(subject, votes, &set_of(Epoch::ZERO))
}
