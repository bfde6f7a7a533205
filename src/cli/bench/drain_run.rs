//! One drain: messages are owed already, then workers deliver them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Bench, CliError, failed,
    figures::{Samples, rate},
    meter::{Cost, Meter},
    process::{LOOK, Process, Workers},
    receiver::Receiver,
    tally::Tally,
};

/// What is drained.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drain {
    pub(super) messages: u64,
    /// Over how many lanes they are spread.
    pub(super) lanes: u64,
    pub(super) workers: usize,
    /// Messages of as many lanes that are owed to an endpoint that never answers.
    pub(super) hanging: u64,
}

/// How it went.
pub(super) struct Drained {
    /// From the first arrival to the last.
    pub(super) per_second: f64,
    /// The rates of the first tenth of all messages, of the second, and so on.
    pub(super) tenths: Vec<f64>,
    /// How fast the messages were published before.
    pub(super) filled_per_second: f64,
    pub(super) cost: Cost,
    pub(super) violations: u64,
}

impl Drain {
    /// One worker, nothing that hangs.
    pub(super) fn new(messages: u64, lanes: u64) -> Self {
        Self { messages, lanes, workers: 1, hanging: 0 }
    }

    /// Publishes, starts the workers while the webhook is paused, resumes it, and waits until nothing is owed.
    pub(super) async fn run(&self, bench: &Bench) -> Result<Drained, CliError> {
        let database = bench.server.create().await?;
        let tally = Arc::new(Tally::new(&[self.lanes, self.lanes], 0));
        let receiver = Receiver::start(&tally)?;

        let topic = database.topic("bench").await?;
        let webhook = database.webhook(topic, &receiver.url(0)).await?;
        database.pause(webhook, true).await?;
        bench.progress.step(format!("publishing over {} lanes", self.lanes), self.messages);
        let begun = Instant::now();
        database.fill(topic, self.messages, self.lanes, |done| bench.progress.done(done)).await?;
        let filled_per_second = rate(self.messages, begun.elapsed());
        if self.hanging > 0 {
            tally.hang(1);
            let topic = database.topic("hanging").await?;
            database.webhook(topic, &receiver.url(1)).await?;
            database.fill(topic, self.hanging, self.lanes, |_| {}).await?;
        }
        database.store.bench_checkpoint().await?;

        let mut workers = Workers::start(self.workers, &database, bench.scale.concurrency).await?;
        if self.hanging > 0 {
            let seen = || tally.requests(1) > 0;
            wait_until(&mut workers, Duration::from_secs(10), "a request that hangs", seen).await?;
        }
        let meter = Meter::start(&bench.server, &database, workers.usage()).await?;
        bench
            .progress
            .step(format!("delivering, {} lanes, {} worker(s)", self.lanes, self.workers), self.messages);
        database.pause(webhook, false).await?;
        let mut samples = Samples::default();
        let arrived = || {
            let requests = tally.requests(0);
            samples.add(tally.elapsed(), requests);
            bench.progress.done(requests);
            requests >= self.messages
        };
        if let Err(error) = wait_until(&mut workers, limit(self.messages), "all messages", arrived).await {
            return Err(database.explain(webhook, error).await);
        }
        let begun = Instant::now();
        while !database.is_settled(webhook).await? {
            if begun.elapsed() > Duration::from_secs(15) {
                let error = failed("something is still owed after everything was delivered".to_owned());
                return Err(database.explain(webhook, error).await);
            }
            tokio::time::sleep(LOOK * 5).await;
        }
        let reading = Meter::read(&bench.server, workers.usage());
        workers.stop().await?;
        let cost = meter.finish(&reading, &database, self.messages).await?;
        drop(receiver);
        bench.server.drop(database).await?;
        Ok(Drained {
            per_second: rate(self.messages, tally.span(0)),
            tenths: samples.rates_of_parts(10),
            filled_per_second,
            cost,
            violations: tally.violations() + (tally.requests(0) - self.messages),
        })
    }
}

/// Sends as many messages without a database: the same client in a process of its own, so many lanes side by side. Gives
/// requests a second, from the first arrival to the last.
pub(super) async fn client_only(bench: &Bench, messages: u64, lanes: u64) -> Result<f64, CliError> {
    let lanes = lanes.min(bench.scale.concurrency as u64);
    let tally = Arc::new(Tally::new(&[lanes], 0));
    let receiver = Receiver::start(&tally)?;
    let arguments = [
        "bench-client".to_owned(),
        "send".to_owned(),
        format!("--url={}", receiver.url(0)),
        format!("--messages={messages}"),
        format!("--lanes={lanes}"),
    ];
    bench.progress.step(format!("client only, {lanes} lanes"), messages);
    let mut client = Process::start("client", &arguments, &[])?;
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
    Ok(rate(messages, tally.span(0)))
}

/// Waits until a condition holds that nothing signals.
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

/// How long so many messages may take.
pub(super) fn limit(messages: u64) -> Duration {
    Duration::from_secs(30 + messages / 300)
}
