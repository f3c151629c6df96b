//! Snapshots: the state after a final block in chunks, and a manifest with all that a node needs to go on from there.
//!
//! ```text
//! chain spec ─► TrustAnchor ─ handovers ─► epoch of the block ─ finalization ─► header ─► state root
//!                                                                  │                        └─ range proof ─► each chunk
//!                                                                  ├─ parent hashes ─► headers below
//!                                                                  ├─ extrinsics root ─► body
//!                                                                  └─ history root ─► accumulator of all header hashes
//! ```
//! Nothing in a snapshot is believed: [`SnapshotManifest::verify`] and [`VerifiedManifest::open_chunk`] check all of it
//! against the chain's genesis alone. The hashes of chunks in the manifest are there to name a damaged one without its proof.
//! Only the events are left to who can decode them.

use crate::block::Block;
use crate::certificate::Certificate;
use crate::codec::{DecodeError, decode_bounded, decode_strict};
use crate::hash::{Hash, sha256, sha256_concat};
use crate::header::{ContextError, Header};
use crate::light::{LightError, TrustAnchor};
use crate::list_tree::ListAccumulator;
use crate::number::Height;
use crate::state_proof::{KeyRange, RangeProofError, StateChunk};
use crate::validator::ValidatorSet;
use parity_scale_codec::{Decode, Encode, Error, Input};

/// The version of the format of manifest and chunks.
pub const SNAPSHOT_VERSION: u32 = 1;
/// The largest manifest, in bytes.
pub const MANIFEST_BYTES_MAX: usize = 64 << 20;
/// How many headers below the block belong to a snapshot: transactions name blocks that far back.
pub const ANCESTORS_MAX: usize = 4_096;
/// The most chunks of a snapshot, each of about 1 MiB.
pub const CHUNKS_MAX: usize = 1 << 18;
/// The most epochs before the block's.
pub const HANDOVERS_MAX: usize = 1 << 16;
/// What the hashed bytes of a [`SnapshotManifest::id`] begin with.
const ID_DOMAIN: &[u8] = b"cairn/snapshot/1";

/// A snapshot that a node offers to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SnapshotOffer {
    /// [`SnapshotManifest::id`].
    pub id: Hash,
    /// The height of its block.
    pub height: Height,
    /// The size of its manifest as this node has it, in bytes.
    pub manifest_bytes: u32,
}

/// What shows that an epoch handed over to the next.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct EpochHandover {
    /// The header of the epoch's last block.
    pub closing: Header,
    /// That block's own finalization.
    pub finalization: Certificate,
    /// The validators of the next epoch.
    pub validators: ValidatorSet,
}

/// What the manifest says of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ChunkEntry {
    /// The first key hash after the chunk's range, which begins where the one before ends; `None` for the last chunk.
    pub to: Option<Hash>,
    /// How many leaves it has.
    pub leaves: u32,
    /// The size of its encoding, in bytes.
    pub bytes: u32,
    /// SHA-256 of its encoding.
    pub hash: Hash,
}

impl ChunkEntry {
    /// The entry of an encoded chunk.
    #[must_use]
    pub fn new(range: &KeyRange, leaves: usize, encoded: &[u8]) -> Self {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Self { to: range.to, leaves: count(leaves), bytes: count(encoded.len()), hash: sha256(encoded) }
    }
}

/// What a snapshot is of, and what it consists of.
#[derive(Clone, Debug, PartialEq, Eq, Encode)]
pub struct SnapshotManifest {
    /// [`SNAPSHOT_VERSION`].
    pub version: u32,
    /// The hash of the chain's genesis block.
    pub genesis: Hash,
    /// The block after which the state is.
    pub block: Block,
    /// The block's own finalization.
    pub finalization: Certificate,
    /// The block's encoded event records.
    pub events: Vec<u8>,
    /// The hashes of all headers below the block.
    pub history: ListAccumulator,
    /// The headers below the block, from its parent down: [`ANCESTORS_MAX`], or all down to genesis.
    pub ancestors: Vec<Header>,
    /// Of each epoch that ends with the block or before, from the first on.
    pub handovers: Vec<EpochHandover>,
    /// In the order of key hashes.
    pub chunks: Vec<ChunkEntry>,
}

impl Decode for SnapshotManifest {
    fn decode<I: Input>(input: &mut I) -> Result<Self, Error> {
        let version = u32::decode(input)?;
        if version != SNAPSHOT_VERSION {
            return Err("a snapshot format that this version does not know".into());
        }
        Ok(Self {
            version,
            genesis: Hash::decode(input)?,
            block: Block::decode(input)?,
            finalization: Certificate::decode(input)?,
            events: Vec::decode(input)?,
            history: ListAccumulator::decode(input)?,
            ancestors: decode_bounded(input, ANCESTORS_MAX, "too many headers")?,
            handovers: decode_bounded(input, HANDOVERS_MAX, "too many epochs")?,
            chunks: decode_bounded(input, CHUNKS_MAX, "too many chunks")?,
        })
    }
}

