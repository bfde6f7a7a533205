//! The screen Now: is everything well, and if not, what is wrong and what helps.

use askama::Template;
use axum::http::Method;
use jiff::Timestamp;

use super::{
    attention::{self, Facts, Item},
    failure::Failure,
    frame::{Screen, Section},
    text::{self, Badge},
    visitor::Visitor,
};
use crate::domain::{
    dead_letter::DeadLetterFilter,
    job::{JobFilter, JobState},
    latency::quantile,
    page::PageRequest,
    stats::{Figures, Stats, WINDOW_SECONDS},
    webhook::WebhookFilter,
};

/// How many webhooks and topics are looked at.
const LOOKED_AT: i64 = 1000;
/// How many of the newest dead letters are looked at.
const DEAD_LETTERS: i64 = 50;
/// How many failed jobs are shown.
const FAILED_JOBS: i64 = 5;
/// For how long a failed job is shown, in seconds.
const FAILED_JOBS_FOR: i64 = 86_400;
/// How many webhooks are shown.
const WEBHOOKS_SHOWN: usize = 12;

/// A figure with its name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tile {
    name: &'static str,
    value: String,
    unit: &'static str,
}

/// A webhook in the table.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    id: i64,
    name: String,
    badge: Badge,
    delivered: String,
    failed: String,
    p99: String,
    owed: String,
    oldest: String,
}

#[derive(Template)]
#[template(path = "now.html")]
struct View<'a> {
    tiles: Vec<Tile>,
    items: Vec<Item>,
    rows: Vec<Row>,
    more_rows: usize,
    /// Whether there were more webhooks than were looked at.
    partial: bool,
    sampled: Option<String>,
    has_topics: bool,
    has_webhooks: bool,
    schema: &'a str,
}

pub(super) async fn show(visitor: Visitor) -> Result<Screen, Failure> {
    let reads = [
        (&Method::GET, "/webhooks"),
        (&Method::GET, "/topics"),
        (&Method::GET, "/jobs"),
        (&Method::GET, "/dead-letter"),
    ];
    let broker = visitor.broker(&reads)?;
    let page = |limit| PageRequest { limit: Some(limit), after: None };
    let webhooks = broker.list_webhooks(&WebhookFilter::default(), page(LOOKED_AT)).await?;
    let topics = broker.list_topics(page(LOOKED_AT)).await?;
    let failed = JobFilter { state: Some(JobState::Failed), ..JobFilter::default() };
    let mut jobs = broker.list_jobs(&failed, page(FAILED_JOBS)).await?.items;
    let newest = broker.list_dead_letters(&DeadLetterFilter::default(), page(DEAD_LETTERS)).await?;
    let (mut stats, mut workers, mut not_sending) = (None, None, None);
    if visitor.sees_all() {
        stats = Some(broker.get_stats(None).await?);
        workers = Some(broker.list_workers().await?.items);
        not_sending = broker.get_sending().await?.1;
    }
    let now = Timestamp::now();
    let lately = |at: Timestamp| now.as_second() - at.as_second() < FAILED_JOBS_FOR;
    jobs.retain(|job| job.finished_at.is_some_and(lately));
    let facts = Facts {
        now,
        api: &visitor.api,
        not_sending,
        workers: workers.as_deref(),
        topics: &topics.items,
        webhooks: &webhooks.items,
        dead_letters: &newest.items,
        failed_jobs: &jobs,
    };
    let rows = stats.as_ref().map(|stats| rows(stats, now)).unwrap_or_default();
    let view = View {
        tiles: stats.as_ref().map(|stats| tiles(&stats.totals, now)).unwrap_or_default(),
        items: attention::judge(&facts),
        more_rows: rows.len().saturating_sub(WEBHOOKS_SHOWN),
        rows: rows.into_iter().take(WEBHOOKS_SHOWN).collect(),
        partial: webhooks.next.is_some(),
        sampled: stats.and_then(|stats| stats.sampled_at).map(|at| text::age(now, at)),
        has_topics: !topics.items.is_empty(),
        has_webhooks: !webhooks.items.is_empty(),
        schema: broker.schema_name(),
    };
    Screen::live("Now", Section::Now, &view)
}

/// How many a second, of a number in the window.
// The numbers are small enough.
#[allow(clippy::cast_precision_loss)]
pub(super) fn per_second(number: i64) -> f64 {
    number as f64 / WINDOW_SECONDS as f64
}

/// The figures of a topic, a webhook or all.
pub(super) fn tiles(figures: &Figures, now: Timestamp) -> Vec<Tile> {
    let latency = |part| quantile(&figures.latency, part).map_or_else(|| "–".to_owned(), text::milliseconds);
    let backlog = &figures.backlog;
    let published = figures.published_per_second.map_or_else(|| "–".to_owned(), text::rate);
    let oldest = backlog.oldest_owed_at.map_or_else(|| "–".to_owned(), |at| text::age(now, at));
    let tile = |name, value, unit| Tile { name, value, unit };
    vec![
        tile("Published", published, "/s"),
        tile("Delivered", text::rate(per_second(figures.accepted)), "/s"),
        tile("Failed", text::rate(per_second(figures.failed)), "/s"),
        tile("p50", latency(0.5), ""),
        tile("p99", latency(0.99), ""),
        tile("Owed", text::count(backlog.owed, backlog.owed_capped), ""),
        tile("Oldest owed", oldest, ""),
        tile("Dead letters", text::count(backlog.dead_letters, backlog.dead_letters_capped), ""),
    ]
}

fn rows(stats: &Stats, now: Timestamp) -> Vec<Row> {
    let none = || "–".to_owned();
    let row = |webhook: &crate::domain::stats::WebhookFigures| {
        let figures = &webhook.figures;
        Row {
            id: webhook.webhook_id,
            name: format!("{}:{}", webhook.topic, webhook.webhook),
            badge: Badge::of_webhook(webhook.state),
            delivered: text::rate(per_second(figures.accepted)),
            failed: text::rate(per_second(figures.failed)),
            p99: quantile(&figures.latency, 0.99).map_or_else(none, text::milliseconds),
            owed: text::count(figures.backlog.owed, figures.backlog.owed_capped),
            oldest: figures.backlog.oldest_owed_at.map_or_else(none, |at| text::age(now, at)),
        }
    };
    stats.webhooks.iter().map(row).collect()
}
