//! The snapshots that a node makes and gives to others.
//!
//! Mirrors `node/src/drivers/snapshots.rs` and `node/src/offered.rs`; a node that starts again offers the ones it makes then.

use cairn_ledger::{ReadError, Reader};
use cairn_primitives::Height;
use cairn_primitives::message::{MANIFEST_PART_BYTES, StateRequest, StateResponse};
use cairn_primitives::snapshot::SnapshotOffer;
use parity_scale_codec::Encode;

/// Blocks between two snapshots.
const INTERVAL: u32 = 5;

/// Snapshots that are kept.
const KEPT: usize = 2;

/// Leaves of a chunk have about so many bytes: a few accounts.
const CHUNK_BYTES: usize = 200;

struct Made {
    offer: SnapshotOffer,
    manifest: Vec<u8>,
    chunks: Vec<Vec<u8>>,
}

/// What a node offers.
pub(super) struct Offers {
    /// Newest first.
    made: Vec<Made>,
    /// The height at which the next one is made.
    due: Height,
}

/// The same heights for every node.
fn due_after(height: Height) -> Height {
    Height((height.0 / INTERVAL + 1) * INTERVAL)
}

impl Offers {
    pub(super) fn new(reader: &Reader) -> Self {
        Self { made: Vec::new(), due: due_after(reader.head().height) }
    }

    /// Makes one if it is due and the newest block can be one's.
    pub(super) fn committed(&mut self, reader: &Reader) -> Result<(), ReadError> {
        let head = reader.head().height;
        if head < self.due {
            return Ok(());
        }
        let mut source = match reader.snapshot() {
            Err(ReadError::NoFinalization(_)) => return Ok(()),
            source => source?,
        };
        let mut chunks = Vec::new();
        while let Some(chunk) = source.next_chunk(CHUNK_BYTES)? {
            chunks.push(chunk);
        }
        let manifest = source.finish();
        let (id, encoded) = (manifest.id(), manifest.encode());
        let manifest_bytes = u32::try_from(encoded.len()).expect("a short chain");
        let offer = SnapshotOffer { id, height: manifest.height(), manifest_bytes };
        self.made.insert(0, Made { offer, manifest: encoded, chunks });
        self.made.truncate(KEPT);
        self.due = due_after(head);
        Ok(())
    }

    /// Answers a peer.
    pub(super) fn answer(&self, request: &StateRequest) -> StateResponse {
        let of = |id| self.made.iter().find(|made| made.offer.id == id);
        let place = |number: u32| usize::try_from(number).expect("a small number");
        let found = match request {
            StateRequest::Snapshots => {
                return StateResponse::Snapshots(self.made.iter().map(|made| made.offer).collect());
            }
            StateRequest::Manifest { id, from } => of(*id).and_then(|made| {
                let rest = made.manifest.get(place(*from)..)?;
                Some(StateResponse::Manifest(rest[..rest.len().min(MANIFEST_PART_BYTES)].to_vec()))
            }),
            StateRequest::Chunk { id, index } => {
                of(*id).and_then(|made| Some(StateResponse::Chunk(made.chunks.get(place(*index))?.clone())))
            }
        };
        found.unwrap_or(StateResponse::Refused)
    }
}
