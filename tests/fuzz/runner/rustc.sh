#!/bin/sh
# What Cargo calls in place of rustc (RUSTC_WRAPPER): instruments our own crates for libFuzzer, and leaves the libraries below
# them at full speed. All of it is LLVM's and works on stable Rust.
case " $* " in
    *" --crate-name cairn_"*)
        exec "$@" \
            -Cpasses=sancov-module \
            -Cllvm-args=-sanitizer-coverage-level=4 \
            -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
            -Cllvm-args=-sanitizer-coverage-pc-table \
            -Cllvm-args=-sanitizer-coverage-trace-compares
        ;;
    *) exec "$@" ;;
esac
