//! The vote guard: what holds the key of a validator and refuses to sign two things that exclude each other.
//!
//! It trusts nobody, not even the engine: whatever is asked, it signs at most one notarize, one finalize and one nullify
//! per view, never both finalize and nullify, and no notarize after a nullify (R6, R9, R10). It signs nothing at or below
//! its *floor*, the highest finalized view it was told of.
//!
//! What it signed is its *record*: [`JournalRecord::Vote`] and [`JournalRecord::Floor`], and [`JournalRecord::Silence`]
//! where it turned out to be incomplete. The driver keeps it in a place
//! of its own beside the key and syncs it before a vote leaves the process. A guard without its record (a new disk, a key
//! restored from a backup), or one that meets a vote of its own that the record does not hold, is *silent*: see
//! [`Silence`].
//!
//! Bounds: one entry of about 200 bytes for each view above the floor in which it voted; views without finality take
//! longer and longer.

use crate::journal::JournalRecord;
use crate::mutant::is_any_on;
use cairn_primitives::{Certificate, Epoch, Hash, KeyPair, Proposal, PublicKey, Subject, ValidatorIndex, View, Vote};
use std::collections::BTreeMap;

/// Signs the votes of one key.
#[derive(Clone, Debug)]
pub struct VoteGuard {
    key: KeyPair,
    genesis: Hash,
    /// Nothing at or below is signed.
    floor: (Epoch, View),
    entries: BTreeMap<(Epoch, View), Entry>,
    silence: Option<Silence>,
}

/// Why nothing is signed, and what ends it.
///
/// Votes that a lost record held were cast in views that some honest validator of every quorum had reached. So the engine
/// asks the others where they stand; what a quorum of them proves to have reached bounds the views in which this key can
/// have voted, and a finalization above that bound makes all those votes meaningless.
///
/// The finalization of a block that closes its epoch does not: the key may have seen that block final before the others,
/// and have voted in the next epoch, which their answers do not bound. In the new epoch they are asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// The record is lost, or older than votes of this key that others hold: others must tell where they stand.
    RecordLost,
    /// Everything is signed again once a view above this one is finalized.
    Until {
        /// The epoch of the bound.
        epoch: Epoch,
        /// The highest view in which this key can have voted.
        above: View,
    },
}

/// Why a vote was not signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The vote excludes one that was signed before.
    #[error("the vote in view {view} of epoch {epoch} excludes one that was signed before")]
    Contradiction {
        /// Its epoch.
        epoch: Epoch,
        /// Its view.
        view: View,
    },
    /// The view is at or below a finalized one.
    #[error("view {view} of epoch {epoch} is not above the last finalized one")]
    BelowFloor {
        /// Its epoch.
        epoch: Epoch,
        /// Its view.
        view: View,
    },
    /// The record is lost, and what it held may still matter.
    #[error("the record of signed votes is lost, and views in which this key can have voted are not final yet")]
    Silent,
}

/// What was signed in one view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Entry {
    notarized: Option<Proposal>,
    finalized: Option<Proposal>,
    nullified: bool,
}

impl Entry {
    fn allows(&self, subject: &Subject) -> bool {
        match subject {
            Subject::Notarize(proposal) => self.notarized.map_or(!self.nullified, |notarized| notarized == *proposal),
            Subject::Finalize(proposal) => {
                !self.nullified && self.finalized.is_none_or(|finalized| finalized == *proposal)
            }
            Subject::Nullify { .. } => self.finalized.is_none(),
        }
    }

    fn holds(&self, subject: &Subject) -> bool {
        match subject {
            Subject::Notarize(proposal) => self.notarized == Some(*proposal),
            Subject::Finalize(proposal) => self.finalized == Some(*proposal),
            Subject::Nullify { .. } => self.nullified,
        }
    }

    fn note(&mut self, subject: &Subject) {
        match subject {
            Subject::Notarize(proposal) => self.notarized = self.notarized.or(Some(*proposal)),
            Subject::Finalize(proposal) => self.finalized = self.finalized.or(Some(*proposal)),
            Subject::Nullify { .. } => self.nullified = true,
        }
    }

