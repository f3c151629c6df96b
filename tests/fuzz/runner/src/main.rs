//! Runs one fuzz target under libFuzzer: the one that `CAIRN_FUZZ_TARGET` names. `scripts/fuzz.sh` builds and runs it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::OnceLock;

/// Counts what is allocated, so that targets can tell how much memory a decoder takes.
struct Counting;

// SAFETY: every call goes to the system's allocator as it is; counting touches two atomic numbers.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        cairn_fuzz::memory::allocated(layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        cairn_fuzz::memory::freed(layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();

fn choose() {
    let name = std::env::var("CAIRN_FUZZ_TARGET").unwrap_or_default();
    let Some(target) = cairn_fuzz::find(&name) else {
        let names: Vec<_> = cairn_fuzz::TARGETS.iter().map(|target| target.name).collect();
        eprintln!("CAIRN_FUZZ_TARGET must name one of: {}", names.join(" "));
        std::process::exit(2);
    };
    TARGET.get_or_init(|| target.run);
    #[cfg(feature = "mutants")]
    cairn_fuzz::set_mutant(std::env::var("CAIRN_FUZZ_MUTANT").ok().and_then(|number| number.parse().ok()).unwrap_or(0));
}

fuzz_target!(init: choose(), |data: &[u8]| {
    if let Some(run) = TARGET.get() {
        run(data);
    }
});
