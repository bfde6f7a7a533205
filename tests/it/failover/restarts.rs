//! PostgreSQL stops, crashes and comes back while messages flow.

use std::{sync::Arc, time::Duration};

use pgtopic::embedded::ShutdownMode;
use pgtopic_testkit::{
    Answer, Broker, Load, TestCluster, TestReceiver, create_topic, create_webhook, nothing_owed, reach_schema,
};
use rstest::rstest;

#[rstest]
#[case::fast(Some(ShutdownMode::Fast))]
#[case::immediate(Some(ShutdownMode::Immediate))]
#[case::killed(None)]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_when_the_database_restarts(#[case] mode: Option<ShutdownMode>) {
    let mut cluster = TestCluster::durable().await;
    let url = cluster.url();
    let receiver =
        TestReceiver::start(|_| Answer::After(Duration::from_millis(3), Box::new(Answer::Status(204)))).await;
    let client = reach_schema(&url).await;
    create_topic(&client).await;
    create_webhook(&client, &receiver.url("/"), &[]).await;
    let brokers = [Broker::start(cluster.store()), Broker::start(cluster.store())];
    let load = Arc::new(Load::default());
    let publishers: Vec<_> =
        (0..4).map(|number| tokio::spawn(Arc::clone(&load).publish(url.clone(), number))).collect();

    for _ in 0..2 {
        load.more(50).await;
        match mode {
            Some(mode) => cluster.postgres.stop(mode).await.unwrap(),
            None => cluster.postgres.kill().await.unwrap(),
        }
        cluster.postgres.start_again().await.unwrap();
        let seen = receiver.received().len();
        load.more(50).await;
        receiver.wait_for(seen + 50).await;
    }
    load.end(publishers).await;

    let client = reach_schema(&url).await;
    nothing_owed(&client).await;
    load.check(&client, &receiver.received()).await;
    assert!(brokers.iter().all(Broker::is_running));
    for broker in brokers {
        broker.stop().await;
    }
}
