//! cairn-ledger
