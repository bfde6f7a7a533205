//! A primary dies or is stopped. Then its synchronous standby is promoted.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use pgtopic::embedded::ShutdownMode;
use pgtopic_testkit::{
    Answer, Http, Load, Process, Received, TestPair, TestPooler, TestReceiver, create_topic, create_webhook,
    eventually, nothing_owed, reach_schema,
};
use rstest::rstest;
use tokio_postgres::Client;

/// How many publishers there are. Two of them publish over HTTP.
const PUBLISHERS: usize = 8;

/// How the primary ends.
#[derive(Clone, Copy)]
enum End {
    /// Its machine is lost. A part of its write-ahead log has not reached the standby.
    Lost,
    /// It is stopped for maintenance. The standby gets all of its write-ahead log.
    Stopped,
}

/// How publishers and processes reach the database.
struct Way {
    url: String,
    /// For LISTEN, if the other URL goes through a pooler.
    listen_url: String,
}

fn start(way: &Way, arguments: &[&str]) -> Process {
    let environment = [
        ("DATABASE_URL", way.url.as_str()),
        ("PGTOPIC_DATABASE__LISTEN_URL", &way.listen_url),
        ("PGTOPIC_DELIVERY__ALLOW_NETWORKS", "127.0.0.0/8"),
        ("PGTOPIC_API__BIND", "127.0.0.1:0"),
    ];
    Process::start(arguments, &environment)
}

#[rstest]
#[case::died(End::Lost)]
#[case::was_stopped(End::Stopped)]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_standby_that_is_promoted_goes_on_where_the_primary(#[case] end: End) {
    let pair = TestPair::start().await;
    let url = pair.url();
    goes_on(pair, None, &Way { listen_url: url.clone(), url }, end).await;
}

/// The test points the pooler to the new primary. LISTEN finds the new primary by itself.
#[rstest]
#[case::died(End::Lost)]
#[case::was_stopped(End::Stopped)]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn behind_a_pooler_it_goes_on_as_well_where_the_primary(#[case] end: End) {
    let pair = TestPair::start().await;
    let Some(pooler) = TestPooler::start(pair.primary.data_dir(), 8).await else { return };
    let way = Way { url: pooler.url("postgres"), listen_url: pair.url() };
    goes_on(pair, Some(pooler), &way, end).await;
}

async fn goes_on(mut pair: TestPair, pooler: Option<TestPooler>, way: &Way, end: End) {
    let receiver =
        TestReceiver::start(|_| Answer::After(Duration::from_millis(3), Box::new(Answer::Status(204)))).await;
    let client = reach_schema(&pair.url()).await;
    create_topic(&client).await;
    create_webhook(&client, &receiver.url("/"), &[]).await;
    let mut workers = [start(way, &["worker"]), start(way, &["worker"])];
    let mut api_process = start(way, &["api"]);
    for worker in &mut workers {
        worker.wait_for_output("worker is ready").await;
    }
    let api = Arc::new(Http::of(&mut api_process).await);
    let load = Arc::new(Load::default());
    let mut publishers: Vec<_> =
        (0..6).map(|number| tokio::spawn(Arc::clone(&load).publish(way.url.clone(), number))).collect();
    publishers
        .extend((6..PUBLISHERS).map(|number| tokio::spawn(Arc::clone(&load).post(Arc::clone(&api), number))));
    load.more(200).await;
    receiver.wait_for(100).await;

    let standby = reach_schema(&pair.standby.url("postgres")).await;
    match end {
        End::Lost => lose(&mut pair, &client, &standby).await,
        End::Stopped => pair.primary.stop(ShutdownMode::Fast).await.unwrap(),
    }
    let ended = Instant::now();
    let replayed = "SELECT count(*) = 0 FROM pg_stat_wal_receiver WHERE status = 'streaming'";
    let replayed = format!("{replayed} AND pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn()");
    eventually("the standby has replayed everything that it got", async || {
        standby.query_one(&replayed, &[]).await.unwrap().get::<_, bool>(0).then_some(())
    })
    .await;
    // PostgreSQL logs values of a sequence in advance, before an id is used. So no id is given
    // again.
    let newest_sent = receiver.received().iter().map(Received::position).max().unwrap();
    let newest_committed = load.committed().into_iter().max().unwrap();
    let given: i64 = standby.query_one("SELECT last_value FROM message_ids", &[]).await.unwrap().get(0);
    println!(
        "sent up to {newest_sent}, committed up to {newest_committed}, the standby's sequence is at {given}"
    );
    assert!(given >= newest_sent.max(newest_committed));
    assert!(standby.query_one("SELECT pg_promote()", &[]).await.unwrap().get::<_, bool>(0));
    if let Some(pooler) = &pooler {
        pooler.lead_to(pair.standby.data_dir());
    }

    let promoted = Instant::now();

    let seen = receiver.received().len();
    receiver.wait_for(seen + 1).await;
    println!(
        "delivery went on {:?} after the end of the primary, {:?} after the promotion",
        ended.elapsed(),
        promoted.elapsed()
    );
    load.more(200).await;
    receiver.wait_for(seen + 200).await;
    load.end(publishers).await;
    let client = reach_schema(&pair.url()).await;
    nothing_owed(&client).await;
    load.check(&client, &receiver.received()).await;
    for mut process in workers.into_iter().chain([api_process]) {
        process.stop().await;
    }
}

/// Loses the primary. Commits that the standby has not got are lost, too. None of them may have
/// been confirmed or sent.
async fn lose(pair: &mut TestPair, primary: &Client, standby: &Client) {
    // First the link to the standby passes nothing.
    let link: i32 = standby.query_one("SELECT pid FROM pg_stat_wal_receiver", &[]).await.unwrap().get(0);
    let link = |signal| kill(Pid::from_raw(link), signal).unwrap();
    link(Signal::SIGSTOP);
    // A publisher waits for the standby, or for another publisher that waits and holds the stripe.
    // (Behind a pooler, some may wait for a session.)
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event IN ('SyncRep', 'advisory')";
    eventually("most publishers wait", async || {
        let waiting: i64 = primary.query_one(waiting, &[]).await.unwrap().get(0);
        (usize::try_from(waiting).unwrap() > PUBLISHERS / 2).then_some(())
    })
    .await;
    pair.lose_primary().await;
    // What has not passed the link is lost with the primary.
    link(Signal::SIGTERM);
    link(Signal::SIGCONT);
}
