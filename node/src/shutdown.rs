//! When to stop: a signal, or the end of the process that started this one.

use std::io::Read as _;
use tokio::sync::oneshot;

/// Whether the node ends when its standard input does, as nodes of a local network do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParentWatch {
    /// It does not matter.
    Off,
    /// End of input means that the parent has gone or wants a stop.
    StandardInput,
}

/// Waits for SIGTERM, SIGINT or, if asked for, the end of standard input; says which it was.
///
/// # Errors
/// The signals cannot be listened to.
pub fn requested(watch: ParentWatch) -> std::io::Result<impl Future<Output = &'static str> + Send> {
    let mut terminate = Signals::listen()?;
    let (gone, parent) = oneshot::channel::<()>();
    let mut held = None;
    if watch == ParentWatch::StandardInput {
        // A thread of its own: a read that never ends must not hold up the end of the runtime.
        std::thread::Builder::new().name("parent".into()).spawn(move || {
            let mut buffer = [0u8; 64];
            let mut input = std::io::stdin();
            while matches!(input.read(&mut buffer), Ok(read) if read > 0) {}
            drop(gone);
        })?;
    } else {
        // Kept inside the future, so that the receiver waits for ever.
        held = Some(gone);
    }
    Ok(async move {
        let _held = held;
        tokio::select! {
            signal = terminate.next() => signal,
            _ = parent => "the parent process",
        }
    })
}

#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> &'static str {
        match tokio::signal::ctrl_c().await {
            Ok(()) => "Ctrl-C",
            Err(_) => std::future::pending().await,
        }
    }
}
