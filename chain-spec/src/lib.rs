//! cairn-chain-spec
