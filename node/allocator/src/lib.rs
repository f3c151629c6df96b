//! The memory allocator of every program that keeps state: mimalloc for all that is Rust. The database, which is C++, has that of
//! the system: with one for both, an idle node has a third more memory, and is not faster.
//!
//! A block needs some tens of MiB for a moment, and the next one needs them again. Given back to the system in between they
//! come back as pages of zeros, one page fault at a time: up to a twelfth of all processor time of an import. So what is free
//! stays with the process for [`KEPT_MS`].

use libmimalloc_sys::{mi_option_set_default, mi_option_t, mi_option_use_numa_nodes};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// For how long free memory stays with the process, in milliseconds: longer than from one block to the next on all but quiet
/// chains, and soon over after what needed a lot, such as opening a database.
pub const KEPT_MS: i32 = 10_000;

/// The allocator's option for it, `purge_delay`, has no name in the bindings: it is the one before this.
const PURGE_DELAY: mi_option_t = mi_option_use_numa_nodes - 1;

/// Has the allocator keep free memory for [`KEPT_MS`], unless the environment (`MIMALLOC_PURGE_DELAY`) says otherwise. To be
/// called once, before there are threads.
#[allow(unsafe_code, reason = "the allocator's options are set through C")]
pub fn keep_free_memory() {
    // SAFETY: the function stores a number in a table of the allocator, at an index below its length; that it does so without
    // a lock is why no other thread may call it at the same time.
    unsafe { mi_option_set_default(PURGE_DELAY, KEPT_MS.into()) }
}

#[cfg(test)]
mod tests {
    use super::{KEPT_MS, PURGE_DELAY, keep_free_memory};

    #[allow(unsafe_code, reason = "as above")]
    fn kept_ms() -> i64 {
        // SAFETY: it reads a number from the same table.
        unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) }
    }

    #[test]
    fn option_is_the_one_that_is_meant() {
        // What this version of the allocator documents: a test fails here when the order of options changes.
        assert_eq!(kept_ms(), 1_000);
        keep_free_memory();
        assert_eq!(kept_ms(), i64::from(KEPT_MS));
    }
}
