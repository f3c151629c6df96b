//! cairn-node
fn main() {}
