#!/usr/bin/env bash
# Installs what the build needs besides Rust: a C++ compiler and libclang, from which the database's bindings are made.
# Does nothing where they are present. Debian and Ubuntu only; elsewhere it says what to install.
set -euo pipefail

has_libclang() {
    if [ -n "${LIBCLANG_PATH:-}" ]; then
        return 0
    fi
    local candidate
    for candidate in /usr/lib/llvm-*/lib/libclang*.so* /usr/lib/*-linux-gnu/libclang*.so* /usr/lib64/libclang*.so* \
        /usr/lib/libclang*.so* /usr/lib64/llvm*/lib*/libclang*.so* /Library/Developer/CommandLineTools/usr/lib/libclang.dylib \
        /opt/homebrew/opt/llvm/lib/libclang.dylib; do
        # libclang-cpp is another library.
        if [ -e "$candidate" ] && [[ "$candidate" != *libclang-cpp* ]]; then
            return 0
        fi
    done
    return 1
}

# The bindings need the compiler's own headers too; Debian packs them apart from the library.
has_clang_headers() {
    compgen -G '/usr/lib/llvm-*/lib/clang/*/include/stddef.h' >/dev/null ||
        compgen -G '/usr/lib/clang/*/include/stddef.h' >/dev/null
}

command -v cargo >/dev/null || {
    echo "cargo is missing: install Rust from https://rustup.rs, then run this again" >&2
    exit 1
}

packages=()
if ! command -v cc >/dev/null || ! command -v c++ >/dev/null; then
    packages+=(gcc g++ libc6-dev)
fi
if ! has_libclang || { command -v apt-get >/dev/null && ! has_clang_headers; }; then
    packages+=(libclang-dev)
fi
command -v make >/dev/null || packages+=(make)
if [ "${#packages[@]}" -eq 0 ]; then
    exit 0
fi

if ! command -v apt-get >/dev/null; then
    echo "missing: a C and C++ compiler or libclang. Install them and run this again, for example:" >&2
    echo "  Fedora:  dnf install gcc gcc-c++ clang-devel make" >&2
    echo "  Arch:    pacman -S gcc clang make" >&2
    echo "  Alpine:  apk add build-base clang-dev linux-headers" >&2
    echo "  macOS:   xcode-select --install" >&2
    exit 1
fi

root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "missing packages: ${packages[*]}. Install them as root: apt-get install ${packages[*]}" >&2
        exit 1
    fi
    root=(sudo)
fi
echo "installing ${packages[*]}"
"${root[@]}" apt-get update -qq
"${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"