    fn subjects(&self, (epoch, view): (Epoch, View)) -> impl Iterator<Item = Subject> + use<> {
        let nullify = self.nullified.then_some(Subject::Nullify { epoch, view });
        [self.notarized.map(Subject::Notarize), nullify, self.finalized.map(Subject::Finalize)].into_iter().flatten()
    }
}

impl VoteGuard {
    /// A guard of a key with its complete record; an empty one for a key that never signed anything.
    #[must_use]
    pub fn new(key: KeyPair, genesis: Hash, record: impl IntoIterator<Item = JournalRecord>) -> Self {
        let floor = (Epoch::ZERO, View::ZERO);
        let mut guard = Self { key, genesis, floor, entries: BTreeMap::new(), silence: None };
        let mut unknown = floor;
        for record in record {
            match record {
                JournalRecord::Vote(vote) => guard.note(&vote.subject),
                JournalRecord::Floor { epoch, view } => guard.raise_floor(epoch, view),
                JournalRecord::Silence { epoch, view } => unknown = unknown.max((epoch, view)),
                JournalRecord::Certificate(_) | JournalRecord::Certified { .. } => {}
            }
        }
        // What ended the silence is above all that was unknown.
        guard.silence = (unknown > guard.floor).then_some(Silence::RecordLost);
        guard
    }

    /// A guard whose record is lost: silent until it is safe to speak.
    #[must_use]
    pub fn without_record(key: KeyPair, genesis: Hash) -> Self {
        Self { silence: Some(Silence::RecordLost), ..Self::new(key, genesis, []) }
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        self.key.public()
    }

    /// Why nothing is signed; `None` if everything that keeps the rules is.
    #[must_use]
    pub const fn silence(&self) -> Option<Silence> {
        self.silence
    }

    /// Nothing at or below this is signed.
    #[must_use]
    pub const fn floor(&self) -> (Epoch, View) {
        self.floor
    }

    /// Signs a vote that contradicts nothing signed before; the vote must be in the synced record before it leaves.
    ///
    /// # Errors
    /// The vote contradicts an earlier one, lies at or below the floor, or the guard is silent. Nothing was signed.
    pub fn sign(&mut self, subject: Subject, signer: ValidatorIndex) -> Result<Vote, Refusal> {
        let (epoch, view) = (subject.epoch(), subject.view());
        if self.silence.is_some() {
            return Err(Refusal::Silent);
        }
        if (epoch, view) <= self.floor {
            return Err(Refusal::BelowFloor { epoch, view });
        }
        let entry = self.entries.entry((epoch, view)).or_default();
        // A deliberate bug of the engine would not show if the guard stopped it.
        if !entry.allows(&subject) && !is_any_on() {
            return Err(Refusal::Contradiction { epoch, view });
        }
        entry.note(&subject);
        Ok(self.sign_unchecked(subject, signer))
    }

    /// The votes of an epoch that were signed above the floor, in the order of views.
    #[must_use]
    pub fn votes(&self, epoch: Epoch, signer: ValidatorIndex) -> Vec<Vote> {
        let views = self.entries.range((epoch, View::ZERO)..=(epoch, View(u64::MAX)));
        let subjects = views.flat_map(|(place, entry)| entry.subjects(*place));
        subjects.map(|subject| self.sign_unchecked(subject, signer)).collect()
    }

    /// The whole record, as short as it can be: what a driver writes when the one on disk has grown.
    #[must_use]
    pub fn record(&self) -> Vec<JournalRecord> {
        let (epoch, view) = self.floor;
        let subjects = self.entries.iter().flat_map(|(place, entry)| entry.subjects(*place));
        // Who the signer is does not matter to the guard: the record is of one key.
        let votes =
            subjects.map(|subject| JournalRecord::Vote(self.sign_unchecked(subject, ValidatorIndex::default())));
        let silence = self.silence.map(|_| JournalRecord::Silence { epoch, view: view.next() });
        std::iter::once(JournalRecord::Floor { epoch, view }).chain(silence).chain(votes).collect()
    }

