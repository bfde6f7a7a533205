//! One run under load: publishers and a worker side by side.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use super::{
    Bench, CliError,
    drain_run::{limit, wait_until},
    failed,
    figures::{Latency, Samples, rate},
    load::Load,
    meter::{Cost, Meter},
    process::{LOOK, Workers},
    receiver::Receiver,
    sql::Insert,
    tally::Tally,
};

/// How long publishers run before anything counts.
const WARM_UP: Duration = Duration::from_secs(1);

/// Of how many messages the times are kept, for each second of the run.
const TRACKED_PER_SECOND: u64 = 20_000;

/// What is run.
#[derive(Debug, Clone, Copy)]
pub(super) struct LoadRun {
    pub(super) clients: usize,
    /// How many partition keys they choose from.
    pub(super) keys: u64,
    pub(super) length: Duration,
    /// Messages a second; as many as there can be without.
    pub(super) per_second: Option<u64>,
    /// Whether another transaction holds its snapshot all the while.
    pub(super) held_snapshot: bool,
    /// Messages owed to an endpoint that never answers.
    pub(super) hanging: u64,
}

/// How it went.
pub(super) struct Loaded {
    pub(super) published_per_second: f64,
    pub(super) delivered_per_second: f64,
    /// Messages published and not delivered when publishing ended.
    pub(super) lag: u64,
    /// How long the worker took to deliver these.
    pub(super) caught_up: Duration,
    pub(super) latency: Latency,
    /// In the first and in the last quarter of the time.
    pub(super) quarters: [Quarter; 2],
    pub(super) cost: Cost,
    pub(super) violations: u64,
}

/// A part of the time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quarter {
    pub(super) delivered_per_second: f64,
    pub(super) latency: Latency,
}

impl LoadRun {
    /// As many messages as so many clients can publish, over the usual number of keys.
    pub(super) fn new(clients: usize, length: Duration) -> Self {
        let keys = super::scale::KEYS;
        Self { clients, keys, length, per_second: None, held_snapshot: false, hanging: 0 }
    }

    /// Runs it, then waits until everything is delivered.
    pub(super) async fn run(&self, bench: &Bench) -> Result<Loaded, CliError> {
        let database = bench.server.create().await?;
        let tracked = TRACKED_PER_SECOND * (self.length + WARM_UP).as_secs();
        let tracked = tracked.min(self.per_second.map_or(u64::MAX, |rate| tracked.min(rate * 1_000)));
        let tally = Arc::new(Tally::new(
            &[self.keys, super::scale::KEYS],
            usize::try_from(tracked + self.hanging).unwrap_or_default(),
        ));
        let receiver = Receiver::start(&tally)?;
        if self.hanging > 0 {
            tally.hang(1);
            let topic = database.topic("hanging").await?;
            database.webhook(topic, &receiver.url(1)).await?;
            bench.progress.step("publishing to the endpoint that hangs".to_owned(), self.hanging);
            database.fill(topic, self.hanging, super::scale::KEYS, |done| bench.progress.done(done)).await?;
        }
        let topic = database.topic("bench").await?;
        let webhook = database.webhook(topic, &receiver.url(0)).await?;
        database.checkpoint().await?;
        let snapshot = if self.held_snapshot {
            Some(database.connector.session().await?.hold_snapshot().await?)
        } else {
            None
        };
        let mut workers = Workers::start(1, &database, bench.scale.concurrency, None).await?;
        let meter = Meter::start(&bench.server, &database, workers.usage()).await?;

        let published = Arc::new(AtomicU64::new(0));
        let load = Load {
            insert: Insert::Message,
            topic_id: topic,
            clients: self.clients,
            keys: self.keys,
            length: self.length + WARM_UP,
            per_second: self.per_second,
            published: Arc::clone(&published),
            tally: Some(Arc::clone(&tally)),
        };
        bench.progress.step(
            format!("publishing and delivering, {} publisher(s)", self.clients),
            (self.length + WARM_UP).as_secs(),
        );
        let mut watch = Watch { tally: &tally, published: &published, rows: Vec::new() };
        tokio::select! {
            ended = load.run(&database) => { ended?; }
            error = watch.keep(bench, &mut workers) => return Err(error),
        }
        watch.look();
        let (ended, sent, arrived) = *watch.rows.last().unwrap_or(&(Duration::ZERO, 0, 0));
        let begun = Instant::now();
        let all = || tally.requests(0) >= sent;
        if let Err(error) = wait_until(&mut workers, limit(sent), "all messages", all).await {
            let arrived = tally.requests(0);
            let error = failed(format!("{error} ({arrived} of {sent} arrived)"));
            return Err(database.explain(webhook, error).await);
        }
        let caught_up = begun.elapsed();
        while !database.is_settled(webhook).await? {
            if begun.elapsed() > limit(sent) {
                let error = failed("something is still owed after everything was delivered".to_owned());
                return Err(database.explain(webhook, error).await);
            }
            tokio::time::sleep(LOOK * 5).await;
        }
        let reading = Meter::read(&bench.server, workers.usage());
        workers.stop().await?;
        if let Some(snapshot) = snapshot {
            snapshot.release().await?;
        }
        let cost = meter.finish(&reading, &database, sent).await?;
        drop(receiver);
        bench.server.drop(database).await?;

        let journeys = tally.journeys();
        let from = ended.saturating_sub(self.length);
        let part = |from: Duration, to: Duration| {
            let within = |journey: &&super::tally::Journey| (from..to).contains(&journey.committed);
            let counts = watch.delivered();
            Quarter {
                delivered_per_second: rate(counts.at(to) - counts.at(from), to.saturating_sub(from)),
                latency: Latency::of(journeys.iter().filter(within)),
            }
        };
        let whole = part(from, ended);
        Ok(Loaded {
            published_per_second: rate(watch.published().at(ended) - watch.published().at(from), self.length),
            delivered_per_second: whole.delivered_per_second,
            lag: sent.saturating_sub(arrived),
            caught_up,
            latency: whole.latency,
            quarters: [
                part(from, from + self.length / 4),
                part(ended.saturating_sub(self.length / 4), ended),
            ],
            cost,
            violations: tally.violations() + (tally.requests(0) - sent),
        })
    }
}

/// Looks at the counters now and then.
struct Watch<'a> {
    tally: &'a Tally,
    published: &'a AtomicU64,
    /// When, published, delivered.
    rows: Vec<(Duration, u64, u64)>,
}

impl Watch<'_> {
    /// Looks until a worker ends, which is an error.
    async fn keep(&mut self, bench: &Bench, workers: &mut Workers) -> CliError {
        let begun = Instant::now();
        loop {
            if let Err(error) = workers.check() {
                return error;
            }
            self.look();
            bench.progress.done(begun.elapsed().as_secs());
            tokio::time::sleep(LOOK * 2).await;
        }
    }

    fn look(&mut self) {
        // What was delivered first: a message that leaves in between must not count as delivered
        // before it was published.
        let delivered = self.tally.requests(0);
        self.rows.push((self.tally.elapsed(), self.published.load(Relaxed), delivered));
    }

    fn published(&self) -> Samples {
        self.rows.iter().map(|(at, published, _)| (*at, *published)).collect()
    }

    fn delivered(&self) -> Samples {
        self.rows.iter().map(|(at, _, delivered)| (*at, *delivered)).collect()
    }
}
