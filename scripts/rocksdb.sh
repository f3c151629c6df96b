#!/usr/bin/env bash
# Compiles RocksDB once for all profiles, features and checkouts, and prints the folder of the static library.
#
# Cargo rebuilds librocksdb-sys, some 19 CPU-minutes, whenever the profile or the features of any of its dependencies
# change. Pointed at a library that is there (ROCKSDB_LIB_DIR, ROCKSDB_STATIC=1) it only generates bindings.
#
# RocksDB chooses its CRC-32C when it is compiled: by default from tables, ten times slower than the instruction for it that
# processors have had since 2011. The node refuses to open a database on one that has none.
set -euo pipefail
cd "$(dirname "$0")/.."

version=$(awk '/^name = "librocksdb-sys"$/ { getline; gsub(/"/, "", $3); print $3 }' Cargo.lock)
[ -n "$version" ] || { echo "Cargo.lock names no librocksdb-sys" >&2; exit 1; }
case "$(uname -m)" in
    x86_64) variant="-sse4.2" features="+sse4.2,+pclmulqdq" ;;
    aarch64) variant="-crc" features="+crc,+aes" ;;
    *) variant="" features="" ;;
esac
folder="${CAIRN_CACHE:-$HOME/.cache/cairn}/librocksdb-sys-$version$variant"

if [ ! -f "$folder/librocksdb.a" ]; then
    echo "Compiling RocksDB once into $folder (about ten minutes on two cores)" >&2
    build=$(mktemp -d)
    trap 'rm -rf "$build"' EXIT
    mkdir -p "$build/src" "$folder"
    echo 'fn main() {}' > "$build/src/main.rs"
    cat > "$build/Cargo.toml" <<TOML
[package]
name = "rocksdb-library"
version = "0.0.0"
edition = "2024"

[dependencies]
librocksdb-sys = { version = "=$version", default-features = false, features = ["static", "lz4", "zstd", "bindgen-runtime"] }

[profile.release]
opt-level = 3
debug = false
TOML
    cp Cargo.lock "$build/Cargo.lock"
    (cd "$build" && env -u ROCKSDB_LIB_DIR -u ROCKSDB_STATIC CARGO_TARGET_DIR="$build/target" \
        RUSTFLAGS="${features:+-C target-feature=$features}" \
        cargo build --release >&2)
    cp "$build"/target/release/build/librocksdb-sys-*/out/librocksdb.a "$folder/librocksdb.a.partial"
    mv "$folder/librocksdb.a.partial" "$folder/librocksdb.a"
fi
echo "$folder"
