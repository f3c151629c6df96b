#!/usr/bin/env bash
# Checks licences, duplicates and sources of the dependencies with cargo-deny, and known vulnerabilities where the database
# of advisories can be had. Installs cargo-deny if it is missing, which takes some minutes, once.
set -euo pipefail

version=0.20.2
if ! cargo deny --version 2>/dev/null | grep -q "$version"; then
    echo "installing cargo-deny $version"
    cargo install --locked --quiet cargo-deny --version "$version"
fi

cargo deny --locked check --hide-inclusion-graph bans licenses sources

# The advisories live in a repository of their own. Without a way to it the check cannot be made: say so, do not fail.
database=https://github.com/RustSec/advisory-db
if GIT_TERMINAL_PROMPT=0 timeout 20 git ls-remote --exit-code "$database" HEAD >/dev/null 2>&1; then
    cargo deny --locked check advisories
else
    echo "advisories: not checked, $database cannot be reached"
fi
