//! The same work on several threads at once.

use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Threads that wait for work: new ones for each block would each fetch their memory anew.
pub(super) struct Workers {
    /// Those besides the one that asks.
    pool: Option<ThreadPool>,
}

impl Workers {
    /// So many threads, the one that asks included. Where there are none to be had, that one does all the work.
    pub(super) fn new(threads: usize) -> Self {
        let others = threads.saturating_sub(1);
        let builder = ThreadPoolBuilder::new().num_threads(others).thread_name(|number| format!("state-{number}"));
        Self { pool: if others > 0 { builder.build().ok() } else { None } }
    }

    /// How many threads there are, the one that asks included.
    pub(super) fn count(&self) -> usize {
        self.pool.as_ref().map_or(1, |pool| pool.current_num_threads().saturating_add(1))
    }

    /// Takes something large apart, beside what the caller does next where there is another thread.
    pub(super) fn discard<T: Send + 'static>(&self, value: T) {
        match &self.pool {
            Some(pool) => pool.spawn(move || drop(value)),
            None => drop(value),
        }
    }

    /// Does the work on each item, whoever is free the next one, and returns the results in the order of the items.
    pub(super) fn map<T: Sync, R: Send>(&self, items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
        let Some(pool) = self.pool.as_ref().filter(|_| items.len() > 1) else {
            return items.iter().map(work).collect();
        };
        let results: Vec<_> = items.iter().map(|_| Mutex::new(None)).collect();
        let next = AtomicUsize::new(0);
        let run = || {
            while let Some((item, result)) = items.iter().zip(&results).nth(next.fetch_add(1, Ordering::Relaxed)) {
                *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(work(item));
            }
        };
        pool.in_place_scope(|scope| {
            (0..pool.current_num_threads()).for_each(|_| scope.spawn(|_| run()));
            run();
        });
        results.into_iter().filter_map(|result| result.into_inner().unwrap_or_else(PoisonError::into_inner)).collect()
    }
}
