//! How much memory a decoder takes, in proportion to what it was given.
//!
//! The runner installs an allocator that counts here. Without it nothing is counted and every check passes.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes allocated now.
static LIVE: AtomicUsize = AtomicUsize::new(0);

/// The most bytes allocated at once since [`bounded`] began.
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// Bytes that a decoder may take for each byte of input. The shortest extrinsic is four bytes on the wire and a shared slice
/// with its counters in memory; the shortest call in a batch is three bytes and as large as the largest.
const FACTOR: usize = 40;

/// Bytes that it may take besides: a list that claims to be long gets 16 KiB before its first item, at each of 32 levels of
/// nesting; error texts.
const BASE: usize = 600 << 10;

/// Notes an allocation.
pub fn allocated(bytes: usize) {
    let live = LIVE.fetch_add(bytes, Ordering::Relaxed).wrapping_add(bytes);
    PEAK.fetch_max(live, Ordering::Relaxed);
}

/// Notes that memory was given back.
pub fn freed(bytes: usize) {
    LIVE.fetch_sub(bytes, Ordering::Relaxed);
}

/// Runs a decoder on `len` bytes and checks what it took.
pub(crate) fn bounded<T>(len: usize, decode: impl FnOnce() -> T) -> T {
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let value = decode();
    let taken = PEAK.load(Ordering::Relaxed).saturating_sub(before);
    let limit = len.saturating_mul(FACTOR).saturating_add(BASE);
    assert!(taken <= limit, "{taken} bytes of memory for {len} bytes of input, at most {limit} are in proportion");
    value
}
