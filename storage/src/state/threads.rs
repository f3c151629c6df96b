//! The same work on several threads at once.

use std::panic::resume_unwind;
use std::thread::{Builder, scope};

/// Does the work on each item, the first one on this thread, and returns the results in the order of the items. An item
/// for which there is no thread to be had is worked on here.
pub(super) fn map<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let Some((first, others)) = items.split_first() else { return Vec::new() };
    let work = &work;
    scope(|scope| {
        let spawn = |item| Builder::new().name("state".to_owned()).spawn_scoped(scope, move || work(item));
        let started: Vec<_> = others.iter().map(|item| (item, spawn(item))).collect();
        let mut results = vec![work(first)];
        for (item, thread) in started {
            results.push(match thread {
                Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
                Err(_) => work(item),
            });
        }
        results
    })
}
