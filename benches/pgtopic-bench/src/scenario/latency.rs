//! How long a message is on its way when little happens. It is compared with the smallest loop:
//! INSERT and NOTIFY in one transaction, and a process that LISTENs and POSTs. It is also compared
//! with the same loop where that process reads the row first. It must do so if not everybody who
//! may connect may know the message.
//!
//! All of them run the whole time and are measured in turns. The times are of one clock: publishers
//! and receiver are one process.

use std::sync::Arc;

use super::{Bench, CliError, Report};
use crate::{
    child::Role,
    client::READY,
    drain_run::wait_until,
    figures::{Latency, each, float, ratio},
    load::Load,
    process::{Process, Workers},
    receiver::Receiver,
    report::Row,
    scale::KEYS,
    server::Database,
    sql::Insert,
    tally::Tally,
};

/// Messages a second.
const PER_SECOND: u64 = 50;

/// A process that LISTENs and POSTs.
struct Loop {
    channel: &'static str,
    flags: &'static [&'static str],
}

/// What is measured.
const WAYS: [(&str, Option<Loop>); 3] = [
    ("pgtopic", None),
    ("smallest loop", Some(Loop { channel: "bench_smallest_loop", flags: &[] })),
    ("loop that reads", Some(Loop { channel: "bench_reading_loop", flags: &["--read"] })),
];

/// What the others are compared with.
const SMALLEST: usize = 1;

pub(super) async fn run(bench: &Bench) -> Result<Report, CliError> {
    let database = bench.server.create().await?;
    let messages = (bench.scale.length.as_secs() + 1) * PER_SECOND * bench.scale.rounds as u64;
    let tracked = usize::try_from(messages * 2).unwrap_or_default();
    let topic = database.topic("bench").await?;
    let (mut tallies, mut receivers, mut inserts, mut listeners) = (vec![], vec![], vec![], vec![]);
    for (_, way) in WAYS {
        let tally = Arc::new(Tally::new(&[KEYS], tracked));
        let receiver = Receiver::start(&tally)?;
        if let Some(way) = way {
            listeners.push(way.start(&database, &receiver.url(0)).await?);
            inserts.push(Insert::PlainAndNotify(way.channel.to_owned()));
        } else {
            database.webhook(topic, &receiver.url(0)).await?;
            inserts.push(Insert::Message);
        }
        tallies.push(tally);
        receivers.push(receiver);
    }
    let mut workers = Workers::start(1, &database, bench.scale.concurrency, None).await?;

    let mut costs = [(0.0, 0.0); WAYS.len()];
    let turns = (bench.scale.rounds * WAYS.len()) as u64;
    bench.progress.step(format!("{PER_SECOND} messages a second"), turns);
    for round in 0..bench.scale.rounds {
        for way in 0..WAYS.len() {
            let way = (round + way) % WAYS.len();
            let (wal_bytes, statements) = turn(bench, &database, topic, &inserts[way], &tallies[way]).await?;
            costs[way].0 += wal_bytes;
            costs[way].1 += statements;
            for listener in &mut listeners {
                listener.check()?;
            }
        }
        bench.progress.done((round as u64 + 1) * WAYS.len() as u64);
    }
    for tally in &tallies {
        let all = || tally.journeys().len() as u64 >= tally.requests(0) && tally.requests(0) > 0;
        wait_until(&mut workers, std::time::Duration::from_secs(10), "the last messages", all).await?;
    }
    workers.stop().await?;
    for listener in listeners {
        listener.stop().await?;
    }
    drop(receivers);
    bench.server.drop(database).await?;

    let latencies: Vec<Latency> = tallies.iter().map(|tally| Latency::of(&tally.journeys())).collect();
    let row = |way: usize| {
        let latency = latencies[way];
        Row::default()
            .text("way", "way", WAYS[way].0)
            .count("messages", "messages", latency.messages)
            .number("p50_ms", "p50 ms", latency.p50, 2)
            .number("p99_ms", "p99 ms", latency.p99, 2)
            .number("max_ms", "max ms", latency.max, 2)
            .number("p50_ratio", "p50 ratio", ratio(latency.p50, latencies[SMALLEST].p50), 2)
            .number("p99_ratio", "p99 ratio", ratio(latency.p99, latencies[SMALLEST].p99), 2)
            .number("wal_bytes_per_message", "WAL, bytes a message", each(costs[way].0, latency.messages), 0)
            .number(
                "statements_per_message",
                "statements (and round trips) a message",
                each(costs[way].1, latency.messages),
                2,
            )
    };
    Ok(Report {
        title: "latency: 50 messages a second, an idle worker; from the return of COMMIT to the arrival",
        rows: (0..WAYS.len()).map(row).collect(),
        violations: tallies[0].violations(),
        notes: vec![
            "Smallest loop: INSERT and NOTIFY in one transaction, one process that LISTENs and POSTs; no order, no retry.",
            "Loop that reads: the same, but it reads each row by its key; any role that may connect may LISTEN.",
            "What arrived before its publisher heard of the commit counts as 0.",
            "Statements: the publisher's own is one of them; the worker idles beside the loops, too.",
        ],
    })
}

impl Loop {
    /// Starts it, and waits until it listens.
    async fn start(&self, database: &Database, url: &str) -> Result<Process, CliError> {
        let mut arguments =
            vec!["listen".to_owned(), format!("--url={url}"), format!("--channel={}", self.channel)];
        arguments.extend(self.flags.iter().map(|flag| (*flag).to_owned()));
        let mut process = Process::start("listener", Role::Client, &arguments, &database.settings())?;
        process.wait_for_word(READY).await?;
        Ok(process)
    }
}

/// One turn of one of them. Returns the bytes of write-ahead log, and the statements that sessions
/// have reported.
async fn turn(
    bench: &Bench,
    database: &Database,
    topic_id: i64,
    insert: &Insert,
    tally: &Arc<Tally>,
) -> Result<(f64, f64), CliError> {
    let load = Load {
        insert: insert.clone(),
        topic_id,
        clients: 1,
        keys: KEYS,
        length: bench.scale.length,
        per_second: Some(PER_SECOND),
        published: Arc::default(),
        tally: Some(Arc::clone(tally)),
    };
    let before = database.counters().await?;
    load.run(database).await?;
    // The last message arrives, its settle is written, and sessions report their transactions,
    // which they do once a second.
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    let after = database.counters().await?;
    Ok((float(after.wal_bytes - before.wal_bytes), float(after.transactions - before.transactions)))
}
