//! Work on slices, split over the cores; the answer is the same for any number of them.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{Builder, available_parallelism, scope};

/// More threads than this do not help a node whose writer is one thread.
const THREADS_MAX: usize = 16;

/// `work` on each chunk of `items`, the answers in the order of the chunks.
///
/// Threads take chunk after chunk until none is left; a single chunk, or a machine that gives no thread, is worked off in
/// place.
pub(crate) fn map_chunks<T: Sync, R: Send>(items: &[T], length: usize, work: impl Fn(&[T]) -> R + Sync) -> Vec<R> {
    let chunks: Vec<&[T]> = items.chunks(length.max(1)).collect();
    let threads = available_parallelism().map_or(1, NonZero::get).min(THREADS_MAX).min(chunks.len());
    if threads <= 1 {
        return chunks.into_iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let take = || {
        let mut done = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(chunk) = chunks.get(place) else { return done };
            done.push((place, work(chunk)));
        }
    };
    let mut answers = scope(|threads_of| {
        let spawned: Vec<_> = (1..threads)
            .filter_map(|_| Builder::new().name("ledger-work".into()).spawn_scoped(threads_of, take).ok())
            .collect();
        let mut answers = take();
        for thread in spawned {
            match thread.join() {
                Ok(done) => answers.extend(done),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        answers
    });
    answers.sort_unstable_by_key(|(place, _)| *place);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_the_order_of_the_chunks() {
        let items: Vec<u32> = (0..10_000).collect();
        let sums = map_chunks(&items, 7, |chunk| chunk.iter().sum::<u32>());
        let expected: Vec<u32> = items.chunks(7).map(|chunk| chunk.iter().sum()).collect();
        assert_eq!(sums, expected);
    }

    #[test]
    fn nothing_gives_no_answer() {
        assert_eq!(map_chunks(&[0; 0], 5, <[i32]>::len), Vec::new());
    }
}
