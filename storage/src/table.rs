//! The tables of the node's database.
//!
//! Numbers in keys are big-endian, so that records lie in numeric order. Values are SCALE unless said otherwise. The
//! writer is always the ledger's one synced batch unless said otherwise. A change of any format here raises
//! [`FORMAT_VERSION`] and brings a migration.

use std::fmt;

/// The version of all formats in this module and of the records of the state store.
///
/// No release had a version before 11, so that there is no migration from them.
pub const FORMAT_VERSION: u32 = 11;

/// A table: a sorted map from bytes to bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Key: a name ([`crate::blocks::META_HEAD`] …). Value: head record, chain identity, state head with the lowest height that
    /// can be read; and, derived, the markers of the last checkpoint and of the archive, and which records of another archive
    /// are here. Never pruned.
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
    /// Key: escaped storage key, height (u32). Value: the value that the block of the height replaced, empty where there was
    /// none. Archive nodes only; deleted as a whole once the window of a node that is an archive no more is above it.
    /// Derived: written behind the head.
    StateHistory,
    /// Key: a storage key of the head. Value: nothing, or the value where it is too long for a page.
    StateKeys,
    /// Key: depth in steps of four bits (u8), the bits of the key hash that lead to the place, height (u32). Value: the node
    /// or the leaves that the block of the height replaced there. As [`Table::StateHistory`] otherwise.
    StateNodes,
    /// Key: height (u32), or height and storage key. Value: a filter of the keys that the block changed, or some of its
    /// changes from that key on: storage keys with the value before and what the one after differs in. Deleted once the
    /// height has left the window and what the derived tables take from it is on disk for good.
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
