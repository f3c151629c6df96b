//! What an engine must find again after a restart.
#![allow(clippy::cast_possible_truncation, reason = "derive(Encode) writes variant indices with a cast")]

use cairn_primitives::{Certificate, Epoch, Hash, View, Vote};
use parity_scale_codec::{Decode, Encode};

/// One record. Records may come back twice, in any order, or not at all from some point on.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum JournalRecord {
    /// A vote of our own. It belongs to the record of the vote guard ([`crate::VoteGuard`]), not to the engine's journal.
    #[codec(index = 0)]
    Vote(Vote),
    /// A verified certificate.
    #[codec(index = 1)]
    Certificate(Certificate),
    /// The verdict of certification.
    #[codec(index = 2)]
    Certified {
        /// The epoch.
        epoch: Epoch,
        /// The view of the notarization.
        view: View,
        /// The block.
        block: Hash,
        /// Whether its roots hold.
        holds: bool,
    },
    /// Nothing at or below this view is signed any more. It belongs to the record of the vote guard.
    #[codec(index = 3)]
    Floor {
        /// The epoch.
        epoch: Epoch,
        /// The view.
        view: View,
    },
    /// The record of the vote guard lacks votes that were signed in this view or before, until a [`Self::Floor`] above
    /// it. It belongs to that record.
    #[codec(index = 4)]
    Silence {
        /// The epoch.
        epoch: Epoch,
        /// The view.
        view: View,
    },
}

impl JournalRecord {
    /// Whether the record is the vote guard's, to be kept beside the key; all others are the engine's journal.
    #[must_use]
    pub const fn is_of_guard(&self) -> bool {
        matches!(self, Self::Vote(_) | Self::Floor { .. } | Self::Silence { .. })
    }

    /// The epoch the record belongs to.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        match self {
            Self::Vote(vote) => vote.subject.epoch(),
            Self::Certificate(certificate) => certificate.subject.epoch(),
            Self::Certified { epoch, .. } | Self::Floor { epoch, .. } | Self::Silence { epoch, .. } => *epoch,
        }
    }

    /// The view the record belongs to: once a block of this or a later view is committed, the record may be deleted.
    #[must_use]
    pub const fn view(&self) -> View {
        match self {
            Self::Vote(vote) => vote.subject.view(),
            Self::Certificate(certificate) => certificate.subject.view(),
            Self::Certified { view, .. } | Self::Floor { view, .. } | Self::Silence { view, .. } => *view,
        }
    }
}
