//! What is read of the database.

use std::collections::BTreeMap;

use jiff::Timestamp;
use metrics::{Recorder as _, SharedString};
use metrics_exporter_prometheus::PrometheusRecorder;

use super::{
    recorder::{METADATA, key, number, recorder, series},
    table::{
        BACKGROUND_RUN_AGE, DEAD_LETTERS, DELIVERIES_OWED, JOBS, LANES, MESSAGES_INSERTED, Metric,
        NOTIFICATION_QUEUE_USAGE, OLDEST_OWED_AGE, OLDEST_PUBLISHER_AGE, OLDEST_SNAPSHOT_AGE, Source,
        TABLE_DEAD_TUPLES, WEBHOOK_STATE, WORKERS,
    },
};
use crate::{
    config::PerWebhook,
    domain::{
        gauges::{GaugeValue, GaugeWord, Gauges},
        health::{Backlog, HealthState},
        stats::WebhookFigures,
        worker::WorkerState,
    },
};

/// The gauges of the database, as Prometheus reads them. Nothing is kept of earlier ones.
pub fn render_gauges(gauges: &Gauges, per_webhook: PerWebhook) -> String {
    let page = Page(recorder(Source::Database, None));
    let named = per_webhook.names(gauges.webhooks.len());
    // Without the label, the webhooks of a topic are one.
    let mut rows: BTreeMap<(&str, Option<&str>), Row> = BTreeMap::new();
    for figures in &gauges.webhooks {
        let webhook = named.then_some(figures.webhook.as_str());
        rows.entry((&figures.topic, webhook)).or_default().add(figures);
    }
    for ((topic, webhook), row) in rows {
        page.row([Some(topic), webhook], &row, gauges.read_at);
    }
    for state in WorkerState::ALL {
        let workers = gauges.workers.iter().filter(|worker| **worker == state).count();
        page.set(&WORKERS, &[state.as_str()], number(workers));
    }
    for value in &gauges.values {
        page.value(value);
    }
    page.0.handle().render()
}

/// What is told of a webhook, or of all webhooks of a topic.
#[derive(Default)]
struct Row {
    backlog: Backlog,
    states: BTreeMap<HealthState, usize>,
}

impl Row {
    fn add(&mut self, figures: &WebhookFigures) {
        self.backlog.add(&figures.figures.backlog);
        *self.states.entry(figures.state).or_default() += 1;
    }
}

struct Page(PrometheusRecorder);

impl Page {
    fn row(&self, names: [Option<&str>; 2], row: &Row, read_at: Timestamp) {
        let set = |metric: &Metric, word: Option<&'static str>, value| {
            let names = names.map(|name| name.map(|name| SharedString::from(name.to_owned())));
            let key = key(metric, names.into_iter().chain(word.map(|word| Some(SharedString::from(word)))));
            self.0.register_gauge(&key, &METADATA).set(value);
        };
        let Backlog { owed, oldest_owed_at, lanes, dead_letters, .. } = row.backlog;
        set(&DELIVERIES_OWED, None, whole(owed));
        let age = oldest_owed_at.map_or(0.0, |at| read_at.duration_since(at).as_secs_f64().max(0.0));
        set(&OLDEST_OWED_AGE, None, age);
        set(&DEAD_LETTERS, None, whole(dead_letters));
        let states = [
            ("ready", lanes.ready),
            ("claimed", lanes.claimed),
            ("waiting", lanes.waiting),
            ("halted", lanes.halted),
        ];
        for (state, lanes) in states {
            set(&LANES, Some(state), whole(lanes));
        }
        for (state, webhooks) in &row.states {
            set(&WEBHOOK_STATE, Some(state.as_str()), number(*webhooks));
        }
    }

    fn value(&self, value: &GaugeValue) {
        let of: Vec<&str> = value.of.iter().map(String::as_str).collect();
        let metric = match value.word {
            GaugeWord::MessagesInserted => return self.count(&MESSAGES_INSERTED, value.value),
            GaugeWord::NotificationQueue => &NOTIFICATION_QUEUE_USAGE,
            GaugeWord::OldestSnapshot => &OLDEST_SNAPSHOT_AGE,
            GaugeWord::OldestPublisher => &OLDEST_PUBLISHER_AGE,
            GaugeWord::Jobs => &JOBS,
            GaugeWord::DeadTuples => &TABLE_DEAD_TUPLES,
            GaugeWord::BackgroundRun => &BACKGROUND_RUN_AGE,
        };
        self.set(metric, &of, value.value);
    }

    fn set(&self, metric: &Metric, words: &[&str], value: f64) {
        self.0.register_gauge(&series(metric, words), &METADATA).set(value);
    }

    fn count(&self, metric: &Metric, value: f64) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count below 2^52")]
        let count = value as u64;
        self.0.register_counter(&series(metric, &[]), &METADATA).absolute(count);
    }
}

/// A number as Prometheus has it.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn whole(count: i64) -> f64 {
    count as f64
}
