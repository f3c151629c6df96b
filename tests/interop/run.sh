#!/usr/bin/env bash
# A js-libp2p node against a network of this machine: `tests/interop/run.sh [path of cairn]`, as `make interop` does. Versions are
# pinned in package-lock.json; what is installed is kept in target/interop.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
cairn=${1:-"$here/../../target/release/cairn"}
work=${INTEROP_DIR:-"$here/../../target/interop"}
port=${INTEROP_PORT:-18400}
url=http://127.0.0.1:$port

mkdir -p "$work"
cp "$here/check.mjs" "$here/package.json" "$work/"
if ! cmp -s "$here/package-lock.json" "$work/package-lock.json"; then
    cp "$here/package-lock.json" "$work/"
    rm -rf "$work/node_modules"
fi
[ -d "$work/node_modules" ] || (cd "$work" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)

data=$(mktemp -d "$work/network.XXXXXX")
"$cairn" devnet --validators 2 --data-dir "$data/devnet" --base-port "$port" --log warn >"$data/log" 2>&1 &
devnet=$!
trap 'kill -INT $devnet 2>/dev/null; wait $devnet 2>/dev/null || true; rm -rf "$data"' EXIT

# Block 1 there means that everything runs.
ask='{"jsonrpc":"2.0","id":1,"method":"chain_getBlockHash","params":[1]}'
for _ in $(seq 100); do
    curl -s -m 2 -H 'content-type: application/json' -d "$ask" "$url" | grep -q '"result":"0x' && break
    kill -0 $devnet || { cat "$data/log"; exit 1; }
    sleep 0.5
done
node "$work/check.mjs" "$url"
