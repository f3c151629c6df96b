//! Simplex consensus with a certify step, as a pure state machine.
//!
//! [`Consensus`] runs the epochs one after another, an [`Engine`] each. A step takes the time and one [`Input`] and appends
//! [`Output`]s. It knows no clock, no socket, no disk and no
//! executor; the same inputs always give the same outputs. This header is the specification; the code names the rule
//! behind each branch (`// R9`). Source of the protocol: Chan and Pass, "Simplex Consensus", TCC 2023.
//!
//! What it does not do: fetch finalized history (block sync does), judge transactions (the ledger does), decide who is a
//! validator (the state does), authenticate streams (the network does).
//!
//! # Objects
//! - *Power*: W is the power of all validators, a quorum is W - floor((W-1)/3). Villains hold less than a third.
//! - *View*: one attempt by one leader; views of an epoch start at 1, view 0 is the block that opened the epoch.
//! - *Leader schedule*: turns in proportion to power, over a permutation shuffled once per epoch with a seed known to all.
//! - *Closing block*: the last one of its epoch; once final it opens the next.
//! - *Proposal*: (epoch, view, parent view, block hash). The leader's notarize vote comes with its block.
//! - *Votes*: notarize a proposal, nullify a view, finalize a proposal. *Certificate*: a quorum's votes for one subject.
//! - *Certified*: notarized, executed here to the roots in its header, durably stored.
//! - *Last finalized*: the highest view with a finalization. *Committed*: the last block handed to the ledger for commit;
//!   it lags behind the last finalized one while blocks are missing.
//!
//! # Rules
//! - **R1 enter** a view w above the current one on a certified notarization or a nullification of w-1, or a finalization
//!   of any view >= w-1. Far jumps are legal. Both deadlines are armed.
//! - **R2 skip**: on entry, if a quorum was heard from within the skip time-out and the leader was not, give the view up,
//!   unless a proposal is here already. No evidence, only haste.
//! - **R3 propose**: the leader builds once, on the highest view below that is certified or finalized, if every view in
//!   between is nullified; what is missing is fetched. No block: give up.
//! - **R4 slot**: the first proposal of the leader fills the view's slot. A second, different one marks it equivocated: no
//!   notarize and no finalize from us. A certificate for another proposal replaces the content and marks it, too.
//! - **R5 ancestry**: before a proposal is verified, its parent is below its view, not below the last finalized one,
//!   certified or finalized, and all views between are nullified. Missing certificates are fetched, first gap first.
//!   Header and body are then judged *valid*, *invalid* (give up) or *not yet* (asked again, never invalid).
//! - **R6 notarize** a verified proposal of the current view once, never after nullify.
//! - **R7 notarization** held: its proposal is authoritative; the block is to be certified if its view is above the last
//!   finalized one, whether or not we ever saw the proposal, and whether or not the view was nullified meanwhile.
//! - **R8 certify**: if the roots hold, log it and enter the next view; else log it, give up, never build on it. Only a
//!   finalization at or above it cancels the wait.
//! - **R9 finalize** a certified proposal once, if not nullified, not equivocated, above the last finalized view.
//! - **R10 nullify** the current view at a deadline, once, if not finalized in it; allowed after notarize. Sent again every
//!   retry interval, with the certificate that lets those behind enter the view.
//! - **R11 immediate expiry**: no block to propose, invalid proposal, failed certification, R2, R12. First reason stays.
//! - **R12**: the current leader's own nullify gives the view up at once.
//! - **R13 nullification** held: store it, enter the next view.
//! - **R14 finalization** held: last finalized = max; cancel certifications at or below; commit all ancestors in order;
//!   enter the next view; forget views more than the retention below.
//! - **R15 admission**: votes for views from the retention below the last finalized to one above the current; certificates
//!   have only the lower bound. The sender must be the signer; one vote of a kind per signer and view. Malformed or wrongly
//!   signed costs the sender, another epoch does not.
//! - **R16 tally**: power counts. Signatures are verified in one batch once what is there could make a quorum; a failing
//!   batch is split until the offenders are found.
//! - **R17 evidence**: two notarize or two finalize for different proposals, finalize and nullify, in one view; also when
//!   one of the two is inside a certificate.
//! - **R18**: own finalize votes are sent again every retry interval until their view is finalized.
//!
//! # The end of an epoch
//! - **R3** on the closing block nothing is built: the leader proposes it again, by its notarize vote alone.
//! - **R4** the leader's notarize vote for the closing block fills the slot of its view.
//! - **R5** what names the closing block as parent can only be that block; whoever has it votes without asking the ledger,
//!   whoever does not fetches it with its ancestry.
//! - **R14** once the closing block is committed the engine is over, and casts no vote any more.
//!   [`Consensus::open_epoch`] starts the next one, with the guards, connections and work of the last, and the messages that
//!   came early. Who still votes in the last epoch is sent the finalization that closed it.
//!
//! # Why it is safe
//! Honest validators notarize one proposal a view (R6), never both finalize and nullify a view (R9, R10), and notarize only
//! on complete ancestry (R5); one place in the code (`Ballot`) decides all three, also after a restart, since votes leave only once they
//! are in the synced record; the [`VoteGuard`], which holds the key, decides them a second time. Two quorums share an honest signer. So a view has at most one notarized block, and a
//! finalized view has no nullification. A proposal of a later view that names a parent below the finalized view would need
//! that nullification, so no honest validator notarizes it: every later notarized block descends from the finalized one.
//! All else is liveness: deadlines double after every second nullified view until a block is finalized, so that they exceed
//! the real delay some day; then a view with an honest leader is certified and finalized by everybody.
//!
//! # Driver contract
//! 1. One turn: inputs to outputs; append all [`Output::Journal`] records, those of the guard to its own record beside the
//!    key; sync both, so that a crash leaves a beginning of them in the order given: a certificate is never there without
//!    our vote in it, nor a vote without the certificate and the block it stands on; then [`Output::Broadcast`],
//!    [`Output::Send`], [`Output::Finalize`] in order. The rest may start at once. A failed journal write ends the process.
//! 2. [`Input::Tick`] at [`Engine::next_deadline`], asked for again after every step. [`Input::Peer`] for every stream that
//!    comes up or goes down: nothing is fetched from, or passed on to, a validator that is not connected.
//! 3. The ledger answers each `Propose`, `Verify` and `Certify` once. The parent named was executed before, or is
//!    committed. `Certified { holds: true }` says that the block is durable. If block sync moved the ledger past a block
//!    that is asked about, any answer or none will do, as [`Input::CommittedElsewhere`] is on its way.
//! 4. `Finalize` lists blocks that were certified, ancestors first; those the ledger has committed already are skipped.
//!    Journal records with a view at or below the last committed block's can then be deleted.
//! 5. `Behind`: start block sync; when it has committed blocks, send [`Input::CommittedElsewhere`] with the finalization of
//!    the last one. A finalization that came by sync alone may also be given as a certificate message.
//! 6. When the ledger has committed a closing block: [`Consensus::open_epoch`], before any later block is handed over.
//! 7. `ServeBlock`: answer from committed or certified blocks. `Diverged`: stop the process, keep the data.
//!
//! # Restart
//! [`Consensus::new`] with the ledger's head and its finalization, and guards with their records; [`Input::Replay`] for each journal record;
//! [`Input::Restored`] for each block the ledger stored at `Certify` and has not committed; then [`Input::Start`]. Records
//! may be missing at the end, doubled or out of order. Own votes come out of the guard, back into the tally, certified blocks are executed
//! again (the ledger lost its overlays), undecided certifications are asked for again, blocks that are lost are fetched.
//! If all validators restart together, every finalized block is durable at a quorum, and a block certified by anyone is
//! durable there and fetched from there. Blocks that were only notarized may be lost: their views are nullified, and the
//! chain goes on from the highest certified one.
//!
//! # Bounds
//! Messages of the next epoch: 16 of each sender, 16 MiB in all. Votes: three per validator and view within the R15 window.
//! Bodies: 64 that wait for execution. Fetches: 16 at a time, one message each per retry interval. Unasked help: twice per
//! peer and retry interval. Certificates above the last finalized view: two per view, as ancestry (R5) needs them; their
//! number is bounded by the growing deadlines alone.
#![deny(clippy::arithmetic_side_effects, clippy::float_arithmetic, clippy::indexing_slicing)]

mod chain;
mod config;
mod consensus;
mod early;
mod engine;
mod fetch;
mod guard;
mod input;
mod journal;
pub mod mutant;
mod output;
mod pace;
mod peers;
mod round;
mod schedule;
mod state;
mod tally;

pub use config::{Config, ConfigError, EpochConfig, EpochStart, Head, Timing};
pub use consensus::Consensus;
pub use engine::Engine;
pub use guard::{Refusal, Silence, VoteGuard};
pub use input::{Input, Now, Verdict};
pub use journal::JournalRecord;
pub use output::{Offence, Output};
pub use state::{Deadline, EngineState, NeededVotes, ValidatorState, VoteCount};

#[cfg(test)]
#[allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "tests may stop at what they did not expect"
)]
mod tests;
