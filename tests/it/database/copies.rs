//! Copies of a database: what is owed there is owed by the first one, too.

use hyper::StatusCode;
use pgtopic::{
    config::{DatabaseConfig, OnCopy},
    store::Store,
};
use pgtopic_testkit::{
    Broker, Http, Process, TestDatabase, TestReceiver, create_topic, create_webhook, eventually, publish,
};
use serde_json::json;
use tokio_postgres::Client;

/// A database that has sent a message and owes another one, and its receiver. Nobody is connected.
async fn that_has_sent() -> (TestDatabase, TestReceiver) {
    let (database, receiver) = (TestDatabase::new().await, TestReceiver::accepting().await);
    let client = database.broker_client().await;
    create_topic(&client).await;
    create_webhook(&client, &receiver.url("/"), &[]).await;
    publish(&client, "a").await.unwrap();
    let broker = Broker::start(database.store());
    arrived(&receiver, 1).await;
    broker.stop().await;
    publish(&client, "a").await.unwrap();
    (database, receiver)
}

async fn arrived(receiver: &TestReceiver, count: usize) {
    eventually("the messages arrive", async || (receiver.received().len() == count).then_some(())).await;
}

/// Waits until a worker has looked for work for long enough to have found some.
async fn a_worker_looks(client: &Client) {
    let sql = "SELECT EXISTS (SELECT FROM workers WHERE heartbeat_at > started_at + interval '2 s')";
    eventually("a worker looks for work", async || {
        client.query_one(sql, &[]).await.unwrap().get::<_, bool>(0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_copy_sends_nothing_until_somebody_says_so() {
    let (first, receiver) = that_has_sent().await;
    let copy = first.copy().await;
    let client = copy.broker_client().await;
    let broker = Broker::start(copy.store());
    let http = Http::serve(copy.store()).await;
    a_worker_looks(&client).await;
    publish(&client, "b").await.unwrap();
    let (status, problem) = http.try_get("/readyz").await.unwrap();
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("is a copy") && detail.contains("pgtopic sending on"), "{detail}");
    let status = http.get("/sending").await;
    assert_eq!((&status["sending"], &status["why_not"]), (&json!(false), &json!("copy")));
    let worker = &http.get("/workers").await["items"][0];
    assert!(worker["trouble"].as_str().unwrap().contains("is a copy"), "{worker}");
    assert_eq!(receiver.received().len(), 1, "only what the first one has sent");

    let body = json!({"sending": true, "reason": "the first one is gone"});
    let (code, status) = http.try_post("/sending", &body).await.unwrap();
    assert_eq!(code, StatusCode::OK);
    assert_eq!(status["sending"], true);
    assert_eq!(status["reason"], "the first one is gone");
    arrived(&receiver, 3).await;
    http.get("/readyz").await;
    let sql = "SELECT kind || ': ' || reason || ', ' || changed_by FROM changes";
    let change: String = client.query_one(sql, &[]).await.unwrap().get(0);
    assert!(change.starts_with("sending.on: the first one is gone, "), "{change}");
    // Said twice, it is one change.
    http.try_post("/sending", &json!({"sending": true})).await.unwrap();
    let changes: i64 = client.query_one("SELECT count(*) FROM changes", &[]).await.unwrap().get(0);
    assert_eq!(changes, 1);
    broker.stop().await;

    // The first one sends as before.
    let broker = Broker::start(first.store());
    arrived(&receiver, 4).await;
    broker.stop().await;
}

#[tokio::test]
async fn a_copy_sends_where_the_settings_say_so() {
    let (first, receiver) = that_has_sent().await;
    let copy = first.copy().await;
    let sending = DatabaseConfig { on_copy: OnCopy::Send, ..copy.config() };
    let broker = Broker::start(Store::new(&sending).unwrap());
    arrived(&receiver, 2).await;
    broker.stop().await;
}

#[tokio::test]
async fn switching_off_takes_effect_at_once_and_loses_nothing() {
    let (database, receiver) = (TestDatabase::new().await, TestReceiver::accepting().await);
    let client = database.broker_client().await;
    create_topic(&client).await;
    create_webhook(&client, &receiver.url("/"), &[]).await;
    let broker = Broker::start(database.store());
    let http = Http::serve(database.store()).await;
    for _ in 0..500 {
        publish(&client, "a").await.unwrap();
    }
    http.try_post("/sending", &json!({"sending": false, "reason": "maintenance"})).await.unwrap();
    let unclaimed = "SELECT NOT EXISTS (SELECT FROM lanes WHERE claimed_by IS NOT NULL)";
    eventually("lanes are given back", async || {
        client.query_one(unclaimed, &[]).await.unwrap().get::<_, bool>(0).then_some(())
    })
    .await;
    publish(&client, "b").await.unwrap();
    let before = receiver.received().len();
    a_worker_looks(&client).await;
    assert_eq!(receiver.received().len(), before, "nothing is sent");
    http.try_post("/sending", &json!({"sending": true})).await.unwrap();
    arrived(&receiver, 501).await;
    broker.stop().await;
}

#[tokio::test]
async fn who_starts_paused_waits_for_the_first_word_alone() {
    let (database, receiver) = (TestDatabase::new().await, TestReceiver::accepting().await);
    let client = database.broker_client().await;
    create_topic(&client).await;
    create_webhook(&client, &receiver.url("/"), &[]).await;
    let environment = database.environment();
    let paused = [&environment[..], &[("PGTOPIC_WORKER__START_PAUSED", "true")]].concat();
    let mut serve = Process::start(&["serve", "--bind", "127.0.0.1:0"], &paused);
    serve.wait_for_output("nothing is sent: worker.start_paused is set").await;
    publish(&client, "a").await.unwrap();
    a_worker_looks(&client).await;
    assert_eq!(receiver.received().len(), 0);
    let http = Http::of(&mut serve).await;
    let (status, _) = http.try_get("/readyz").await.unwrap();
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);

    let ended = Process::run(&["sending", "on", "--reason", "all is in place"], &environment).await;
    assert_eq!(ended.code(), 0, "{}", ended.output);
    serve.wait_for_output("messages are sent again").await;
    serve.stop().await;
    // It was said, and holds from now on.
    let broker = Broker::paused(database.store());
    broker.stop().await;
    let ended = Process::run(&["sending"], &paused).await;
    assert!(ended.output.starts_with("messages are sent\nswitched by command line"), "{}", ended.output);
    assert!(ended.output.contains("all is in place"), "{}", ended.output);
    let ended = Process::run(&["sending", "off", "--json"], &paused).await;
    assert!(ended.output.contains(r#""why_not": "switched_off""#), "{}", ended.output);
    assert_eq!(Process::run(&["sending", "--reason", "x"], &paused).await.code(), 2);
    assert_eq!(Process::run(&["sending", "perhaps"], &paused).await.code(), 2);
}

#[tokio::test]
async fn the_first_worker_says_where_the_installation_sends_from() {
    let database = TestDatabase::new().await;
    let client = database.broker_client().await;
    let known = "SELECT database_oid IS NOT NULL AND database_oid = d.oid::bigint AND installation.system_identifier = c.system_identifier
                   FROM installation, pg_control_system() c, pg_database d WHERE d.datname = current_database()";
    let known = async || client.query_one(known, &[]).await.unwrap().get::<_, Option<bool>>(0) == Some(true);
    assert!(!known().await, "a template knows no server");
    let broker = Broker::start(database.store());
    eventually("it is written", async || known().await.then_some(())).await;
    broker.stop().await;
}

/// A promoted base backup looks as the server does after a failover. So it is not stopped, but said.
#[tokio::test]
async fn a_promotion_is_said_once() {
    let (database, _receiver) = that_has_sent().await;
    let client = database.broker_client().await;
    let worker = async || {
        let mut worker = Process::start(&["worker"], &database.environment());
        worker.wait_for_output("worker is ready").await;
        worker.stop().await.output
    };
    assert!(!worker().await.contains("was promoted"));
    client.batch_execute("UPDATE installation SET timeline = timeline + 1").await.unwrap();
    let output = worker().await;
    assert!(output.contains("was promoted") && output.contains("pgtopic sending off"), "{output}");
    assert!(!worker().await.contains("was promoted"), "it is known now");
}
