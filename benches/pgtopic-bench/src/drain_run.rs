//! One drain: messages are owed already, then workers deliver them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Bench, CliError,
    child::Role,
    console_page::ConsolePage,
    failed,
    figures::{Samples, rate},
    load,
    meter::{Cost, Meter},
    process::{LOOK, Process, Workers},
    receiver::Receiver,
    tally::Tally,
};

/// So many bytes of payload may take as long as one message.
const BYTES_OF_A_MESSAGE: usize = 16 << 10;

/// What is drained.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drain {
    pub(super) messages: u64,
    /// How many lanes they are spread over.
    pub(super) lanes: u64,
    pub(super) workers: usize,
    /// Threads of each worker. `None`: as many as there are cores.
    pub(super) threads: Option<usize>,
    /// Lanes in flight in one worker. `None`: as the scale says.
    pub(super) slots: Option<usize>,
    /// Webhooks of the topic. Each message goes to all of them.
    pub(super) webhooks: usize,
    /// How long the receiver takes to answer.
    pub(super) answer_after: Duration,
    /// How long the receiver waits after each piece of a body. Zero: it reads as fast as it can.
    pub(super) read_pause: Duration,
    /// Bytes of the text that fills each payload. `None`: as usual.
    pub(super) filler: Option<usize>,
    /// An endpoint that never answers is owed messages of this many lanes.
    pub(super) hanging: u64,
    /// A page of the console that is open meanwhile.
    pub(super) page: Option<&'static str>,
}

/// The result of a drain.
pub(super) struct Drained {
    /// Requests a second, from the first arrival to the last.
    pub(super) per_second: f64,
    /// The rates of the first tenth of all requests, of the second, and so on.
    pub(super) tenths: Vec<f64>,
    /// How fast the messages were published before.
    pub(super) filled_per_second: f64,
    pub(super) cost: Cost,
    pub(super) violations: u64,
    /// What the stream of the open page has sent, in bytes.
    pub(super) page_bytes: u64,
}

impl Drain {
    /// One worker, one webhook, nothing that hangs or is slow.
    pub(super) fn new(messages: u64, lanes: u64) -> Self {
        Self {
            messages,
            lanes,
            workers: 1,
            threads: None,
            slots: None,
            webhooks: 1,
            answer_after: Duration::ZERO,
            read_pause: Duration::ZERO,
            filler: None,
            hanging: 0,
            page: None,
        }
    }

    /// How many lanes may be in flight in one worker.
    fn slots(&self, bench: &Bench) -> usize {
        self.slots.unwrap_or(bench.scale.concurrency)
    }

    /// How many requests there are to make.
    fn requests(&self) -> u64 {
        self.messages * self.webhooks as u64
    }

    /// How long it may take. A large payload counts as many messages.
    fn limit(&self) -> Duration {
        let large = self.filler.unwrap_or_default() / BYTES_OF_A_MESSAGE;
        limit(self.requests() * (1 + large as u64))
    }

