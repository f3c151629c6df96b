#!/usr/bin/env bash
# Runs unmodified clients against a network of this machine: `tests/clients/run.sh [path of cairn]`, as `make clients` does.
# Versions are pinned in package-lock.json, requirements-*.txt and subxt/Cargo.lock. What is installed is kept in
# target/clients; CLIENTS names some of pjs, papi, ics23, pysub, asyncsub, examples, subxt, upgrade.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
cairn=${1:-"$here/../../target/release/cairn"}
work=${CLIENTS_DIR:-"$here/../../target/clients"}
port=${CLIENTS_PORT:-19944}
url=ws://127.0.0.1:$port
clients=${CLIENTS:-pjs papi ics23 pysub asyncsub examples subxt upgrade}
mkdir -p "$work"
data=$(mktemp -d "$work/network.XXXXXX")

nodes=()
trap 'kill "${nodes[@]}" 2>/dev/null; wait "${nodes[@]}" 2>/dev/null || true; rm -rf "$data"' EXIT

# Starts a network in a folder, on a port.
network() {
    "$cairn" devnet --validators 1 --data-dir "$1" --base-port "$2" --log warn >"$data/log" 2>&1 &
    nodes+=($!)
    # Block 1 there means that everything runs.
    local ask='{"jsonrpc":"2.0","id":1,"method":"chain_getBlockHash","params":[1]}'
    for _ in $(seq 100); do
        curl -s -m 2 -H 'content-type: application/json' -d "$ask" "http://127.0.0.1:$2" | grep -q '"result":"0x' && return
        kill -0 "${nodes[-1]}" || break
        sleep 0.5
    done
    cat "$data/log"
    exit 1
}

network "$data/devnet" "$port"

# By the lock file. `npm ci` would refuse one that names the optional packages of this system alone.
install_javascript() {
    mkdir -p "$work/js"
    cp "$here"/*.mjs "$here"/package.json "$here"/package-lock.json "$work/js/"
    cmp -s "$here/package-lock.json" "$work/js/node_modules/.installed" ||
        (cd "$work/js" && npm install --no-save --ignore-scripts --no-audit --no-fund --loglevel=error &&
            cp package-lock.json node_modules/.installed)
}

javascript() {
    install_javascript && node "$work/js/$1.mjs" "$url"
}

install_python() {
    [ -d "$work/$1" ] || { python3 -m venv "$work/$1" && "$work/$1/bin/pip" install -q -r "$here/requirements-$1.txt"; }
}

python() {
    install_python "$1" && "$work/$1/bin/python" "$here/$1.py" "$url"
}

# The example of a page in docs/clients, as it stands there.
example() {
    awk '/^```(js|python|rust)$/ { on = 1; next } /^```$/ { on = 0 } on' "$here/../../docs/clients/$1.md"
}

examples() {
    install_javascript && install_python pysub || return 1
    example typescript >"$work/js/example.mjs" && node "$work/js/example.mjs" "$url" || return 1
    example python >"$work/example.py" && "$work/pysub/bin/python" "$work/example.py" "$url"
}

rust() {
    local root
    root=$(cd "$here/../.." && pwd)
    mkdir -p "$work/subxt"
    cp -r "$here/subxt/." "$work/subxt/"
    sed -i "s|path = \"../../../|path = \"$root/|" "$work/subxt/Cargo.toml"
    # The client is generated from the metadata of the node, the example taken from its page.
    install_javascript && node "$work/js/metadata.mjs" "$url" "$work/subxt/metadata.scale" || return 1
    mkdir -p "$work/subxt/src/bin" && example rust >"$work/subxt/src/bin/example.rs" || return 1
    (cd "$work/subxt" && CARGO_TARGET_DIR="$work/subxt-target" cargo build --locked) || return 1
    local genesis
    genesis=$("$cairn" chain-spec genesis-hash "$data/devnet/spec.json")
    "$work/subxt-target/debug/example" "$url" "$genesis" || return 1
    for backend in default legacy chainhead archive; do
        "$work/subxt-target/debug/cairn-subxt" "$url" "$backend" || return 1
    done
}

# Clients that stay connected while the rules of their chain change: all at once, on a chain of its own whose block 60 is the
# first under rules 4.
upgrade() {
    install_javascript && install_python pysub && install_python asyncsub || return 1
    local folder="$data/upgrading" port=$((port + 20)) pids=() failed=0
    local url=ws://127.0.0.1:$port
    mkdir -p "$folder"
    "$cairn" chain-spec new --preset local1 |
        sed 's/"spec_version": [0-9]*/"spec_version": 3, "upgrades": [{"height": 60, "spec_version": 4}]/' >"$folder/spec.json"
    network "$folder" "$port"
    # Each has a development account of its own; subxt has //Alice's.
    local charlie=072c02fa1409dc37e03a4ed01703d4a9e6bba9c228a49a00366e9630a97cba7c
    local dave=771f47d3caf8a2ee40b0719e1c1ecbc01d73ada220cf08df12a00453ab703738
    local ferdie=1441e38eb309b66e9286867a5cd05902b05413eb9723a685d4d77753d73d0a1d
    local eve=bef5a3cd63dd36ab9792364536140e5a0cce6925969940c431934de056398556
    node "$work/js/upgrade-pjs.mjs" "$url" $ferdie >"$data/upgrade-pjs" 2>&1 & pids+=($!)
    node "$work/js/upgrade-papi.mjs" "$url" $charlie >"$data/upgrade-papi" 2>&1 & pids+=($!)
    "$work/pysub/bin/python" "$here/upgrade.py" "$url" $dave >"$data/upgrade-pysub" 2>&1 & pids+=($!)
    "$work/asyncsub/bin/python" "$here/upgrade.py" "$url" $eve >"$data/upgrade-asyncsub" 2>&1 & pids+=($!)
    if [ -x "$work/subxt-target/debug/cairn-subxt" ]; then
        "$work/subxt-target/debug/cairn-subxt" "$url" default upgrade >"$data/upgrade-subxt" 2>&1 & pids+=($!)
    fi
    for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
    tail -n +1 "$data"/upgrade-*
    return $failed
}

# Scripts that import each other leave nothing beside themselves.
export PYTHONDONTWRITEBYTECODE=1
failed=()
for client in $clients; do
    echo "== $client"
    case $client in
        pjs | papi | ics23) javascript "$client" || failed+=("$client") ;;
        pysub | asyncsub) python "$client" || failed+=("$client") ;;
        examples) examples || failed+=("$client") ;;
        subxt) rust || failed+=("$client") ;;
        upgrade) upgrade || failed+=("$client") ;;
    esac
done
[ ${#failed[@]} -eq 0 ] || { echo "failed: ${failed[*]}"; exit 1; }