/// Why a snapshot does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// The snapshot is of another chain.
    #[error(
        "the snapshot is of the chain with genesis {found}, expected is {expected}: use the chain spec it was made with"
    )]
    OtherChain {
        /// In the manifest.
        found: Hash,
        /// Trusted.
        expected: Hash,
    },
    /// Block, finalization or an epoch before it does not follow from genesis.
    #[error("the block of the snapshot is not shown to be final: {0}")]
    NotFinal(#[from] LightError),
    /// The header carries no consensus context.
    #[error("the header of the snapshot: {0}")]
    Context(#[from] ContextError),
    /// The manifest has too many or too few of something.
    #[error("the manifest has {found} {what}, expected are {expected}")]
    Count {
        /// What is counted.
        what: &'static str,
        /// How many there are.
        found: u64,
        /// How many there have to be.
        expected: u64,
    },
    /// A part does not hash to what the header names.
    #[error("{what} of the manifest does not fit the header of the block")]
    Part {
        /// Which part.
        what: &'static str,
    },
    /// The ranges of the chunks are not in order.
    #[error("the chunks of the manifest: {0}")]
    Ranges(RangeProofError),
    /// There is no such chunk.
    #[error("the snapshot has no chunk {index}")]
    NoChunk {
        /// Its number.
        index: usize,
    },
    /// A chunk is not the one that the manifest names.
    #[error("chunk {index} is damaged: it has not the size or hash that the manifest names")]
    Damaged {
        /// Its number.
        index: usize,
    },
    /// A chunk cannot be decoded.
    #[error("chunk {index} is malformed: {error}")]
    Malformed {
        /// Its number.
        index: usize,
        /// Why.
        error: DecodeError,
    },
    /// A chunk is not that part of the state.
    #[error("chunk {index} is not part of the state: {error}")]
    Chunk {
        /// Its number.
        index: usize,
        /// Why.
        error: RangeProofError,
    },
}

impl SnapshotManifest {
    /// Decodes a manifest from outside.
    ///
    /// # Errors
    /// The bytes exceed [`MANIFEST_BYTES_MAX`] or another limit of this module, or are not canonical.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode_strict("snapshot manifest", bytes, MANIFEST_BYTES_MAX)
    }

    /// The height of the snapshot.
    #[must_use]
    pub const fn height(&self) -> Height {
        self.block.header.height()
    }

    /// What the snapshot is called among nodes: the same for all that cut the state after the same block in the same way.
    /// Who signed the finalizations does not matter to it.
    #[must_use]
    pub fn id(&self) -> Hash {
        sha256_concat(&[ID_DOMAIN, &self.block.header.hash().0, &self.chunks.encode()])
    }

    /// The size of all chunks together, in bytes.
    #[must_use]
    pub fn chunk_bytes(&self) -> u64 {
        self.chunks.iter().map(|chunk| u64::from(chunk.bytes)).fold(0, u64::saturating_add)
    }

    /// How many leaves all chunks have together.
    #[must_use]
    pub fn leaves(&self) -> u64 {
        self.chunks.iter().map(|chunk| u64::from(chunk.leaves)).fold(0, u64::saturating_add)
    }

    /// The range of a chunk.
    #[must_use]
    pub fn range(&self, index: usize) -> Option<KeyRange> {
        let to = self.chunks.get(index)?.to;
        let from = match index.checked_sub(1) {
            None => KeyRange::WHOLE.from,
            Some(before) => self.chunks.get(before)?.to?,
        };
        Some(KeyRange { from, to })
    }

    /// Checks everything but the events and the chunks: the block is final, and all else belongs to it.
    ///
    /// # Errors
    /// Something is missing, too much, or not what follows from the trusted genesis.
    pub fn verify(self, trusted: TrustAnchor) -> Result<VerifiedManifest, SnapshotError> {
        if self.genesis != trusted.genesis() {
            return Err(SnapshotError::OtherChain { found: self.genesis, expected: trusted.genesis() });
        }
        let (schedule, height) = (trusted.schedule(), self.height());
        check_count("epochs", self.handovers.len(), schedule.epoch_of(height.next()).0)?;
        let own_epoch = schedule.epoch_of(height);
        let mut anchor = trusted;
        let mut block = None;
        for handover in &self.handovers {
            if anchor.epoch() == own_epoch {
                block = Some(anchor.verify_final(self.block.header.clone(), &self.finalization)?);
            }
            let EpochHandover { closing, finalization, validators } = handover;
            anchor = anchor.advance(closing.clone(), finalization, validators.clone())?;
        }
        let block = match block {
            Some(block) => block,
            None => anchor.verify_final(self.block.header.clone(), &self.finalization)?,
        };
        if block.header().extrinsics_root != self.block.extrinsics_root() {
            return Err(SnapshotError::Part { what: "the body" });
        }
        check_count("hashes of headers", self.history.count(), u64::from(height.0))?;
        if block.header().context()?.history_root != self.history.root() {
            return Err(SnapshotError::Part { what: "the history" });
        }
        let below = usize::try_from(height.0).unwrap_or(usize::MAX).min(ANCESTORS_MAX);
        check_count("headers", self.ancestors.len(), u64::try_from(below).unwrap_or(u64::MAX))?;
        let (hash, mut at) = (block.hash(), block);
        let mut ancestors = Vec::with_capacity(self.ancestors.len());
        for header in &self.ancestors {
            at = at.verify_parent(header.clone())?;
            ancestors.push(at.hash());
        }
        let mut from = Some(KeyRange::WHOLE.from);
        for entry in &self.chunks {
            let start = from.ok_or(SnapshotError::Ranges(RangeProofError::AfterLast))?;
            if let Some(to) = entry.to.filter(|to| *to <= start) {
                return Err(SnapshotError::Ranges(RangeProofError::EmptyRange { from: start, to }));
            }
            from = entry.to;
        }
        match from {
            None => Ok(VerifiedManifest { manifest: self, hash, ancestors }),
            Some(_) => Err(SnapshotError::Ranges(RangeProofError::Incomplete)),
        }
    }
}

