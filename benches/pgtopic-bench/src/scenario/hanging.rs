//! What many webhooks that never answer cost a good one. Each of them accepts connections and is
//! owed messages. There are more of them than slots.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use super::{Bench, CliError, Report};
use crate::{
    drain_run::wait_until,
    figures::{Latency, median},
    load::Load,
    process::Workers,
    receiver::Receiver,
    report::Row,
    scale::KEYS,
    sql::Insert,
    tally::Tally,
};

/// Messages a second to the good webhook.
const PER_SECOND: u64 = 20;

/// Messages that each of the others is owed, and over how many lanes.
const OWED: u64 = 100;
const LANES: u64 = 10;

/// How long the slots may take to fill.
const FILLED_AFTER: Duration = Duration::from_secs(10);

/// How long messages may still arrive after the last one was published.
const GRACE: Duration = Duration::from_secs(30);

/// One round.
struct Turn {
    published: u64,
    delivered: u64,
    latency: Latency,
    violations: u64,
}

pub(super) async fn run(bench: &Bench) -> Result<Report, CliError> {
    let mut turns = Vec::new();
    for _ in 0..bench.scale.rounds {
        turns.push(turn(bench).await?);
    }
    let of = |figure: fn(&Latency) -> f64| {
        median(&turns.iter().map(|turn| figure(&turn.latency)).collect::<Vec<_>>())
    };
    let row = Row::default()
        .count("hanging", "webhooks that hang", bench.scale.hanging_webhooks)
        .count("slots", "slots", bench.scale.concurrency as u64)
        .count("published", "good one, published", turns.iter().map(|turn| turn.published).sum())
        .count("delivered", "good one, delivered", turns.iter().map(|turn| turn.delivered).sum())
        .number("p50_ms", "good one, p50 ms", of(|latency| latency.p50), 1)
        .number("p90_ms", "good one, p90 ms", of(|latency| latency.p90), 1)
        .number("p99_ms", "good one, p99 ms", of(|latency| latency.p99), 1)
        .number("max_ms", "good one, max ms", of(|latency| latency.max), 1);
    Ok(Report {
        title: "hanging: many webhooks never answer, with messages waiting for them, beside a good one at 20 messages a second",
        rows: vec![row],
        violations: turns.iter().map(|turn| turn.violations).sum(),
        notes: vec![
            "Requests to those that hang last until their timeout (10 s). Medians of the rounds; counts of all rounds.",
            "What has not arrived 30 s after the last publication counts as if it had arrived then.",
        ],
    })
}

async fn turn(bench: &Bench) -> Result<Turn, CliError> {
    let hanging = bench.scale.hanging_webhooks;
    let messages = PER_SECOND * bench.scale.beside.as_secs();
    let all_hang = Arc::new(Tally::new(&vec![LANES; usize::try_from(hanging).unwrap_or_default()], 0));
    // Ids of messages begin after those of the others.
    let tracked = usize::try_from(hanging * OWED + messages * 2).unwrap_or_default();
    let good = Arc::new(Tally::new(&[KEYS], tracked));
    let endpoints = || 0..usize::try_from(hanging).unwrap_or_default();
    endpoints().for_each(|endpoint| all_hang.hang(endpoint));
    let (never, receiver) = (Receiver::start(&all_hang)?, Receiver::start(&good)?);

    let database = bench.server.create().await?;
    bench.progress.step("publishing to webhooks that hang".to_owned(), hanging);
    let topics = database.topics_with_webhook("hanging-", hanging, &never.url_of_topic()).await?;
    for (done, topic) in topics.into_iter().enumerate() {
        database.fill(topic, OWED, LANES, |_| {}).await?;
        bench.progress.done(done as u64 + 1);
    }
    let topic = database.topic("good").await?;
    database.webhook(topic, &receiver.url(0)).await?;
    database.checkpoint().await?;

    let mut workers = Workers::start(1, &database, bench.scale.concurrency, None).await?;
    // Some slots may be kept free for others.
    let enough = hanging.min(bench.scale.concurrency as u64 / 2);
    let filled = || endpoints().map(|endpoint| all_hang.requests(endpoint)).sum::<u64>() >= enough;
    wait_until(&mut workers, FILLED_AFTER, "the slots to fill", filled).await?;

    let published = Arc::new(AtomicU64::new(0));
    let load = Load {
        insert: Insert::Message,
        topic_id: topic,
        clients: 1,
        keys: KEYS,
        length: bench.scale.beside,
        per_second: Some(PER_SECOND),
        published: Arc::clone(&published),
        tally: Some(Arc::clone(&good)),
    };
    bench.progress.step("publishing to the good one".to_owned(), messages);
    let published = load.run(&database).await?.messages;
    // If something does not arrive in time, that is a result.
    let _ = wait_until(&mut workers, GRACE, "the last messages", || good.requests(0) >= published).await;
    workers.check()?;
    let latency = Latency::of(&good.journeys_so_far());
    let delivered = good.requests(0);
    workers.stop().await?;
    drop((never, receiver));
    bench.server.drop(database).await?;
    Ok(Turn { published, delivered, latency, violations: good.violations() })
}
