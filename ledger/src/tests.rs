//! The life of blocks, from building to reading, on ledgers in memory.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test may stop at what it did not expect"
)]

mod audit;
mod block_file;
mod branches;
mod crash;
mod epochs;
mod evidence;
mod fixture;
mod genesis;
mod import;
mod issuance;
mod life;
mod reader;
mod replay;
mod restart;
mod rework;
mod rules;
mod snapshot;
mod upgrade;
