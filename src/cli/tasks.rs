//! The long-running parts of a process, and the signals that end the process.

use std::fmt::Display;

use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::CliError;

/// SIGINT and SIGTERM as tokens.
pub(super) struct Signals {
    /// Cancelled by the first signal: the command ends in good order.
    pub(super) shutdown: CancellationToken,
    /// Cancelled by the second signal: the process ends at once.
    pub(super) at_once: CancellationToken,
}

impl Signals {
    pub(super) fn listen() -> Result<Self, CliError> {
        let failed = |error| CliError::Failed(format!("cannot listen for signals: {error}"));
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let signals = Self { shutdown: CancellationToken::new(), at_once: CancellationToken::new() };
        let (shutdown, at_once) = (signals.shutdown.clone(), signals.at_once.clone());
        tokio::spawn(async move {
            for token in [shutdown, at_once] {
                tokio::select! {
                    _ = interrupt.recv() => tracing::info!("SIGINT: stopping; a second signal stops at once"),
                    _ = terminate.recv() => tracing::info!("SIGTERM: stopping; a second signal stops at once"),
                }
                token.cancel();
            }
        });
        Ok(signals)
    }
}

/// Named parts of a process. They run side by side and end together.
pub(super) struct Tasks {
    running: JoinSet<(&'static str, Result<(), String>)>,
    shutdown: CancellationToken,
}

impl Tasks {
    pub(super) fn new(shutdown: CancellationToken) -> Self {
        Self { running: JoinSet::new(), shutdown }
    }

    /// Starts a part. It must run until the token is cancelled.
    pub(super) fn spawn<E: Display>(
        &mut self,
        name: &'static str,
        part: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        self.running.spawn(async move { (name, part.await.map_err(|error| error.to_string())) });
    }

    /// Runs until every part has ended. A part that fails, or that ends before the token is
    /// cancelled, ends the others too.
    ///
    /// # Errors
    /// The first reason.
    pub(super) async fn join(mut self) -> Result<(), CliError> {
        let mut outcome = Ok(());
        while let Some(ended) = self.running.join_next().await {
            let early = !self.shutdown.is_cancelled();
            let reason = match ended {
                Ok((name, Err(reason))) => format!("{name}: {reason}"),
                Ok((name, Ok(()))) if early => format!("{name} ended without being asked to"),
                Ok((_, Ok(()))) => continue,
                Err(panic) => format!("a task failed: {panic}"),
            };
            self.shutdown.cancel();
            // The first reason is the cause. Later ones are consequences.
            if outcome.is_ok() {
                outcome = Err(CliError::Failed(reason));
            } else {
                tracing::error!("{reason}");
            }
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_part_that_ends_early_ends_the_others_and_is_named() {
        let shutdown = CancellationToken::new();
        let mut tasks = Tasks::new(shutdown.clone());
        let others = shutdown.clone();
        tasks.spawn("api", async move {
            others.cancelled().await;
            Ok::<_, String>(())
        });
        tasks.spawn("worker", async { Err("no database") });
        assert_eq!(tasks.join().await, Err(CliError::Failed("worker: no database".to_owned())));
        assert!(shutdown.is_cancelled());

        let mut tasks = Tasks::new(CancellationToken::new());
        tasks.spawn("worker", async { Ok::<_, String>(()) });
        assert!(tasks.join().await.unwrap_err().to_string().contains("worker ended"));
    }

    #[tokio::test]
    async fn parts_that_end_when_asked_are_a_success() {
        let shutdown = CancellationToken::new();
        let mut tasks = Tasks::new(shutdown.clone());
        let token = shutdown.clone();
        tasks.spawn("worker", async move {
            token.cancelled().await;
            Ok::<_, String>(())
        });
        shutdown.cancel();
        assert_eq!(tasks.join().await, Ok(()));
    }
}
