//! What many webhooks cost, if few of them are busy. Each webhook has a topic of its own.
//!
//! A round has three parts, with one worker: messages at a pace, messages as fast as publishers can,
//! and nothing at all.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use futures_util::future::try_join_all;

use super::{Bench, CliError, Report};
use crate::{
    drain_run::{limit, wait_until},
    figures::{Latency, median, rate},
    load::Load,
    meter::seconds_each,
    process::{Usage, Workers},
    receiver::Receiver,
    report::Row,
    scale::KEYS,
    server::Database,
    sql::Insert,
    tally::Tally,
};

/// How many webhooks are busy.
const BUSY: u64 = 10;

/// Messages a second of all busy webhooks together, while there is a pace.
const PER_SECOND: u64 = 50;

/// How many publishers there are in all.
const PUBLISHERS: u64 = 10;

/// How long messages are published before anything counts.
const WARM_UP: Duration = Duration::from_secs(1);

/// After the last message, the worker needs this long to go back to waiting.
const CALM: Duration = Duration::from_secs(3);

/// Of how many messages the times are kept, for each second as fast as publishers can.
const TRACKED_PER_SECOND: u64 = 20_000;

/// One round.
struct Turn {
    paced: Latency,
    delivered_per_second: f64,
    fast: Latency,
    /// Processor seconds a second of the worker and of PostgreSQL, while nothing is published.
    idle: [Option<f64>; 2],
    peak_mib: Option<f64>,
    violations: u64,
}

pub(super) async fn run(bench: &Bench) -> Result<Report, CliError> {
    let counts = &bench.scale.webhooks;
    let mut turns: Vec<Vec<Turn>> = counts.iter().map(|_| Vec::new()).collect();
    for _ in 0..bench.scale.rounds {
        for (count, turns) in counts.iter().zip(&mut turns) {
            turns.push(turn(bench, *count).await?);
        }
    }
    let violations = turns.iter().flatten().map(|turn| turn.violations).sum();
    let rows = counts.iter().zip(&turns).map(|(count, turns)| {
        let of = |figure: &dyn Fn(&Turn) -> f64| median(&turns.iter().map(figure).collect::<Vec<_>>());
        let if_known = |figure: &dyn Fn(&Turn) -> Option<f64>| {
            let known: Option<Vec<f64>> = turns.iter().map(figure).collect();
            known.map(|known| median(&known))
        };
        Row::default()
            .count("webhooks", "webhooks", *count)
            .count("busy", "busy ones", BUSY.min(*count))
            .number("p50_ms", "p50 ms at 50/s", of(&|turn| turn.paced.p50), 2)
            .number("p99_ms", "p99 ms at 50/s", of(&|turn| turn.paced.p99), 2)
            .number(
                "delivered_per_second",
                "10 publishers, delivered/s",
                of(&|turn| turn.delivered_per_second),
                0,
            )
            .number("fast_p50_ms", "10 publishers, p50 ms", of(&|turn| turn.fast.p50), 2)
            .number("fast_p99_ms", "10 publishers, p99 ms", of(&|turn| turn.fast.p99), 2)
            .number_if_known("idle_worker_cpu", "idle, worker CPU s/s", if_known(&|turn| turn.idle[0]), 4)
            .number_if_known(
                "idle_postgresql_cpu",
                "idle, PostgreSQL CPU s/s",
                if_known(&|turn| turn.idle[1]),
                4,
            )
            .number_if_known("worker_peak_mib", "worker, peak MiB", if_known(&|turn| turn.peak_mib), 1)
    });
    Ok(Report {
        title: "webhooks: many webhooks, each of its own topic, of which ten at most are busy; one worker",
        rows: rows.collect(),
        violations,
        notes: vec![
            "Idle: nothing is published; CPU seconds of the worker, and of all processes of PostgreSQL, a second.",
            "Medians of the rounds.",
        ],
    })
}

