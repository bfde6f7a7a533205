//! How long a message is on its way when little happens, beside the smallest loop there is: INSERT and NOTIFY in one
//! transaction, a process that LISTENs and POSTs.
//!
//! Both run all the while and are measured in turn. The times are of one clock: publishers and receiver are one process.

use std::sync::Arc;

use super::{Bench, CliError, Report};
use crate::{
    cli::bench::{
        client::READY,
        drain_run::wait_until,
        figures::{Latency, each, float, ratio},
        load::Load,
        process::{Process, Workers},
        receiver::Receiver,
        report::Row,
        scale::KEYS,
        server::Database,
        tally::Tally,
    },
    store::BenchInsert,
};

/// Messages a second.
const PER_SECOND: u64 = 50;

/// The channel of the smallest loop.
const CHANNEL: &str = "bench_smallest_loop";

pub(super) async fn run(bench: &Bench) -> Result<Report, CliError> {
    let database = bench.server.create().await?;
    let messages = (bench.scale.length.as_secs() + 1) * PER_SECOND * bench.scale.rounds as u64;
    let tracked = usize::try_from(messages * 2).unwrap_or_default();
    let tallies = [(); 2].map(|()| Arc::new(Tally::new(&[KEYS], tracked)));
    let receivers = [Receiver::start(&tallies[0])?, Receiver::start(&tallies[1])?];
    let topic = database.topic("bench").await?;
    database.webhook(topic, &receivers[0].url(0)).await?;
    let mut workers = Workers::start(1, &database, bench.scale.concurrency).await?;
    let arguments = [
        "bench-client".to_owned(),
        "listen".to_owned(),
        format!("--url={}", receivers[1].url(0)),
        format!("--channel={CHANNEL}"),
    ];
    let mut listener = Process::start("listener", &arguments, &database.settings())?;
    listener.wait_for_word(READY).await?;

    let inserts = [BenchInsert::Message, BenchInsert::PlainAndNotify(CHANNEL.to_owned())];
    let mut costs = [(0.0, 0.0); 2];
    bench.progress.step(format!("{PER_SECOND} messages a second"), bench.scale.rounds as u64 * 2);
    for round in 0..bench.scale.rounds {
        for way in [round % 2, 1 - round % 2] {
            let (wal_bytes, statements) = turn(bench, &database, topic, &inserts[way], &tallies[way]).await?;
            costs[way].0 += wal_bytes;
            costs[way].1 += statements;
            listener.check()?;
        }
        bench.progress.done((round as u64 + 1) * 2);
    }
    for tally in &tallies {
        let all = || tally.journeys().len() as u64 >= tally.requests(0) && tally.requests(0) > 0;
        wait_until(&mut workers, std::time::Duration::from_secs(10), "the last messages", all).await?;
    }
    workers.stop().await?;
    listener.stop().await?;
    drop(receivers);
    bench.server.drop(database).await?;

    let latencies = [Latency::of(&tallies[0].journeys()), Latency::of(&tallies[1].journeys())];
    let row = |way: usize, name: &str| {
        let latency = latencies[way];
        Row::default()
            .text("way", "way", name)
            .count("messages", "messages", latency.messages)
            .number("p50_ms", "p50 ms", latency.p50, 2)
            .number("p99_ms", "p99 ms", latency.p99, 2)
            .number("max_ms", "max ms", latency.max, 2)
            .number("p50_ratio", "p50 ratio", ratio(latency.p50, latencies[1].p50), 2)
            .number("p99_ratio", "p99 ratio", ratio(latency.p99, latencies[1].p99), 2)
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
        rows: vec![row(0, "pgtopic"), row(1, "smallest loop")],
        violations: tallies[0].violations(),
        notes: vec![
            "Smallest loop: INSERT and NOTIFY in one transaction, one process that LISTENs and POSTs; no order, no retry.",
            "What arrived before its publisher heard of the commit counts as 0.",
            "Statements: the publisher's own is one of them; the worker idles beside the smallest loop, too.",
        ],
    })
}

/// One turn of one way; gives the bytes of write-ahead log, and the statements as far as sessions have told of them.
async fn turn(
    bench: &Bench,
    database: &Database,
    topic_id: i64,
    insert: &BenchInsert,
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
    // The last message arrives, its settle is written, and sessions tell of their transactions: once a second.
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    let after = database.counters().await?;
    Ok((float(after.wal_bytes - before.wal_bytes), float(after.transactions - before.transactions)))
}
