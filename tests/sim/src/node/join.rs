//! A node without a chain that begins with a snapshot of its peers.
//!
//! Mirrors `node/src/join.rs`: nothing is in the database until all chunks are here.

use super::{Clock, Effect, Fact};
use crate::disk::Disk;
use crate::plan::Machine;
use crate::setup::Setup;
use cairn_ledger::{Restore, verify_snapshot, verify_snapshot_events};
use cairn_primitives::message::{StateRequest, StateResponse};
use cairn_primitives::snapshot::{SnapshotManifest, VerifiedManifest};
use cairn_storage::blocks;
use cairn_sync::{
    PartAnswer, PeerRef, RequestId, Severity, SnapshotConfig, SnapshotInput, SnapshotOutput, SnapshotSync,
};
use parity_scale_codec::Encode;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// What a joining node keeps in files: written as a whole and synced, so that it outlasts whatever ends the process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Files {
    manifest: Option<Vec<u8>>,
    chunks: BTreeMap<usize, Vec<u8>>,
}

/// What came of joining.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Joined {
    /// The disk holds the state of a snapshot.
    Snapshot,
    /// Nobody has one: blocks from genesis.
    Blocks,
}

/// A node on its way to a chain.
pub(crate) struct Joining {
    machine: SnapshotSync,
    setup: Arc<Setup>,
    disk: Disk,
    peers: BTreeMap<PeerRef, Machine>,
    refs: BTreeMap<Machine, PeerRef>,
    next_ref: u64,
    /// Questions under way; those for a part have a number.
    asked: BTreeMap<u64, (PeerRef, Option<RequestId>)>,
    next_token: u64,
}

/// Whether the disk has no chain yet.
pub(crate) fn is_empty(disk: &Disk) -> anyhow::Result<bool> {
    Ok(blocks::head(disk)?.is_none())
}

impl Joining {
    /// Goes on with what an earlier life kept.
    pub(crate) fn open(setup: &Arc<Setup>, disk: &Disk, files: &mut Files, life: u64) -> Self {
        let config = SnapshotConfig::default();
        let anchor = setup.genesis.trust_anchor(setup.schedule);
        let machine = match Self::found(setup, files) {
            Some((verified, held)) => SnapshotSync::resume(config, anchor, Arc::new(verified), held),
            None => SnapshotSync::new(config, anchor),
        };
        Self {
            machine,
            setup: Arc::clone(setup),
            disk: disk.clone(),
            peers: BTreeMap::new(),
            refs: BTreeMap::new(),
            next_ref: 0,
            asked: BTreeMap::new(),
            next_token: life << 32,
        }
    }

    fn found(setup: &Setup, files: &mut Files) -> Option<(VerifiedManifest, Vec<usize>)> {
        let manifest = SnapshotManifest::from_bytes(files.manifest.as_deref()?).ok()?;
        let verified = verify_snapshot(manifest, &setup.genesis, setup.schedule).ok()?;
        files.chunks.retain(|index, bytes| verified.open_chunk(*index, bytes).is_ok());
        Some((verified, files.chunks.keys().copied().collect()))
    }

    /// Where it stands, in words.
    pub(crate) fn standing(&self) -> String {
        format!("{:?}", self.machine.progress())
    }

    pub(crate) fn link(
        &mut self,
        clock: Clock,
        peer: Machine,
        is_up: bool,
        files: &mut Files,
        effects: &mut Vec<Effect>,
    ) -> anyhow::Result<Option<Joined>> {
        if is_up {
            let reference = PeerRef(self.next_ref);
            self.next_ref += 1;
            self.peers.insert(reference, peer);
            self.refs.insert(peer, reference);
            return self.step(clock, SnapshotInput::PeerConnected(reference), files, effects);
        }
        let Some(reference) = self.refs.remove(&peer) else { return Ok(None) };
        self.peers.remove(&reference);
        self.asked.retain(|_, (peer, _)| *peer != reference);
        self.step(clock, SnapshotInput::PeerGone(reference), files, effects)
    }

    pub(crate) fn tick(
        &mut self,
        clock: Clock,
        files: &mut Files,
        effects: &mut Vec<Effect>,
    ) -> anyhow::Result<Option<Joined>> {
        self.step(clock, SnapshotInput::Tick, files, effects)
    }

