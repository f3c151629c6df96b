use super::{KEPT, Offered, joining_folder};
use crate::snapshot::{MANIFEST, chunk_file};
use cairn_primitives::message::{MANIFEST_PART_BYTES, StateRequest, StateResponse};
use cairn_primitives::snapshot::{ChunkEntry, SNAPSHOT_VERSION, SnapshotManifest};
use cairn_primitives::{
    Block, Certificate, ConsensusContext, Epoch, Hash, Header, Height, Proposal, Subject, TimestampMs, ValidatorIndex,
    View,
};
use parity_scale_codec::Encode as _;
use std::fs;
use std::path::Path;

/// A manifest that would not verify: what is offered is for the peers to check.
fn manifest(height: u32, event_bytes: usize) -> SnapshotManifest {
    let context = ConsensusContext {
        protocol_version: 1,
        epoch: Epoch::ZERO,
        view: View(1),
        proposer: ValidatorIndex(0),
        timestamp: TimestampMs(1),
        events_root: Hash::ZERO,
        history_root: Hash::ZERO,
        validators_hash: Hash::ZERO,
        next_validators_hash: Hash::ZERO,
    };
    let header = Header::new(Hash::ZERO, Height(height), Hash::ZERO, Hash::ZERO, &context);
    let proposal = Proposal { epoch: Epoch::ZERO, view: View(1), parent_view: View(0), block: header.hash() };
    let set = cairn_chain_spec::ChainSpec::dev().validator_set().clone();
    SnapshotManifest {
        version: SNAPSHOT_VERSION,
        genesis: Hash::ZERO,
        finalization: Certificate::from_signatures(Subject::Finalize(proposal), [], &set),
        block: Block { header, extrinsics: Vec::new().into() },
        events: vec![7; event_bytes],
        history: cairn_primitives::list_tree::ListAccumulator::default(),
        ancestors: Vec::new(),
        handovers: Vec::new(),
        chunks: vec![ChunkEntry { to: None, leaves: 1, bytes: 3, hash: Hash::ZERO }],
    }
}

fn put(folder: &Path, manifest: &SnapshotManifest) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join(MANIFEST), manifest.encode()).unwrap();
    fs::write(chunk_file(folder, 0), [1, 2, 3]).unwrap();
}

fn heights(offered: &Offered) -> Vec<u32> {
    offered.read().iter().map(|offer| offer.height.0).collect()
}

#[test]
fn newest_snapshots_are_kept_and_found_again_after_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let offered = Offered::load(data.path()).unwrap();
    assert_eq!((offered.newest(), offered.answer(&StateRequest::Snapshots)), (None, StateResponse::Snapshots(vec![])));
    for height in [10, 20, 30] {
        put(&offered.folder(Height(height)), &manifest(height, 0));
        offered.add(Height(height)).unwrap();
    }
    assert_eq!((heights(&offered), KEPT), (vec![30, 20], 2));
    assert!(!offered.folder(Height(10)).exists());
    assert_eq!(heights(&Offered::load(data.path()).unwrap()), [30, 20]);
}

#[test]
fn parts_are_given_byte_by_byte_and_what_is_not_there_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let offered = Offered::load(data.path()).unwrap();
    let manifest = manifest(10, MANIFEST_PART_BYTES);
    put(&offered.folder(Height(10)), &manifest);
    offered.add(Height(10)).unwrap();
    let (id, bytes) = (manifest.id(), manifest.encode());
    assert_eq!(offered.read()[0].manifest_bytes, u32::try_from(bytes.len()).unwrap());
    let (first, second) = bytes.split_at(MANIFEST_PART_BYTES);
    let part = |from| offered.answer(&StateRequest::Manifest { id, from });
    assert_eq!(part(0), StateResponse::Manifest(first.to_vec()));
    assert_eq!(part(u32::try_from(MANIFEST_PART_BYTES).unwrap()), StateResponse::Manifest(second.to_vec()));
    let chunk = |id, index| offered.answer(&StateRequest::Chunk { id, index });
    assert_eq!(chunk(id, 0), StateResponse::Chunk(vec![1, 2, 3]));
    for refused in [chunk(id, 1), chunk(id, u32::MAX), chunk(Hash([1; 32]), 0)] {
        assert_eq!(refused, StateResponse::Refused);
    }
}

#[test]
fn snapshot_that_the_node_began_with_is_offered_if_it_is_whole() {
    let data = tempfile::tempdir().unwrap();
    let offered = Offered::load(data.path()).unwrap();
    let joining = joining_folder(data.path());
    put(&joining, &manifest(10, 0));
    fs::remove_file(chunk_file(&joining, 0)).unwrap();
    offered.take_over(&joining).unwrap();
    assert_eq!((joining.exists(), offered.newest()), (false, None));
    put(&joining, &manifest(10, 0));
    offered.take_over(&joining).unwrap();
    assert_eq!((joining.exists(), offered.newest()), (false, Some(Height(10))));
    assert!(offered.folder(Height(10)).exists());
}
