//! A worker inside the test's own process.

use pgtopic::{
    config::{Config, DeliveryConfig, WorkerConfig},
    store::Store,
    worker::{self, WorkerError},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::LIMIT;

/// A running worker. It is cut off when dropped.
pub struct Broker {
    shutdown: CancellationToken,
    running: JoinHandle<Result<(), WorkerError>>,
}

/// Loopback is allowed. Delays are 0.2 s at most, unless a webhook says otherwise.
pub fn quick_delivery() -> DeliveryConfig {
    DeliveryConfig {
        backoff_factor: 0.2,
        allow_networks: vec!["127.0.0.0/8".parse().unwrap()],
        ..Config::default().delivery
    }
}

fn config(concurrency: usize) -> WorkerConfig {
    WorkerConfig { concurrency, shutdown_seconds: 10, ..Config::default().worker }
}

impl Broker {
    /// Starts one with 100 slots.
    pub fn start(store: Store) -> Self {
        Self::with(store, 100, quick_delivery())
    }

    /// Starts one.
    pub fn with(store: Store, concurrency: usize, delivery: DeliveryConfig) -> Self {
        Self::of(store, config(concurrency), delivery)
    }

    /// Starts one that sends nothing until somebody has switched sending on.
    pub fn paused(store: Store) -> Self {
        Self::of(store, WorkerConfig { start_paused: true, ..config(100) }, quick_delivery())
    }

    /// Starts one that sends these topics only.
    pub fn of_topics(store: Store, topics: &[&str]) -> Self {
        let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        Self::of(store, WorkerConfig { topics, ..config(100) }, quick_delivery())
    }

    fn of(store: Store, config: WorkerConfig, delivery: DeliveryConfig) -> Self {
        let shutdown = CancellationToken::new();
        let token = shutdown.clone();
        let retention = Config::default().retention;
        let running =
            tokio::spawn(async move { worker::run(store, &config, &delivery, &retention, token).await });
        Self { shutdown, running }
    }

    /// Whether it has not ended by itself.
    pub fn is_running(&self) -> bool {
        !self.running.is_finished()
    }

    /// Cuts it off, and waits until it is gone. Like a killed process, it settles and releases
    /// nothing.
    pub async fn kill(mut self) {
        self.running.abort();
        // The task was cancelled, unless it had ended before.
        let _ = (&mut self.running).await;
    }

    /// Asks it to stop and waits until it has.
    pub async fn stop(mut self) {
        self.shutdown.cancel();
        tokio::time::timeout(LIMIT, &mut self.running).await.expect("it stops").unwrap().unwrap();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.running.abort();
    }
}
