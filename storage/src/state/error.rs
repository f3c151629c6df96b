//! Errors of the state store.

use crate::error::{DatabaseError, ErrorClass};
use cairn_primitives::state_proof::{BatchProofError, KEY_BYTES_MAX, VALUE_BYTES_MAX};
use cairn_primitives::{Hash, Height};

/// Why the state store refused or failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The database failed or holds damaged records.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A storage key is empty or too long.
    #[error("a storage key of {length} bytes: 1 to {KEY_BYTES_MAX} are allowed")]
    KeyLength {
        /// Its length in bytes.
        length: usize,
    },
    /// A value is empty or too large; an empty one could not be proved.
    #[error("a storage value of {length} bytes: 1 to {VALUE_BYTES_MAX} are allowed, a deletion is no value at all")]
    ValueLength {
        /// Its length in bytes.
        length: usize,
    },
    /// The height has left the history that this node keeps.
    #[error("the state at height {height} is pruned, the lowest kept height is {lowest}; ask an archive node")]
    Pruned {
        /// The height asked for.
        height: Height,
        /// The lowest height that is kept.
        lowest: Height,
    },
    /// The height is not committed yet.
    #[error("height {height} is above the committed head {head}")]
    AboveHead {
        /// The height asked for.
        height: Height,
        /// The committed head.
        head: Height,
    },
    /// Values at this height are kept, tree nodes are not.
    #[error("proofs at height {height} are not kept, the lowest height with proofs is {lowest}")]
    ProofNotKept {
        /// The height asked for.
        height: Height,
        /// The lowest height that can be proved.
        lowest: Height,
    },
    /// A batch proof of these keys cannot be made: there are none, too many, or they weigh too much.
    #[error(transparent)]
    Batch(#[from] BatchProofError),
    /// The overlay was not made on top of the committed head.
    #[error("the overlay does not stand on the committed head: make it again from its changes")]
    NotOnHead,
    /// The height does not follow the committed head.
    #[error("height {height} does not follow the committed head {head}")]
    NotNext {
        /// The height to be committed.
        height: Height,
        /// The committed head.
        head: Height,
    },
    /// The database holds part of a state that was loaded from a snapshot.
    #[error(
        "the database holds an unfinished restore of a snapshot: finish it with `cairn snapshot restore` of the same \
         snapshot, or delete the database folder"
    )]
    Unfinished,
    /// An archive is to be extended with one that lacks heights.
    #[error("an archive from genesis to height {wanted} is wanted, this one holds {found:?}")]
    OtherArchive {
        /// The lowest and the highest height that it holds.
        found: Option<(Height, Height)>,
        /// The highest height that is wanted.
        wanted: Height,
    },
    /// An archive is to be extended before all records are here.
    #[error("the records of the heights below the archive are not all here")]
    NotMerged,
    /// A state is to be loaded where there is one.
    #[error("the database is not empty: a snapshot is restored into an empty data folder only")]
    NotEmpty,
    /// The pages on disk do not give the recorded root.
    #[error(
        "the state pages give root {computed}, but {recorded} is recorded for height {height}: the database is damaged; \
         restore the data directory or sync again"
    )]
    WrongRoot {
        /// The height of the head.
        height: Height,
        /// The root of the pages.
        computed: Hash,
        /// The root in the state record.
        recorded: Hash,
    },
}

impl StateError {
    /// What the error asks of the caller.
    #[must_use]
    pub const fn class(&self) -> ErrorClass {
        match self {
            Self::Database(_)
            | Self::WrongRoot { .. }
            | Self::NotNext { .. }
            | Self::Unfinished
            | Self::OtherArchive { .. }
            | Self::NotMerged
            | Self::NotEmpty => ErrorClass::Fatal,
            Self::KeyLength { .. } | Self::ValueLength { .. } | Self::Batch(_) => ErrorClass::Invalid,
            Self::Pruned { .. } | Self::AboveHead { .. } | Self::ProofNotKept { .. } | Self::NotOnHead => {
                ErrorClass::Unavailable
            }
        }
    }
}
