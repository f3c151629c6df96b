//! cairn-mempool