    pub(crate) fn response(
        &mut self,
        clock: Clock,
        token: u64,
        response: StateResponse,
        files: &mut Files,
        effects: &mut Vec<Effect>,
    ) -> anyhow::Result<Option<Joined>> {
        let Some((peer, id)) = self.asked.remove(&token) else { return Ok(None) };
        let input = match (id, response) {
            (None, StateResponse::Snapshots(offers)) => SnapshotInput::Offers { peer, offers: Some(offers) },
            (None, _) => SnapshotInput::Offers { peer, offers: None },
            (Some(id), StateResponse::Manifest(bytes) | StateResponse::Chunk(bytes)) => {
                SnapshotInput::Part { peer, id, answer: PartAnswer::Bytes(bytes) }
            }
            (Some(id), StateResponse::Refused) => SnapshotInput::Part { peer, id, answer: PartAnswer::Refused },
            (Some(id), StateResponse::Snapshots(_)) => SnapshotInput::Part { peer, id, answer: PartAnswer::Failed },
        };
        self.step(clock, input, files, effects)
    }

    fn step(
        &mut self,
        clock: Clock,
        input: SnapshotInput,
        files: &mut Files,
        effects: &mut Vec<Effect>,
    ) -> anyhow::Result<Option<Joined>> {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut outputs = Vec::new();
            self.machine.step(clock.monotonic_ms, input, &mut outputs);
            for output in outputs {
                match output {
                    SnapshotOutput::RequestOffers(peer) => self.ask(peer, None, StateRequest::Snapshots, effects),
                    SnapshotOutput::RequestManifest { peer, id, snapshot, from } => {
                        self.ask(peer, Some(id), StateRequest::Manifest { id: snapshot, from }, effects);
                    }
                    SnapshotOutput::RequestChunk { peer, id, snapshot, index } => {
                        self.ask(peer, Some(id), StateRequest::Chunk { id: snapshot, index }, effects);
                    }
                    SnapshotOutput::Begin(verified) => inputs.push_back(match verify_snapshot_events(&verified) {
                        Ok(()) => {
                            *files = Files { manifest: Some(verified.manifest().encode()), chunks: BTreeMap::new() };
                            SnapshotInput::Begun { held: Vec::new() }
                        }
                        Err(error) => SnapshotInput::Refuted { reason: error.to_string() },
                    }),
                    SnapshotOutput::Store { index, bytes } => {
                        files.chunks.insert(index, bytes);
                        inputs.push_back(SnapshotInput::Stored { index });
                    }
                    SnapshotOutput::Abandon => *files = Files::default(),
                    SnapshotOutput::Report { peer, offence } => {
                        if offence.severity() == Severity::Malicious
                            && let Some(peer) = self.peers.get(&peer)
                        {
                            let offence = offence.to_string();
                            effects.push(Effect::Fact(Fact::Reported { peer: *peer, offence }));
                        }
                    }
                    SnapshotOutput::Complete(verified) => {
                        self.restore(&verified, files)?;
                        return Ok(Some(Joined::Snapshot));
                    }
                    SnapshotOutput::NoSnapshot => return Ok(Some(Joined::Blocks)),
                }
            }
        }
        Ok(None)
    }

    fn ask(&mut self, peer: PeerRef, id: Option<RequestId>, request: StateRequest, effects: &mut Vec<Effect>) {
        let Some(to) = self.peers.get(&peer).copied() else { return };
        let token = self.next_token;
        self.next_token += 1;
        self.asked.insert(token, (peer, id));
        effects.push(Effect::StateRequest { to, token, request });
    }

    /// Fills the database; the disk may end the process at any write, and the next life goes on.
    fn restore(&self, verified: &VerifiedManifest, files: &Files) -> anyhow::Result<()> {
        let (database, setup) = (Arc::new(self.disk.clone()), &self.setup);
        let mut restore = Restore::open(database, setup.genesis.clone(), setup.spec_hash, verified.clone())?;
        while let Some(chunk) = files.chunks.get(&restore.next_chunk()) {
            restore.add(chunk)?;
        }
        Ok(restore.finish()?)
    }
}
