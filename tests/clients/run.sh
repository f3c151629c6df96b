#!/usr/bin/env bash
# Runs unmodified clients against a network of this machine: `tests/clients/run.sh [path of cairn]`, as `make clients` does.
# Versions are pinned in package-lock.json, requirements-*.txt and subxt/Cargo.lock. What is installed is kept in
# target/clients; CLIENTS names some of pjs, papi, ics23, pysub, asyncsub, examples, subxt.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
cairn=${1:-"$here/../../target/release/cairn"}
work=${CLIENTS_DIR:-"$here/../../target/clients"}
port=${CLIENTS_PORT:-19944}
url=ws://127.0.0.1:$port
clients=${CLIENTS:-pjs papi ics23 pysub asyncsub examples subxt}
mkdir -p "$work"
data=$(mktemp -d "$work/network.XXXXXX")

"$cairn" devnet --validators 1 --data-dir "$data/devnet" --base-port "$port" --log warn >"$data/log" 2>&1 &
node=$!
trap 'kill $node 2>/dev/null; wait $node 2>/dev/null || true; rm -rf "$data"' EXIT

# Block 1 there means that everything runs.
ask='{"jsonrpc":"2.0","id":1,"method":"chain_getBlockHash","params":[1]}'
for _ in $(seq 100); do
    curl -s -m 2 -H 'content-type: application/json' -d "$ask" "http://127.0.0.1:$port" | grep -q '"result":"0x' && break
    kill -0 $node || { cat "$data/log"; exit 1; }
    sleep 0.5
done

# By the lock file. `npm ci` would refuse one that names the optional packages of this system alone.
install_javascript() {
    mkdir -p "$work/js"
    cp "$here"/*.mjs "$here"/package.json "$here"/package-lock.json "$work/js/"
    [ -d "$work/js/node_modules" ] ||
        (cd "$work/js" && npm install --no-save --ignore-scripts --no-audit --no-fund --loglevel=error)
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
    awk '/^```(js|python)$/ { on = 1; next } /^```$/ { on = 0 } on' "$here/../../docs/clients/$1.md"
}

examples() {
    install_javascript && install_python pysub || return 1
    example typescript >"$work/js/example.mjs" && node "$work/js/example.mjs" "$url" || return 1
    example python >"$work/example.py" && "$work/pysub/bin/python" "$work/example.py" "$url"
}

rust() {
    # The client is generated from the metadata of the node.
    cp -r "$here/subxt" "$work/"
    install_javascript && node "$work/js/metadata.mjs" "$url" "$work/subxt/metadata.scale" || return 1
    (cd "$work/subxt" && CARGO_TARGET_DIR="$work/subxt-target" cargo build --locked) || return 1
    for backend in default legacy chainhead archive; do
        "$work/subxt-target/debug/cairn-subxt" "$url" "$backend" || return 1
    done
}

failed=()
for client in $clients; do
    echo "== $client"
    case $client in
        pjs | papi | ics23) javascript "$client" || failed+=("$client") ;;
        pysub | asyncsub) python "$client" || failed+=("$client") ;;
        examples) examples || failed+=("$client") ;;
        subxt) rust || failed+=("$client") ;;
    esac
done
[ ${#failed[@]} -eq 0 ] || { echo "failed: ${failed[*]}"; exit 1; }