    /// Publishes, starts the workers while the webhooks are paused, resumes the webhooks, and waits
    /// until nothing is owed.
    pub(super) async fn run(&self, bench: &Bench) -> Result<Drained, CliError> {
        let database = bench.server.create().await?;
        let endpoints = vec![self.lanes; self.webhooks + 1];
        let tally = Tally::new(&endpoints, 0).answering_after(self.answer_after);
        let tally = Arc::new(tally.reading_slowly(self.read_pause));
        let receiver = Receiver::start(&tally)?;

        let topic = database.topic("bench").await?;
        let mut webhooks = Vec::new();
        for endpoint in 0..self.webhooks {
            let webhook = database.webhook(topic, &receiver.url(endpoint)).await?;
            database.pause(webhook, true).await?;
            webhooks.push(webhook);
        }
        bench.progress.step(format!("publishing over {} lanes", self.lanes), self.messages);
        let begun = Instant::now();
        let filler = self.filler.map_or_else(load::filler, load::filler_of);
        database
            .fill_with(&filler, topic, self.messages, self.lanes, |done| bench.progress.done(done))
            .await?;
        let filled_per_second = rate(self.messages, begun.elapsed());
        if self.hanging > 0 {
            tally.hang(self.webhooks);
            let topic = database.topic("hanging").await?;
            database.webhook(topic, &receiver.url(self.webhooks)).await?;
            database.fill(topic, self.hanging, self.lanes, |_| {}).await?;
        }
        database.checkpoint().await?;

        let mut workers = Workers::start(self.workers, &database, self.slots(bench), self.threads).await?;
        if self.hanging > 0 {
            let seen = || tally.requests(self.webhooks) > 0;
            wait_until(&mut workers, Duration::from_secs(10), "a request that hangs", seen).await?;
        }
        let page = match self.page {
            Some(path) => Some(ConsolePage::open(&database, path).await?),
            None => None,
        };
        let meter = Meter::start(&bench.server, &database, workers.usage()).await?;
        bench
            .progress
            .step(format!("delivering, {} lanes, {} worker(s)", self.lanes, self.workers), self.requests());
        for webhook in &webhooks {
            database.pause(*webhook, false).await?;
        }
        let mut samples = Samples::default();
        let arrived_in_all = || (0..self.webhooks).map(|endpoint| tally.requests(endpoint)).sum::<u64>();
        let arrived = || {
            let requests = arrived_in_all();
            samples.add(tally.elapsed(), requests);
            bench.progress.done(requests);
            requests >= self.requests()
        };
        if let Err(error) = wait_until(&mut workers, self.limit(), "all messages", arrived).await {
            return Err(database.explain(webhooks[0], error).await);
        }
        let begun = Instant::now();
        for webhook in webhooks {
            while !database.is_settled(webhook).await? {
                if begun.elapsed() > Duration::from_secs(15) {
                    let error = failed("something is still owed after everything was delivered".to_owned());
                    return Err(database.explain(webhook, error).await);
                }
                tokio::time::sleep(LOOK * 5).await;
            }
        }
        let reading = Meter::read(&bench.server, workers.usage());
        workers.stop().await?;
        let page_bytes = match page {
            Some(page) => page.close().await?,
            None => 0,
        };
        let cost = meter.finish(&reading, &database, self.requests()).await?;
        drop(receiver);
        bench.server.drop(database).await?;
        Ok(Drained {
            per_second: rate(self.requests(), tally.span(self.webhooks)),
            tenths: samples.rates_of_parts(10),
            filled_per_second,
            cost,
            page_bytes,
            violations: tally.violations() + (arrived_in_all() - self.requests()),
        })
    }
}

/// Runs all of them in each round, so that each has the same luck. Returns the rounds of each.
pub(super) async fn in_turns(bench: &Bench, drains: &[Drain]) -> Result<Vec<Vec<Drained>>, CliError> {
    let mut drained: Vec<Vec<Drained>> = drains.iter().map(|_| Vec::new()).collect();
    for _ in 0..bench.scale.rounds {
        for (drain, drained) in drains.iter().zip(&mut drained) {
            drained.push(drain.run(bench).await?);
        }
    }
    Ok(drained)
}

/// The rate of each round.
pub(super) fn rates(drained: &[Drained]) -> Vec<f64> {
    drained.iter().map(|drained| drained.per_second).collect()
}

/// Makes as many requests without a database. The same client runs in a process of its own. It has
/// as many lanes at once as the workers have slots. Returns requests a second, from the first
/// arrival to the last.
pub(super) async fn client_only(bench: &Bench, drain: &Drain) -> Result<f64, CliError> {
    let messages = drain.requests();
    let slots = drain.slots(bench) * drain.workers;
    let lanes = (drain.lanes * drain.webhooks as u64).min(slots as u64);
    let tally = Arc::new(Tally::new(&[lanes], 0).answering_after(drain.answer_after));
    let receiver = Receiver::start(&tally)?;
    let arguments = [
        "send".to_owned(),
        format!("--url={}", receiver.url(0)),
        format!("--messages={messages}"),
        format!("--lanes={lanes}"),
    ];
    bench.progress.step(format!("client only, {lanes} lanes"), messages);
    let mut client = Process::start("client", Role::Client, &arguments, &[])?;
    let begun = Instant::now();
    while tally.requests(0) < messages {
        client.check()?;
        if begun.elapsed() > limit(messages) {
            return Err(failed("the client alone did not send everything in time".to_owned()));
        }
        bench.progress.done(tally.requests(0));
        tokio::time::sleep(LOOK).await;
    }
    client.stop().await?;
    Ok(rate(messages, tally.span(1)))
}

/// Waits for a condition that nothing signals.
pub(super) async fn wait_until(
    workers: &mut Workers,
    limit: Duration,
    what: &str,
    mut holds: impl FnMut() -> bool,
) -> Result<(), CliError> {
    let begun = Instant::now();
    while !holds() {
        workers.check()?;
        if begun.elapsed() > limit {
            return Err(failed(format!("waited {} s in vain for {what}", limit.as_secs())));
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// How long this many messages may take.
pub(super) fn limit(messages: u64) -> Duration {
    Duration::from_secs(30 + messages / 300)
}
