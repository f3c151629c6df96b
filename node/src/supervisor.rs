//! Names and watches the node's threads and tasks: the first that ends, or fails, or panics, stops the node.

use anyhow::{Context, anyhow};
use std::future::Future;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// Everything that must keep running.
#[derive(Debug, Default)]
pub struct Supervisor {
    parts: JoinSet<(&'static str, anyhow::Result<()>)>,
}

impl Supervisor {
    /// Runs a loop that blocks on a thread of its own.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn thread(
        &mut self,
        name: &'static str,
        body: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
    ) -> anyhow::Result<()> {
        let (done, outcome) = oneshot::channel();
        std::thread::Builder::new()
            .name(name.to_owned())
            // The supervisor has gone only when the node stops.
            .spawn(move || drop(done.send(body())))
            .with_context(|| format!("cannot start the {name} thread"))?;
        // A thread that panics drops its sender.
        self.parts.spawn(async move { (name, outcome.await.unwrap_or_else(|_| Err(anyhow!("panicked")))) });
        Ok(())
    }

    /// Runs a task.
    pub fn task(&mut self, name: &'static str, body: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        self.parts.spawn(async move { (name, body.await) });
    }

    /// Waits for the first part that ends; that it did is the error.
    pub async fn first_failure(&mut self) -> anyhow::Error {
        match self.parts.join_next().await {
            Some(Ok((name, Ok(())))) => anyhow!("the {name} part ended"),
            Some(Ok((name, Err(error)))) => error.context(format!("the {name} part failed")),
            Some(Err(error)) => anyhow!("a part panicked: {error}"),
            None => anyhow!("nothing is running"),
        }
    }

    /// Waits until all parts have ended, which they do once their mailboxes close.
    pub async fn drain(mut self) {
        while let Some(ended) = self.parts.join_next().await {
            if let Ok((name, Err(error))) = ended {
                tracing::debug!(name, %error, "ended while stopping");
            }
        }
    }
}
