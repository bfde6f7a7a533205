//! The screen Now: is everything well, and if not, what is wrong and what helps.

use askama::Template;
use axum::http::Method;
use jiff::Timestamp;

use super::{
    attention::{self, Facts, Item},
    failure::Failure,
    frame::{Screen, Section},
    text::{self, Badge},
    topic::insert,
    visitor::Visitor,
};
use crate::domain::{
    dead_letter::DeadLetterFilter,
    job::{JobFilter, JobState},
    latency::quantile,
    page::PageRequest,
    stats::{Stats, WINDOW_SECONDS},
    webhook::WebhookFilter,
};

/// How many webhooks, and how many topics, are looked at.
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
struct Tile {
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
struct View {
    tiles: Vec<Tile>,
    counted: (String, bool),
    items: Vec<Item>,
    /// How many things are wrong beyond those that are shown.
    more_items: usize,
    rows: Vec<Row>,
    more_rows: usize,
    /// Of what there is more than was looked at.
    partial: Vec<&'static str>,
    has_topics: bool,
    has_webhooks: bool,
    /// A message of the topic `orders` as SQL.
    insert: String,
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
    let (items, more_items) = attention::judge(&facts);
    let rows = stats.as_ref().map(|stats| rows(stats, now)).unwrap_or_default();
    let partial = [("webhooks", webhooks.next.is_some()), ("topics", topics.next.is_some())];
    let view = View {
        tiles: stats.as_ref().map(|stats| tiles(stats, now)).unwrap_or_default(),
        counted: text::counted(now, stats.as_ref().and_then(|stats| stats.sampled_at)),
        items,
        more_items,
        more_rows: rows.len().saturating_sub(WEBHOOKS_SHOWN),
        rows: rows.into_iter().take(WEBHOOKS_SHOWN).collect(),
        partial: partial.into_iter().filter_map(|(word, is_partial)| is_partial.then_some(word)).collect(),
        has_topics: !topics.items.is_empty(),
        has_webhooks: !webhooks.items.is_empty(),
        insert: insert(broker.schema_in_sql(), "orders"),
    };
    Screen::live("Now", Section::Now, &view)
}

/// How many a second, of a number in the window.
// The numbers are small enough.
#[allow(clippy::cast_precision_loss)]
fn per_second(number: i64) -> f64 {
    number as f64 / WINDOW_SECONDS as f64
}

/// The figures of all. What nobody has counted yet is not known.
fn tiles(stats: &Stats, now: Timestamp) -> Vec<Tile> {
    let figures = &stats.totals;
    let latency = |part| quantile(&figures.latency, part).map_or_else(|| "–".to_owned(), text::milliseconds);
    let backlog = &figures.backlog;
    let published = figures.published_per_second.map_or_else(|| "–".to_owned(), text::rate);
    let oldest = backlog.oldest_owed_at.map_or_else(|| "–".to_owned(), |at| text::age(now, at));
    let is_counted = stats.sampled_at.is_some();
    let tile = |name, value, unit| {
        if is_counted { Tile { name, value, unit } } else { Tile { name, value: "–".to_owned(), unit: "" } }
    };
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
    let counted = |text: String| if stats.sampled_at.is_some() { text } else { none() };
    let row = |webhook: &crate::domain::stats::WebhookFigures| {
        let figures = &webhook.figures;
        Row {
            id: webhook.webhook_id,
            name: format!("{}:{}", webhook.topic, webhook.webhook),
            badge: Badge::of_webhook(webhook.state),
            delivered: counted(text::rate(per_second(figures.accepted))),
            failed: counted(text::rate(per_second(figures.failed))),
            p99: quantile(&figures.latency, 0.99).map_or_else(none, text::milliseconds),
            owed: counted(text::count(figures.backlog.owed, figures.backlog.owed_capped)),
            oldest: figures.backlog.oldest_owed_at.map_or_else(none, |at| text::age(now, at)),
        }
    };
    stats.webhooks.iter().map(row).collect()
}
