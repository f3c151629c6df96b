//! The same work on several threads at once.

use crate::priority::{BEHIND_BLOCKS, give_way};
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Threads that wait for work: new ones for each block would each fetch their memory anew. They are started when there is
/// something for them to do.
#[derive(Debug)]
pub struct Workers {
    name: &'static str,
    /// Threads that help whoever asks.
    helpers: usize,
    /// How many may ask at the same time without waiting for each other's helpers.
    callers: usize,
    /// Whether the threads give way, and callers take no part.
    is_behind: bool,
    pool: OnceLock<Option<ThreadPool>>,
}

impl Workers {
    /// So many threads for each of so many callers at a time, each caller itself included. Where there are none to be had, it
    /// does all the work.
    #[must_use]
    pub const fn new(name: &'static str, threads: usize, callers: usize) -> Self {
        Self { name, helpers: threads.saturating_sub(1), callers, is_behind: false, pool: OnceLock::new() }
    }

    /// The same with threads that [give way](give_way), and do the caller's share, too: nothing of the work takes a core from
    /// whoever is not to wait.
    #[must_use]
    pub const fn behind(mut self) -> Self {
        self.is_behind = true;
        self
    }

    /// As many threads as there are cores, and not more than a number.
    #[must_use]
    pub fn cores(max: usize) -> usize {
        std::thread::available_parallelism().map_or(1, NonZeroUsize::get).min(max)
    }

    fn pool(&self) -> Option<&ThreadPool> {
        let start = || {
            let (name, is_behind) = (self.name, self.is_behind);
            let own = if is_behind { self.count() } else { self.helpers };
            let builder = ThreadPoolBuilder::new().num_threads(own.saturating_mul(self.callers));
            let start = move |_| {
                if is_behind {
                    // A thread that may not give way does the work all the same.
                    give_way(BEHIND_BLOCKS).ok();
                }
            };
            builder.thread_name(move |number| format!("{name}-{number}")).start_handler(start).build().ok()
        };
        if self.helpers > 0 || self.is_behind { self.pool.get_or_init(start).as_ref() } else { None }
    }

    /// How many threads work for a caller, itself included.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.helpers.saturating_add(1)
    }

    /// Takes something large apart, beside what the caller does next where there is another thread.
    pub fn discard<T: Send + 'static>(&self, value: T) {
        match self.pool() {
            Some(pool) => pool.spawn(move || drop(value)),
            None => drop(value),
        }
    }

    /// Does the work on each item, whoever is free the next one, and returns the results in the order of the items.
    pub fn map<T: Sync, R: Send>(&self, items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
        let helpers = self.helpers.min(items.len().saturating_sub(1));
        let is_shared = helpers > 0 || (self.is_behind && !items.is_empty());
        let Some(pool) = (if is_shared { self.pool() } else { None }) else {
            return items.iter().map(work).collect();
        };
        let results: Vec<_> = items.iter().map(|_| Mutex::new(None)).collect();
        let next = AtomicUsize::new(0);
        let run = || {
            while let Some((item, result)) = items.iter().zip(&results).nth(next.fetch_add(1, Ordering::Relaxed)) {
                *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(work(item));
            }
        };
        let run_all = || {
            pool.in_place_scope(|scope| {
                (0..helpers).for_each(|_| scope.spawn(|_| run()));
                run();
            });
        };
        if self.is_behind {
            pool.install(run_all);
        } else {
            run_all();
        }
        results.into_iter().filter_map(|result| result.into_inner().unwrap_or_else(PoisonError::into_inner)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_items_for_any_number_of_threads() {
        let items: Vec<u32> = (0..1_000).collect();
        let expected: Vec<_> = items.iter().map(|item| u64::from(*item).pow(2)).collect();
        let workers =
            (0..4).flat_map(|threads| [Workers::new("test", threads, 1), Workers::new("test", threads, 1).behind()]);
        for workers in workers {
            assert_eq!(workers.map(&items, |item| u64::from(*item).pow(2)), expected, "{workers:?}");
            assert_eq!(workers.map(&[0_u32; 0], |item| *item), Vec::new());
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn work_that_gives_way_is_done_by_threads_that_do() {
        let niceness = || rustix::process::nice(0).unwrap();
        let behind = (niceness() + BEHIND_BLOCKS).min(crate::BEHIND_ALL);
        for threads in 1..4 {
            // Each thread takes one of the items and waits for the others.
            let all = std::sync::Barrier::new(threads);
            let items = vec![(); threads];
            let of_threads = |workers: Workers| {
                workers.map(&items, |()| {
                    all.wait();
                    niceness()
                })
            };
            assert_eq!(of_threads(Workers::new("test", threads, 1)), vec![niceness(); threads]);
            assert_eq!(of_threads(Workers::new("test", threads, 1).behind()), vec![behind; threads]);
        }
    }

    #[test]
    fn several_callers_share_the_threads() {
        let workers = Workers::new("test", 2, 2);
        let items: Vec<usize> = (0..100).collect();
        std::thread::scope(|scope| {
            let callers: Vec<_> = (0..4).map(|_| scope.spawn(|| workers.map(&items, |item| item + 1))).collect();
            for caller in callers {
                assert_eq!(caller.join().unwrap(), (1..=100).collect::<Vec<_>>());
            }
        });
    }

    #[test]
    fn threads_start_with_the_first_work_for_them() {
        let workers = Workers::new("test", 2, 1);
        assert_eq!(workers.map(&[1], |item| *item), [1]);
        assert!(workers.pool.get().is_none());
        assert_eq!(workers.map(&[1, 2], |item| *item), [1, 2]);
        assert!(workers.pool.get().is_some());
    }
}
