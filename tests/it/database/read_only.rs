//! Servers that take no writes for a while.

use pgtopic_testkit::{
    Http, Process, TestCluster, TestDatabase, TestPair, TestReceiver, create_topic, create_webhook,
    eventually, reach_schema,
};
use serde_json::json;

fn start(url: &str) -> Process {
    let environment = [
        ("DATABASE_URL", url),
        ("PGTOPIC_DELIVERY__ALLOW_NETWORKS", "127.0.0.0/8"),
        ("PGTOPIC_API__BIND", "127.0.0.1:0"),
    ];
    Process::start(&["serve"], &environment)
}

/// The status and the text of the readiness probe.
async fn ready(api: &Http) -> (u16, String) {
    let (status, body) = api.try_get("/readyz").await.unwrap();
    (status.as_u16(), body["detail"].as_str().unwrap_or_default().to_owned())
}

async fn until_ready(api: &Http) {
    eventually("the API is ready", async || (ready(api).await.0 == 200).then_some(())).await;
}

async fn published(api: &Http) -> u16 {
    let message = json!({ "partition_key": "a", "payload": {} });
    api.try_post("/topics/orders/messages", &message).await.unwrap().0.as_u16()
}

/// An administrator makes the server read-only, and undoes it.
#[tokio::test]
async fn a_server_that_is_read_only_for_a_while_is_reported_and_used_again() {
    let cluster = TestCluster::private().await;
    let receiver = TestReceiver::accepting().await;
    let client = reach_schema(&cluster.url()).await;
    create_topic(&client).await;
    create_webhook(&client, &receiver.url("/"), &[]).await;
    let mut serve = start(&cluster.url());
    let api = Http::of(&mut serve).await;
    until_ready(&api).await;
    assert_eq!(published(&api).await, 201);
    receiver.wait_for(1).await;

    client.batch_execute("ALTER SYSTEM SET default_transaction_read_only = on").await.unwrap();
    client.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    eventually("it says so", async || {
        let (status, detail) = ready(&api).await;
        (status == 503 && detail.contains("read-only")).then_some(())
    })
    .await;
    assert_eq!(published(&api).await, 503);

    client.batch_execute("SET default_transaction_read_only = off").await.unwrap();
    client.batch_execute("ALTER SYSTEM RESET default_transaction_read_only").await.unwrap();
    client.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    until_ready(&api).await;
    assert_eq!(published(&api).await, 201);
    receiver.wait_for(2).await;
    serve.stop().await;
}

/// The pool would give it to every next request.
#[tokio::test]
async fn a_session_that_takes_no_writes_is_left() {
    let database = TestDatabase::new().await;
    let client = database.broker_client().await;
    let spoil = "CREATE FUNCTION public.spoil() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN PERFORM set_config('default_transaction_read_only', 'on', false); RETURN NULL; END $$;
                 CREATE TRIGGER spoil AFTER INSERT ON topics FOR EACH STATEMENT EXECUTE FUNCTION public.spoil()";
    client.batch_execute(spoil).await.unwrap();
    let api = Http::serve(database.store()).await;
    let create =
        async |name: &str| api.try_post("/topics", &json!({ "name": name })).await.unwrap().0.as_u16();
    assert_eq!(create("first").await, 201);
    client.batch_execute("DROP TRIGGER spoil ON topics").await.unwrap();
    assert_eq!(create("second").await, 503);
    assert_eq!(create("third").await, 201);
}

/// The pool connects to a standby. There, reading works and writing does not. After the promotion,
/// the pool works again by itself.
#[tokio::test]
async fn a_standby_is_not_ready_until_it_is_promoted() {
    let mut pair = TestPair::start().await;
    let primary = reach_schema(&pair.primary.url("postgres")).await;
    create_topic(&primary).await;
    let standby = pair.standby.url("postgres");
    let environment = [("DATABASE_URL", standby.as_str()), ("PGTOPIC_API__BIND", "127.0.0.1:0")];
    let mut process = Process::start(&["api", "--no-migrate"], &environment);
    let api = Http::of(&mut process).await;
    let (status, detail) = ready(&api).await;
    assert!(status == 503 && detail.contains("read-only"), "{status} {detail}");
    assert_eq!(published(&api).await, 503);
    pair.lose_primary().await;
    reach_schema(&standby).await.batch_execute("SELECT pg_promote()").await.unwrap();
    until_ready(&api).await;
    assert_eq!(published(&api).await, 201);
    process.stop().await;
}

/// A worker fails again and again for the same reason. The process is not ready. It logs the reason
/// once.
#[tokio::test]
async fn a_process_whose_worker_cannot_work_is_not_ready() {
    let cluster = TestCluster::private().await;
    let client = reach_schema(&cluster.url()).await;
    let mut serve = start(&cluster.url());
    let api = Http::of(&mut serve).await;
    until_ready(&api).await;
    client
        .batch_execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no workers here''; END';
             CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON workers FOR EACH ROW EXECUTE FUNCTION refuse()",
        )
        .await
        .unwrap();
    eventually("it says so", async || {
        let (status, detail) = ready(&api).await;
        (status == 503 && detail.contains("no worker runs here")).then_some(())
    })
    .await;
    serve.wait_for_output("no workers here").await;
    // There is a try at least every two seconds. The first tries come faster.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(serve.output().matches("no workers here").count(), 1, "{}", serve.output());
    client.batch_execute("DROP TRIGGER refuse ON workers").await.unwrap();
    until_ready(&api).await;
    serve.stop().await;
}
