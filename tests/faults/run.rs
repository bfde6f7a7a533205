//! One run, from the first message to the verdict.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use pgtopic_testkit::{
    Process, Received,
    history::{Fate, History, Publication, Reply, Request},
    nothing_owed, reach_schema,
};
use tokio::task::JoinSet;
use tokio_postgres::Client;

use crate::{
    inject::inject,
    kind::Kind,
    memory::{Sample, Watch},
    publishers::{self, Ledger},
    report::Report,
    schedule::Schedule,
    stage::{Stage, TIMEOUT},
};

const SQL_PUBLISHERS: usize = 4;
const HTTP_PUBLISHERS: usize = 2;

/// An abort travels through the link and this process, on a machine that does other work too.
const ABORT_SEEN_WITHIN: Duration = Duration::from_millis(250);

/// Messages flow, faults happen, everything heals. Then the history must be right.
pub(crate) async fn run(mut schedule: Schedule) {
    let mut stage = Stage::build().await;
    let ledger = Ledger::new(stage.paths());
    let mut publishing = JoinSet::new();
    for number in 0..SQL_PUBLISHERS {
        let (ledger, url) = (Arc::clone(&ledger), stage.cluster.url());
        publishing.spawn(publishers::insert(ledger, url, number, schedule.seed));
    }
    for number in 0..HTTP_PUBLISHERS {
        let (ledger, api) = (Arc::clone(&ledger), stage.api_address);
        publishing.spawn(publishers::post(ledger, api, number, schedule.seed));
    }
    let mut report = Report::default();
    if let Err(reason) = &stage.wal_disk {
        report.skip(Kind::WalDiskFull, reason);
    }
    let watch = Watch::start(stage.left_alone().process.id(), stage.origin);
    while let Some(mut incident) = schedule.next() {
        incident.steps.retain(|step| stage.wal_disk.is_ok() || step.kind != Kind::WalDiskFull);
        let begun = Instant::now();
        println!("{:7.2} {incident}", stage.origin.elapsed().as_secs_f64());
        inject(&mut stage, &incident, &mut report).await;
        println!("        took {:.2?}", begun.elapsed());
        stage.assert_running();
    }
    ledger.end();
    while let Some(ended) = publishing.join_next().await {
        ended.unwrap();
    }
    let client = reach_schema(&stage.cluster.url()).await;
    nothing_owed(&client).await;
    stage.assert_running();
    report.left_alone = watch.end();
    report.at_the_end = at_the_end(&stage);

    let took = stage.origin.elapsed();
    let history = history(&stage, &ledger, &client, &report).await;
    let verdict = history.check();
    report.print(schedule.seed, &verdict, took);
    verdict.assert_clean();
    assert!(verdict.messages > 100 && verdict.accepted > 100, "messages did flow");
    report.assert_quick();
    report.assert_no_leak();
}

/// What every process holds now.
fn at_the_end(stage: &Stage) -> Vec<(&'static str, Sample)> {
    let workers = stage.workers.iter().map(|worker| (worker.command, &worker.process));
    let sample = |(command, process): (_, &Process)| {
        Some((command, Sample::of(process.id(), stage.origin.elapsed())?))
    };
    workers.chain([("api", &stage.api)]).filter_map(sample).collect()
}

/// Puts together what publishers, receivers and the database know.
async fn history(stage: &Stage, ledger: &Ledger, client: &Client, report: &Report) -> History {
    let stored: HashMap<String, i64> = client
        .query("SELECT payload->>'mark', id FROM messages", &[])
        .await
        .unwrap()
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    let publications: Vec<_> =
        ledger.publications.lock().unwrap().iter().map(|one| decided(one.clone(), &stored)).collect();
    let dead: BTreeSet<(String, String)> = client
        .query(
            "SELECT d.webhook_id, m.payload->>'mark' FROM dead_letters d JOIN messages m ON m.id = d.message_id",
            &[],
        )
        .await
        .unwrap()
        .iter()
        .map(|row| {
            let hook = stage.hooks.iter().find(|hook| hook.id == row.get::<_, i64>(0)).unwrap();
            (hook.path.to_owned(), row.get(1))
        })
        .collect();
    let requests = stage.hooks.iter().flat_map(|hook| hook.receiver.received());
    History {
        publications,
        requests: requests.map(|received| request(&received, stage.origin)).collect(),
        dead,
        faults: report.faults.clone(),
        timeout: TIMEOUT,
        abort_seen_within: ABORT_SEEN_WITHIN,
    }
}

/// At the end the table says what became of a commit whose answer was lost. The table must hold
/// everything that was confirmed.
fn decided(mut publication: Publication, stored: &HashMap<String, i64>) -> Publication {
    let stored = stored.get(&publication.mark).copied();
    match publication.fate {
        Fate::Committed => assert_eq!(stored, publication.id, "{} is durable", publication.mark),
        Fate::RolledBack => assert_eq!(stored, None, "{} was rolled back", publication.mark),
        Fate::Unknown => {
            publication.fate = if stored.is_some() { Fate::Committed } else { Fate::RolledBack };
            publication.id = stored;
        }
    }
    publication
}

fn request(received: &Received, origin: Instant) -> Request {
    let payload: serde_json::Value = serde_json::from_slice(&received.body).unwrap();
    let reply = match (received.status, received.broken, received.ended) {
        (Some(status), _, _) => Reply::Answered(status),
        (None, true, _) => Reply::Broken,
        (None, false, Some(_)) => Reply::Aborted,
        (None, false, None) => Reply::Hung,
    };
    Request {
        webhook: received.path.clone(),
        key: received.partition().to_owned(),
        mark: payload["mark"].as_str().unwrap().to_owned(),
        position: received.position(),
        attempt: received.header("webhook-attempt").parse().unwrap(),
        started: received.arrived - origin,
        ended: received.ended.map(|ended| ended - origin),
        reply,
    }
}
