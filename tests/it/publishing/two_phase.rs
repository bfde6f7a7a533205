//! Two-phase commits of publishers, and the setting `wake.notify`.
//!
//! What is promised: on a server that allows prepared transactions, publishers do not notify by
//! default. So a transaction that has published can be prepared. Workers still find messages and
//! changes of webhooks.

use pgtopic::store::Notice;
use pgtopic_testkit::{
    Broker, Process, Puppet, Scene, TestCluster, TestReceiver, check_order, create_topic, create_webhook,
    eventually, expected, nothing_owed, publish, reach_schema,
};
use tokio_postgres::{Client, error::SqlState};

const PREPARED: [(&str, &str); 1] = [("max_prepared_transactions", "10")];

/// Publishes one message and prepares the transaction.
async fn prepare(client: &Client, key: &str, name: &str) -> Result<i64, tokio_postgres::Error> {
    client.batch_execute("BEGIN").await.unwrap();
    let id = publish(client, key).await.unwrap();
    client.batch_execute(&format!("PREPARE TRANSACTION '{name}'")).await?;
    Ok(id)
}

/// Checks that a publisher waits for a lock. Its time limit is short. Other publishers have no
/// short limit: they may wait for a worker for a moment.
async fn waits_in_vain(client: &Client, key: &str) {
    client.batch_execute("SET lock_timeout = '100ms'").await.unwrap();
    let error = publish(client, key).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::LOCK_NOT_AVAILABLE), "{error:?}");
    client.batch_execute("RESET lock_timeout").await.unwrap();
}

async fn until(client: &Client, condition: &str) {
    let sql = format!("SELECT {condition}");
    let met = async || client.query_one(&sql, &[]).await.unwrap().get::<_, bool>(0).then_some(());
    eventually(condition, met).await;
}

#[tokio::test]
async fn prepared_messages_are_delivered_in_order_and_nobody_is_notified() {
    let cluster = TestCluster::private_with(&PREPARED).await;
    let client = reach_schema(&cluster.url()).await;
    let receiver = TestReceiver::accepting().await;
    create_topic(&client).await;
    let broker = Broker::start(cluster.store());
    until(&client, "EXISTS (SELECT FROM workers)").await;
    let mut ear = Puppet::on(cluster.store()).await;
    assert!(!ear.beat().await.unwrap().notifies);

    // The worker runs already. It learns of the webhook and of its pause from `changed_at`.
    create_webhook(&client, &receiver.url("/"), &[]).await;
    let first = publish(&client, "a").await.unwrap();
    assert_eq!(receiver.wait_for(1).await[0].position(), first);

    for number in 0..3 {
        let name = format!("p{number}");
        let id = prepare(&client, "a", &name).await.unwrap();
        // Another publisher of that key waits. A publisher of another key does not.
        waits_in_vain(&client, "a").await;
        publish(&client, "b").await.unwrap();
        client.batch_execute(&format!("COMMIT PREPARED '{name}'")).await.unwrap();
        let next = publish(&client, "a").await.unwrap();
        assert!(id < next);
        nothing_owed(&client).await;
    }
    let id = prepare(&client, "a", "undone").await.unwrap();
    client.batch_execute("ROLLBACK PREPARED 'undone'").await.unwrap();
    publish(&client, "a").await.unwrap();
    nothing_owed(&client).await;
    assert!(receiver.received().iter().all(|one| one.position() != id));
    assert_eq!(check_order(&receiver.received(), &expected(&client, &["/"]).await), 0);
    assert!(ear.heard().await.is_empty(), "nobody was notified");

    // A change of a webhook that exists.
    let count = receiver.count();
    client.batch_execute(&format!("UPDATE webhooks SET url = '{}'", receiver.url("/new"))).await.unwrap();
    let met = async || {
        publish(&client, "a").await.unwrap();
        nothing_owed(&client).await;
        receiver.received_after(count).iter().any(|one| one.path == "/new").then_some(())
    };
    eventually("the new URL is used", met).await;
    assert!(ear.heard().await.is_empty());
    broker.stop().await;
}

