//! What an engine must find again after a restart.
#![allow(clippy::cast_possible_truncation, reason = "derive(Encode) writes variant indices with a cast")]

use cairn_primitives::{Certificate, Epoch, Hash, View, Vote};
use parity_scale_codec::{Decode, Encode};

/// One record. Records may come back twice, in any order, or not at all from some point on.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum JournalRecord {
    /// A vote of our own.
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
}

impl JournalRecord {
    /// The epoch the record belongs to.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        match self {
            Self::Vote(vote) => vote.subject.epoch(),
            Self::Certificate(certificate) => certificate.subject.epoch(),
            Self::Certified { epoch, .. } => *epoch,
        }
    }

    /// The view the record belongs to: once a block of this or a later view is committed, the record may be deleted.
    #[must_use]
    pub const fn view(&self) -> View {
        match self {
            Self::Vote(vote) => vote.subject.view(),
            Self::Certificate(certificate) => certificate.subject.view(),
            Self::Certified { view, .. } => *view,
        }
    }
}
