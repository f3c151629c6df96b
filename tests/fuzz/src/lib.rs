//! Fuzz targets: one for each decoder of outside bytes, and one for each pure machine.
//!
//! ```text
//!  bytes ─► Target::run ─► decoder: no panic, one encoding, memory in proportion to the input, what it promises holds
//!                     └──► machine: bytes become inputs, its invariants are checked after each step
//! ```
//! A target is a plain function that panics on a finding. It is driven by `runner`, a package of its own that links
//! libFuzzer (`make fuzz`), and, on its seeds, on old findings and on some thousand mutations of both, by the tests of this
//! package. Only pure crates are reached, so the whole builds in seconds; decoders behind sockets (the handshake of
//! validators, JSON-RPC parameters) are not here.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a target fails by a panic")]

mod database;
mod decoders;
mod draw;
mod engine;
mod fixture;
pub mod memory;
mod mempool;
mod sync;

use decoders::{answers, chain, messages, proofs, snapshot, spec, transactions};

/// Something to fuzz.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, as on the command line.
    pub name: &'static str,
    /// What it does with the bytes.
    pub run: fn(&[u8]),
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// The longest input of use, in bytes.
    pub len_max: usize,
}

const fn target(name: &'static str, run: fn(&[u8]), seeds: fn() -> Vec<Vec<u8>>, len_max: usize) -> Target {
    Target { name, run, seeds, len_max }
}

/// All targets.
pub const TARGETS: [Target; 30] = [
    target("consensus_message", messages::consensus_message, messages::consensus_message_seeds, 4_096),
    target("handshake", messages::handshake, messages::handshake_seeds, 1_600),
    target("sync_request", messages::sync_request, messages::sync_request_seeds, 64),
    target("state_request", messages::state_request, messages::state_request_seeds, 64),
    target("state_response", messages::state_response, messages::state_response_seeds, 8_192),
    target("sync_response", messages::sync_response, messages::sync_response_seeds, 8_192),
    target("transaction_gossip", messages::transaction_gossip, messages::transaction_gossip_seeds, 4_096),
    target("block_gossip", messages::block_gossip, messages::block_gossip_seeds, 4_096),
    target("header", chain::header, chain::header_seeds, 1_024),
    target("block", chain::block, chain::block_seeds, 4_096),
    target("certificate", chain::certificate, chain::certificate_seeds, 1_024),
    target("vote", chain::vote, chain::vote_seeds, 256),
    target("evidence", chain::evidence, chain::evidence_seeds, 512),
    target("journal_record", chain::journal_record, chain::journal_record_seeds, 1_024),
    target("validator_set", chain::validator_set, chain::validator_set_seeds, 1_024),
    target("transaction", transactions::transaction, transactions::transaction_seeds, 2_048),
    target("runtime_api", transactions::runtime_api, transactions::runtime_api_seeds, 2_048),
    target("state_proof", proofs::state_proof, proofs::state_proof_seeds, 4_096),
    target("batch_proof", proofs::batch_proof, proofs::batch_proof_seeds, 4_096),
    target("state_chunk", proofs::state_chunk, proofs::state_chunk_seeds, 8_192),
    target("snapshot_manifest", snapshot::manifest, snapshot::manifest_seeds, 8_192),
    target("list_proof", proofs::list_proof, proofs::list_proof_seeds, 1_024),
    target("place_proof", proofs::place_proof, proofs::place_proof_seeds, 2_048),
    target("verifier_answer", answers::run, answers::seeds, 8_192),
    target("chain_spec", spec::chain_spec, spec::chain_spec_seeds, 8_192),
    target("address", spec::address, spec::address_seeds, 128),
    target("database", database::run, database::seeds, 512),
    target("engine_step", engine::run, engine::seeds, 512),
    target("mempool_step", mempool::run, mempool::seeds, 1_024),
    target("sync_step", sync::run, sync::seeds, 512),
];

/// The target of a name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Turns a deliberate bug of the consensus crate on in this process, by its number from 1.
#[cfg(feature = "mutants")]
pub fn set_mutant(number: usize) {
    let mutant = number.checked_sub(1).and_then(|place| cairn_consensus::mutant::Mutant::ALL.get(place));
    cairn_consensus::mutant::set(mutant.copied());
}