#[tokio::test]
async fn a_prepared_publisher_keeps_its_partition_over_a_crash() {
    let mut cluster = TestCluster::durable_with(&PREPARED).await;
    let receiver = TestReceiver::accepting().await;
    let client = reach_schema(&cluster.url()).await;
    create_topic(&client).await;
    create_webhook(&client, &receiver.url("/"), &[]).await;
    let broker = Broker::start(cluster.store());
    let before = publish(&client, "a").await.unwrap();
    nothing_owed(&client).await;
    let prepared = prepare(&client, "a", "crash").await.unwrap();

    cluster.postgres.kill().await.unwrap();
    cluster.postgres.start_again().await.unwrap();
    let client = reach_schema(&cluster.url()).await;
    waits_in_vain(&client, "a").await;
    let other = publish(&client, "b").await.unwrap();
    receiver.wait_until("the other partition", |all| all.iter().any(|one| one.position() == other)).await;
    let owed = "SELECT count(*) FROM pg_prepared_xacts";
    assert_eq!(client.query_one(owed, &[]).await.unwrap().get::<_, i64>(0), 1);
    assert!(
        receiver.received().iter().all(|one| one.position() != prepared),
        "the prepared message is not committed yet"
    );

    client.batch_execute("COMMIT PREPARED 'crash'").await.unwrap();
    let after = publish(&client, "a").await.unwrap();
    assert!(before < prepared && prepared < after);
    receiver.wait_until("the last message", |all| all.iter().any(|one| one.position() == after)).await;
    nothing_owed(&client).await;
    check_order(&receiver.received(), &expected(&client, &["/"]).await);
    broker.stop().await;
}

#[tokio::test]
async fn with_notify_on_publishers_notify_even_where_transactions_can_be_prepared() {
    let cluster = TestCluster::private_with(&PREPARED).await;
    let client = reach_schema(&cluster.url()).await;
    create_topic(&client).await;
    create_webhook(&client, "http://127.0.0.1:1/", &[("paused", "true")]).await;
    let url = cluster.url();
    let environment = [("DATABASE_URL", url.as_str()), ("PGTOPIC_WAKE__NOTIFY", "on")];
    let mut process = Process::start(&["worker"], &environment);
    process.wait_for_output("worker is ready").await;
    until(&client, "notify = 'on' FROM installation").await;

    let mut ear = Puppet::on(cluster.store()).await;
    assert!(ear.beat().await.unwrap().notifies);
    let message_id = publish(&client, "a").await.unwrap();
    let heard = ear.heard().await;
    assert!(matches!(heard[..], [Notice::Published(told)] if told.message_id == message_id), "{heard:?}");
    client.batch_execute("UPDATE webhooks SET url = url").await.unwrap();
    assert_eq!(ear.heard().await, [Notice::Webhooks]);
    let error = prepare(&client, "a", "refused").await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::FEATURE_NOT_SUPPORTED), "{error:?}");
    process.stop().await;
}

#[tokio::test]
async fn with_notify_off_nobody_notifies() {
    let scene = Scene::with_webhook(&[]).await;
    let mut ear = Puppet::new(&scene).await;
    scene.publish(&["a"]).await;
    assert_eq!(ear.told().await.len(), 1, "by default, publishers notify if no transaction can be prepared");

    assert!(scene.store().set_notify("off").await.unwrap());
    assert!(!scene.store().set_notify("off").await.unwrap(), "it was before");
    assert!(!ear.beat().await.unwrap().notifies);
    let changed_at = ear.beat().await.unwrap().changed_at;
    scene.publish(&["a"]).await;
    scene.webhook("/two", &[]).await;
    scene.sql("UPDATE topics SET paused = NULL").await;
    scene.publish(&["a", "b"]).await;
    assert!(ear.heard().await.is_empty());
    assert!(ear.beat().await.unwrap().changed_at > changed_at);
    let broker = Broker::start(scene.store());
    scene.nothing_owed().await;
    for _ in 0..5 {
        scene.publish(&["a", "b"]).await;
        scene.nothing_owed().await;
    }
    assert!(ear.heard().await.is_empty(), "workers do not make publishers notify");
    broker.stop().await;

    assert!(scene.store().set_notify("auto").await.unwrap());
    assert!(ear.beat().await.unwrap().notifies);
    scene.publish(&["a"]).await;
    assert_eq!(ear.told().await.len(), 1);
}

/// The setting of a process is stored for all. A process without the setting changes nothing.
#[tokio::test]
async fn the_notify_setting_of_one_process_is_kept_by_processes_without_one() {
    let scene = Scene::new().await;
    for (setting, kept) in [
        (None, "auto"),
        (Some("off"), "off"),
        (None, "off"),
        (Some("on"), "on"),
        (None, "on"),
        (Some("auto"), "auto"),
    ] {
        let mut environment = scene.database.environment();
        environment.extend(setting.map(|word| ("PGTOPIC_WAKE__NOTIFY", word)));
        let mut process = Process::start(&["worker"], &environment);
        process.wait_for_output("worker is ready").await;
        assert_eq!(scene.text("SELECT notify FROM installation").await, kept, "{setting:?}");
        process.stop().await;
    }
}

#[tokio::test]
async fn an_unknown_notify_setting_is_exit_code_2() {
    let environment = [("DATABASE_URL", "postgresql://127.0.0.1:1/x"), ("PGTOPIC_WAKE__NOTIFY", "sometimes")];
    let ended = Process::run(&["worker"], &environment).await;
    assert_eq!(ended.code(), 2, "{}", ended.output);
    assert!(ended.output.contains("wake.notify"), "{}", ended.output);
}