fn check_count(what: &'static str, found: impl TryInto<u64>, expected: u64) -> Result<(), SnapshotError> {
    let found = found.try_into().unwrap_or(u64::MAX);
    if found == expected { Ok(()) } else { Err(SnapshotError::Count { what, found, expected }) }
}

/// A manifest that holds.
#[derive(Clone, Debug)]
pub struct VerifiedManifest {
    manifest: SnapshotManifest,
    hash: Hash,
    ancestors: Vec<Hash>,
}

impl VerifiedManifest {
    /// The manifest.
    #[must_use]
    pub const fn manifest(&self) -> &SnapshotManifest {
        &self.manifest
    }

    /// The hash of the block.
    #[must_use]
    pub const fn block_hash(&self) -> Hash {
        self.hash
    }

    /// The root of the state.
    #[must_use]
    pub const fn state_root(&self) -> Hash {
        self.manifest.block.header.state_root
    }

    /// The headers below the block with their hashes, from its parent down.
    pub fn ancestors(&self) -> impl Iterator<Item = (&Hash, &Header)> {
        self.ancestors.iter().zip(&self.manifest.ancestors)
    }

    /// Decodes and checks a chunk: all leaves of its range in the state of the block.
    ///
    /// # Errors
    /// There is no such chunk, or the bytes are not what it has to be.
    pub fn open_chunk(&self, index: usize, bytes: &[u8]) -> Result<StateChunk, SnapshotError> {
        let entry = self.manifest.chunks.get(index).ok_or(SnapshotError::NoChunk { index })?;
        if u32::try_from(bytes.len()) != Ok(entry.bytes) || sha256(bytes) != entry.hash {
            return Err(SnapshotError::Damaged { index });
        }
        let chunk = self.prove_chunk(index, bytes)?;
        match u32::try_from(chunk.leaves.len()) {
            Ok(count) if count == entry.leaves => Ok(chunk),
            _ => Err(SnapshotError::Damaged { index }),
        }
    }

    /// The same against the state root alone, whatever the manifest says of size and hash: of one range there is one chunk, so
    /// where this holds and [`Self::open_chunk`] does not, the manifest is wrong and not the chunk.
    ///
    /// # Errors
    /// There is no such chunk, or the bytes are not that part of the state.
    pub fn prove_chunk(&self, index: usize, bytes: &[u8]) -> Result<StateChunk, SnapshotError> {
        let range = self.manifest.range(index).ok_or(SnapshotError::NoChunk { index })?;
        let chunk = StateChunk::from_bytes(bytes).map_err(|error| SnapshotError::Malformed { index, error })?;
        chunk.verify(&self.state_root(), &range).map_err(|error| SnapshotError::Chunk { index, error })?;
        Ok(chunk)
    }
}
