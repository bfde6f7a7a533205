//! What parts of this process report.

use std::{
    sync::{MutexGuard, PoisonError},
    time::Duration,
};

use metrics::{Key, Recorder as _};

use super::{
    Inner, Metrics,
    recorder::{METADATA, number, series},
    table::{
        BUILD_INFO, CLAIM_DURATION, CONNECTIONS, LOG_LINES_DROPPED, Metric, POOL_CONNECTIONS,
        PUBLISH_REQUESTS, SETTLE_BATCH_SIZE, SETTLE_DURATION, STALE_SETTLES, TAKEOVERS, WAKEUPS,
    },
    watched::Watched,
};
use crate::domain::metrics::{ConnectionUses, PoolConnections, PublishResult, WakeupSource};

impl Metrics {
    /// From now on, asks about a pool of connections to the database.
    pub(crate) fn watch_pool(&self, pool: impl Fn() -> PoolConnections + Send + 'static) {
        if let Some(inner) = &self.0 {
            inner.watched().pools.push(Box::new(pool));
        }
    }

    /// From now on, asks about the connections of the client of webhooks.
    pub(crate) fn watch_client(&self, client: impl Fn() -> ConnectionUses + Send + 'static) {
        if let Some(inner) = &self.0 {
            inner.watched().client = Some(Box::new(client));
        }
    }

    /// A request to publish has ended. `topic` is a name that exists, or empty.
    pub(crate) fn publish_ended(&self, topic: &str, result: PublishResult) {
        if self.0.is_some() {
            self.count(&series(&PUBLISH_REQUESTS, &[topic, result.as_str()]), 1);
        }
    }

    /// A statement that claims lanes has ended.
    pub(crate) fn claimed(&self, took: Duration) {
        self.record(&CLAIM_DURATION.alone(), took.as_secs_f64());
    }

    /// A settle of so many outcomes has ended.
    pub(crate) fn settle_ended(&self, outcomes: usize, took: Duration) {
        self.record(&SETTLE_DURATION.alone(), took.as_secs_f64());
        self.record(&SETTLE_BATCH_SIZE.alone(), number(outcomes));
    }

    /// The outcomes of so many claims were not written.
    pub(crate) fn settles_stale(&self, claims: u64) {
        if claims > 0 {
            self.count(&STALE_SETTLES.alone(), claims);
        }
    }

    /// The worker looks for what is to be sent.
    pub(crate) fn woke(&self, source: WakeupSource) {
        if self.0.is_some() {
            self.count(&series(&WAKEUPS, &[source.as_str()]), 1);
        }
    }

    /// The worker has taken another one for dead or hung.
    pub(crate) fn took_over(&self) {
        self.count(&TAKEOVERS.alone(), 1);
    }

    /// The worker may have so many lanes in flight.
    pub(crate) fn set_slots(&self, slots: usize) {
        if let Some(inner) = &self.0 {
            inner.slots.set(number(slots));
        }
    }

    /// The worker has so many lanes in flight.
    pub(crate) fn set_slots_in_use(&self, slots: usize) {
        if let Some(inner) = &self.0 {
            inner.slots_in_use.set(number(slots));
        }
    }

    /// Notes what is asked at each reading. Counters without names are noted too: they are there
    /// from the beginning, and are never forgotten.
    pub(super) fn sample(&self, inner: &Inner) {
        let (mut pools, mut uses) = (PoolConnections::default(), ConnectionUses::default());
        {
            let watched = inner.watched();
            for pool in &watched.pools {
                let PoolConnections { in_use, idle } = pool();
                pools.in_use += in_use;
                pools.idle += idle;
            }
            if let Some(client) = &watched.client {
                uses = client();
            }
        }
        let total = |metric: &Metric, words: &[&str], count| {
            inner.recorder.register_counter(&series(metric, words), &METADATA).absolute(count);
        };
        total(&CONNECTIONS, &["false"], uses.new);
        total(&CONNECTIONS, &["true"], uses.reused);
        total(&LOG_LINES_DROPPED, &[], crate::telemetry::lost_lines());
        for metric in [TAKEOVERS, STALE_SETTLES] {
            self.count(&metric.alone(), 0);
        }
        for source in WakeupSource::ALL {
            self.count(&series(&WAKEUPS, &[source.as_str()]), 0);
        }
        let gauge = |metric: &Metric, word, value| {
            inner.recorder.register_gauge(&series(metric, &[word]), &METADATA).set(value);
        };
        gauge(&POOL_CONNECTIONS, "in_use", number(pools.in_use));
        gauge(&POOL_CONNECTIONS, "idle", number(pools.idle));
        gauge(&BUILD_INFO, env!("CARGO_PKG_VERSION"), 1.0);
    }
}

impl Inner {
    fn watched(&self) -> MutexGuard<'_, Watched> {
        // A panic of a holder leaves the lists whole.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Metric {
    /// The key of the only series of a metric without labels.
    const fn alone(&self) -> Key {
        Key::from_static_name(self.name)
    }
}
