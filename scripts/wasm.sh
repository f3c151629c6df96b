#!/usr/bin/env bash
# Sees that the verifier of answers builds for WebAssembly, where the Rust target for it is installed
# (`rustup target add wasm32-unknown-unknown`).
set -euo pipefail
cd "$(dirname "$0")/.."
target=wasm32-unknown-unknown
if ! [ -d "$(rustc --print target-libdir --target $target)" ]; then
    echo "skipped: the verifier was not built for WebAssembly, as the target $target is not installed"
    exit 0
fi
cargo check --release --locked -p cairn-verifier --target $target
