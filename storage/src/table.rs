//! The tables of the node's database.
//!
//! Numbers in keys are big-endian, so that records lie in numeric order. Values are SCALE unless said otherwise. The
//! writer is always the ledger's one synced batch unless said otherwise. A change of any format here raises
//! [`FORMAT_VERSION`] and brings a migration.

use std::fmt;

/// The version of all formats in this module and of the records of the state store.
///
/// 2: [`Table::ValidatorSets`]. There is no migration from 1: the rules of the chains in it had no validators in their
/// state, so that no block of theirs has the roots that these rules give. 3: [`Table::StateKeys`], diffs with values,
/// checkpoints. There is no migration from 2, which no release had. 4: [`Table::StateNodes`]. There is none from 3, for the
/// same reason.
pub const FORMAT_VERSION: u32 = 4;

/// A table: a sorted map from bytes to bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Key: a name ([`crate::blocks::META_HEAD`] …). Value: head record, chain identity, state head, lowest height of
    /// the state's history; and, derived, the marker of the last checkpoint. Never pruned.
    Meta,
    /// Key: height (u32). Value: header. Only finalized blocks. Never pruned.
    Headers,
    /// Key: height (u32). Value: extrinsics, `Vec<OpaqueExtrinsic>`. Only finalized blocks. Never pruned.
    Bodies,
    /// Key: height (u32). Value: block hash, 32 bytes. Never pruned.
    Hashes,
    /// Key: block hash (32). Value: height (u32, big-endian). Never pruned.
    Heights,
    /// Key: height (u32). Value: the certificate that finalized the block of that height; absent where a descendant's
    /// covers it. Never pruned.
    Finalizations,
    /// Key: epoch (u64). Value: the epoch's validator set. Written with genesis and with each block that closes an epoch,
    /// for the epoch it opens. Never pruned: finalizations of all epochs must stay verifiable.
    ValidatorSets,
    /// Key: height (u32). Value: the encoded event records of the block. Never pruned.
    Events,
    /// Key: extrinsic hash (32). Value: height (u32) and index (u32), big-endian; the last inclusion. Never pruned.
    Transactions,
    /// Key: block hash (32). Value: a block that is certified and not final. Deleted when it or a competitor is final.
    PendingBlocks,
    /// Key: epoch (u64), sequence (u64). Value: a record of the consensus journal. Written by the consensus driver;
    /// deleted from the oldest on, once a finalization makes the records useless.
    Journal,
    /// Key: the bits of the key hash that lead to the page, without trailing zero bytes. Value: a page of the state
    /// tree. Holds one version only: a page that is replaced is overwritten, one that is merged or emptied is deleted.
    /// Derived: written by checkpoints.
    StatePages,
    /// Key: escaped storage key, complement of the height (u32). Value: the value from that height on, empty for a
    /// deletion. In window mode a record is deleted when its successor has left the window. Derived: written by
    /// checkpoints.
    StateHistory,
    /// Key: height (u32). Value: the storage keys that the block changed, `Vec<Vec<u8>>`, by which pruning finds what they
    /// replaced. In window mode deleted when the height leaves the window. Derived: written by checkpoints.
    StateKeys,
    /// Key: depth in steps of four bits (u8), the bits of the key hash that lead to the place, height (u32). Value: the node
    /// or the leaves that the block of the height replaced there. Archive nodes only. In window mode deleted, some in each
    /// checkpoint. Derived: written by checkpoints.
    StateNodes,
    /// Key: height (u32). Value: what the block changed, `Vec<(Vec<u8>, Option<Vec<u8>>)>`: storage keys and new values,
    /// none for a deletion. Deleted once a checkpoint above the height is on disk for good.
    StateDiffs,
}

impl Table {
    /// All tables.
    pub const ALL: [Self; 16] = [
        Self::Meta,
        Self::Headers,
        Self::Bodies,
        Self::Hashes,
        Self::Heights,
        Self::Finalizations,
        Self::ValidatorSets,
        Self::Events,
        Self::Transactions,
        Self::PendingBlocks,
        Self::Journal,
        Self::StatePages,
        Self::StateHistory,
        Self::StateKeys,
        Self::StateNodes,
        Self::StateDiffs,
    ];

    /// The name on disk and in messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Headers => "headers",
            Self::Bodies => "bodies",
            Self::Hashes => "hashes",
            Self::Heights => "heights",
            Self::Finalizations => "finalizations",
            Self::ValidatorSets => "validator_sets",
            Self::Events => "events",
            Self::Transactions => "transactions",
            Self::PendingBlocks => "pending_blocks",
            Self::Journal => "journal",
            Self::StatePages => "state_pages",
            Self::StateHistory => "state_history",
            Self::StateKeys => "state_keys",
            Self::StateNodes => "state_nodes",
            Self::StateDiffs => "state_diffs",
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