async fn turn(bench: &Bench, count: u64) -> Result<Turn, CliError> {
    let length = bench.scale.length;
    let busy = BUSY.min(count);
    let tracked = TRACKED_PER_SECOND * (length + WARM_UP).as_secs();
    // The last endpoint is that of all webhooks that nothing is published to.
    let endpoints = vec![KEYS; usize::try_from(busy + 1).unwrap_or_default()];
    let tally = Arc::new(Tally::new(&endpoints, usize::try_from(tracked).unwrap_or_default()));
    let receiver = Receiver::start(&tally)?;
    let quiet = endpoints.len() - 1;

    bench.progress.step(format!("creating {count} webhooks"), 1);
    let database = bench.server.create().await?;
    let topics = database.topics_with_webhook("busy-", busy, &receiver.url_of_topic()).await?;
    database.topics_with_webhook("quiet-", count - busy, &receiver.url(quiet)).await?;
    database.checkpoint().await?;
    let mut workers = Workers::start(1, &database, bench.scale.concurrency, None).await?;

    let part = Part { bench, database: &database, topics: &topics, tally: &tally };
    let (from, to, _) = part.publish(&mut workers, length + WARM_UP, Some(PER_SECOND)).await?;
    let paced = part.latency(from + WARM_UP, to);
    let (from, to, delivered_per_second) = part.publish(&mut workers, length, None).await?;
    let fast = part.latency(from, to);

    tokio::time::sleep(CALM).await;
    let costs = |usage: Usage| [usage.processor, bench.server.processor_time()];
    let (before, begun) = (costs(workers.usage()), Instant::now());
    bench.progress.step(format!("{count} webhooks, nothing is published"), bench.scale.idle.as_secs());
    tokio::time::sleep(bench.scale.idle).await;
    let (usage, idle) = (workers.usage(), begun.elapsed());
    let after = costs(usage);
    workers.stop().await?;
    drop(receiver);
    bench.server.drop(database).await?;
    Ok(Turn {
        paced,
        delivered_per_second,
        fast,
        idle: [0, 1].map(|which| seconds_each(before[which]?, after[which]?, idle)),
        peak_mib: usage.peak_mib(),
        violations: tally.violations() + tally.requests(quiet),
    })
}

/// What parts of a round have in common.
struct Part<'a> {
    bench: &'a Bench,
    database: &'a Database,
    topics: &'a [i64],
    tally: &'a Arc<Tally>,
}

impl Part<'_> {
    /// Publishes to all busy webhooks, and waits until everything has arrived. Returns from when to
    /// when messages were published, and how many were delivered a second meanwhile.
    async fn publish(
        &self,
        workers: &mut Workers,
        length: Duration,
        per_second: Option<u64>,
    ) -> Result<(Duration, Duration, f64), CliError> {
        let published = Arc::new(AtomicU64::new(0));
        let topics = self.topics.len() as u64;
        let load = |topic: &i64| Load {
            insert: Insert::Message,
            topic_id: *topic,
            clients: usize::try_from(PUBLISHERS / topics).unwrap_or(1),
            keys: KEYS,
            length,
            per_second: per_second.map(|rate| rate / topics),
            published: Arc::clone(&published),
            tally: Some(Arc::clone(self.tally)),
        };
        let what = if per_second.is_some() { "at a pace" } else { "as fast as can be" };
        self.bench.progress.step(format!("publishing {what}"), length.as_secs());
        let (from, before) = (self.tally.elapsed(), self.arrived());
        try_join_all(self.topics.iter().map(|topic| load(topic).run(self.database))).await?;
        let (to, after) = (self.tally.elapsed(), self.arrived());
        let published = published.load(Relaxed);
        let all = || self.arrived() - before >= published;
        wait_until(workers, limit(published), "all messages", all).await?;
        Ok((from, to, rate(after - before, to.saturating_sub(from))))
    }

    /// How many messages have arrived at the busy webhooks.
    fn arrived(&self) -> u64 {
        (0..self.topics.len()).map(|endpoint| self.tally.requests(endpoint)).sum()
    }

    fn latency(&self, from: Duration, to: Duration) -> Latency {
        let journeys = self.tally.journeys();
        Latency::of(journeys.iter().filter(|journey| (from..to).contains(&journey.committed)))
    }
}