    /// Takes in what was signed elsewhere with this key: the record of another machine. Where it excludes what was signed
    /// here, nothing is signed any more up to that view.
    pub fn merge(&mut self, signed: impl IntoIterator<Item = Subject>, floor: (Epoch, View)) {
        self.raise_floor(floor.0, floor.1);
        for subject in signed {
            let place = (subject.epoch(), subject.view());
            let is_clash = self.entries.get(&place).is_some_and(|entry| !entry.allows(&subject));
            if is_clash {
                self.raise_floor(place.0, place.1);
            } else {
                self.note(&subject);
            }
        }
    }

    /// What was signed above the floor, in the order of views.
    pub fn signed(&self) -> impl Iterator<Item = Subject> + '_ {
        self.entries.iter().flat_map(|(place, entry)| entry.subjects(*place))
    }

    /// Notes that a view is finalized: nothing at or below it is signed any more.
    pub fn on_finalized(&mut self, epoch: Epoch, view: View) {
        self.raise_floor(epoch, view);
    }

    /// Notes that a block which does not close its epoch was finalized in a view. Returns the record of the end of a
    /// silence, to be synced with the next vote.
    pub fn on_committed(&mut self, epoch: Epoch, view: View) -> Option<JournalRecord> {
        match self.silence {
            Some(Silence::Until { epoch: bound_epoch, above }) if (epoch, view) > (bound_epoch, above) => {
                self.silence = None;
                self.raise_floor(epoch, view);
                Some(JournalRecord::Floor { epoch, view })
            }
            Some(Silence::Until { .. } | Silence::RecordLost) | None => None,
        }
    }

    /// Others told where they stand: this key can have voted up to the view `above`.
    pub(crate) fn bound_silence(&mut self, epoch: Epoch, above: View) {
        if self.silence == Some(Silence::RecordLost) {
            self.silence = Some(Silence::Until { epoch, above });
        }
    }

    /// A new epoch: votes of the last one bind nobody, but where the others stand in this one is not known.
    pub(crate) fn on_epoch(&mut self) {
        if self.silence.is_some() {
            self.silence = Some(Silence::RecordLost);
        }
    }

    /// Looks for this key's vote in a verified certificate; one that the record does not hold means that the record is
    /// older than it should be. Returns the record of it if the guard fell silent over it, or silent anew: a vote above
    /// the bound of its silence was signed by somebody else.
    pub(crate) fn inspect(&mut self, certificate: &Certificate, own: ValidatorIndex) -> Option<JournalRecord> {
        let place = (certificate.subject.epoch(), certificate.subject.view());
        let is_expected = match self.silence {
            None => false,
            Some(Silence::RecordLost) => true,
            Some(Silence::Until { epoch, above }) => place <= (epoch, above),
        };
        let is_own = certificate.signatures().any(|(signer, _)| signer == own);
        let is_known = self.entries.get(&place).is_some_and(|entry| entry.holds(&certificate.subject));
        if !is_own || is_known || place <= self.floor || is_expected {
            return None;
        }
        self.silence = Some(Silence::RecordLost);
        Some(JournalRecord::Silence { epoch: place.0, view: place.1 })
    }

    fn sign_unchecked(&self, subject: Subject, signer: ValidatorIndex) -> Vote {
        Vote::sign(subject, signer, &self.key, &self.genesis)
    }

    fn note(&mut self, subject: &Subject) {
        let place = (subject.epoch(), subject.view());
        if place > self.floor {
            self.entries.entry(place).or_default().note(subject);
        }
    }

    fn raise_floor(&mut self, epoch: Epoch, view: View) {
        self.floor = self.floor.max((epoch, view));
        self.entries = self.entries.split_off(&(self.floor.0, self.floor.1.next()));
    }
}
