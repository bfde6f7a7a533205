//! How fast clients publish, one message a transaction, compared with the same inserts into a bare
//! table.
//!
//! One webhook is subscribed, and no worker runs. Both kinds take turns in one database. So other
//! work on the machine affects both.

use std::{sync::Arc, time::Duration};

use super::{Bench, CliError, Report};
use crate::{
    figures::{each, float, median, ratio},
    load::{Load, Published},
    report::Row,
    scale::KEYS,
    server::Database,
    sql::Insert,
};

/// A turn of each is not counted.
const WARM_UP: Duration = Duration::from_millis(500);

pub(super) async fn run(bench: &Bench) -> Result<Report, CliError> {
    let mut rows = Vec::new();
    for &clients in &bench.scale.clients {
        rows.push(measure(bench, clients).await?);
    }
    Ok(Report {
        title: "publish: one message a transaction, one webhook, no worker, beside the same rows in a bare table",
        rows,
        violations: 0,
        notes: vec!["Medians of the rounds; the ratio is the median of each round's."],
    })
}

/// The result of one turn.
struct Turn {
    per_second: f64,
    wal_bytes: f64,
}

async fn measure(bench: &Bench, clients: usize) -> Result<Row, CliError> {
    let database = bench.server.create().await?;
    let topic = database.topic("bench").await?;
    // Nothing is ever sent to it.
    database.webhook(topic, "http://127.0.0.1:9/").await?;
    let rounds = bench.scale.rounds;
    bench.progress.step(format!("{clients} client(s)"), rounds as u64 * 2);
    for insert in [Insert::Plain, Insert::Message] {
        turn(&database, topic, clients, insert, WARM_UP).await?;
    }
    let (mut plain, mut messages) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        // The order changes too.
        for first in [round % 2 == 0, round % 2 == 1] {
            let (insert, turns) =
                if first { (Insert::Plain, &mut plain) } else { (Insert::Message, &mut messages) };
            turns.push(turn(&database, topic, clients, insert, bench.scale.length).await?);
            bench.progress.done((plain.len() + messages.len()) as u64);
        }
    }
    bench.server.drop(database).await?;
    let rates = |turns: &[Turn]| turns.iter().map(|turn| turn.per_second).collect::<Vec<_>>();
    let wal = |turns: &[Turn]| median(&turns.iter().map(|turn| turn.wal_bytes).collect::<Vec<_>>());
    let ratios: Vec<f64> = messages
        .iter()
        .zip(&plain)
        .map(|(message, plain)| ratio(message.per_second, plain.per_second))
        .collect();
    let published = rates(&messages);
    Ok(Row::default()
        .count("clients", "clients", clients as u64)
        .number("published_per_second", "published/s", median(&published), 0)
        .number(
            "published_per_second_min",
            "slowest round",
            published.iter().copied().fold(f64::MAX, f64::min),
            0,
        )
        .number("published_per_second_max", "fastest round", published.iter().copied().fold(0.0, f64::max), 0)
        .number("plain_per_second", "bare table, inserted/s", median(&rates(&plain)), 0)
        .number("ratio", "ratio", median(&ratios), 3)
        .number("wal_bytes_per_message", "WAL, bytes a message", wal(&messages), 0)
        .number("plain_wal_bytes_per_message", "bare table: WAL, bytes a message", wal(&plain), 0))
}

async fn turn(
    database: &Database,
    topic_id: i64,
    clients: usize,
    insert: Insert,
    length: Duration,
) -> Result<Turn, CliError> {
    let load = Load {
        insert,
        topic_id,
        clients,
        keys: KEYS,
        length,
        per_second: None,
        published: Arc::default(),
        tally: None,
    };
    let before = database.counters().await?;
    let published: Published = load.run(database).await?;
    let after = database.counters().await?;
    let wal_bytes = float(after.wal_bytes - before.wal_bytes);
    Ok(Turn { per_second: published.per_second(), wal_bytes: each(wal_bytes, published.messages) })
}
