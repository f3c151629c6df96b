//! Memory fetched before it is needed.

/// Has the processor fetch a value (without what it points to) while other work goes on: nothing waits for it.
///
/// A tree that is larger than the caches is a chain of waits, a hundred nanoseconds each, for who follows one path; whoever
/// follows many paths at once has them fetched side by side.
#[inline]
pub fn fetch_ahead<T: ?Sized>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        const LINE_BYTES: usize = 64;
        let first = core::ptr::from_ref(value).cast::<i8>();
        // From the beginning of its first line on: a value that lies across two lines is in both.
        let before = first.addr() % LINE_BYTES;
        let start = first.wrapping_sub(before);
        for offset in (0..before.saturating_add(size_of_val(value))).step_by(LINE_BYTES) {
            // SAFETY: every x86-64 processor has the instruction; it changes nothing that a program sees, whatever the address.
            #[allow(unsafe_code, reason = "a prefetch takes a pointer")]
            unsafe {
                _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(offset));
            }
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

#[cfg(test)]
mod tests {
    #[test]
    fn fetching_ahead_takes_values_of_any_size() {
        super::fetch_ahead::<[u8]>(&[]);
        super::fetch_ahead(&[7_u8; 1_000]);
        super::fetch_ahead("a text");
    }
}
