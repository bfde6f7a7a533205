//! Everything but LISTEN through PgBouncer in transaction mode. (`PGTOPIC_TEST_POOLER=1 cargo test`
//! sends all other tests through PgBouncer too.)

use std::sync::Arc;

use pgtopic_testkit::{
    Broker, Http, Load, Process, Scene, TestDatabase, TestPooler, eventually, nothing_owed,
};
use tokio_postgres::SimpleQueryMessage;

/// How many sessions the server gives. There are many more clients.
const SESSIONS: usize = 5;

/// A started process whose statements go through the pooler.
fn start(scene: &Scene, arguments: &[&str]) -> Process {
    let mut environment = scene.database.environment();
    environment.extend([
        ("PGTOPIC_DELIVERY__ALLOW_NETWORKS", "127.0.0.0/8"),
        ("PGTOPIC_API__BIND", "127.0.0.1:0"),
        ("PGTOPIC_DATABASE__POOL_SIZE", "10"),
    ]);
    Process::start(arguments, &environment)
}

/// A scene whose stores and processes go through a pooler of its own. `None` if PgBouncer is not
/// installed.
async fn pooled_scene(sessions: usize) -> Option<(Scene, TestPooler)> {
    let pooler = TestPooler::start(TestDatabase::socket_dir().await, sessions).await?;
    let mut scene = Scene::with_webhook(&[]).await;
    scene.database.go_through(&pooler);
    // Without a pooler, a session has these settings. Through a pooler, each transaction must set
    // them.
    let name = scene.text("SELECT current_database()").await;
    scene.sql(&format!("ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'")).await;
    Some((scene, pooler))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn everything_arrives_in_order_through_a_pooler_that_dies() {
    let Some((scene, mut pooler)) = pooled_scene(SESSIONS).await else { return };
    let name = scene.text("SELECT current_database()").await;
    let mut workers = [start(&scene, &["worker"]), start(&scene, &["worker"])];
    let mut api_process = start(&scene, &["api"]);
    for worker in &mut workers {
        worker.wait_for_output("worker is ready").await;
    }
    let api = Arc::new(Http::of(&mut api_process).await);
    let load = Arc::new(Load::default());
    let mut publishers: Vec<_> =
        (0..8).map(|number| tokio::spawn(Arc::clone(&load).publish(pooler.url(&name), number))).collect();
    publishers.extend((8..12).map(|number| tokio::spawn(Arc::clone(&load).post(Arc::clone(&api), number))));

    load.more(200).await;
    // The workers' own sessions and this one do not go through the pooler. Neither do connections
    // that ask for the types of a statement.
    let few = format!(
        "count(*) <= {SESSIONS} + 3 FROM pg_stat_activity
          WHERE datname = current_database() AND backend_type = 'client backend'"
    );
    scene.until(&few).await;
    pooler.kill9();
    pooler.start_again().await;
    let seen = scene.receiver.received().len();
    load.more(200).await;
    scene.receiver.wait_for(seen + 200).await;
    load.end(publishers).await;

    nothing_owed(&scene.client).await;
    load.check(&scene.client, &scene.receiver.received()).await;
    // The attempt log is written, too.
    scene.until("EXISTS (SELECT FROM attempts)").await;
    for mut process in workers.into_iter().chain([api_process]) {
        process.stop().await;
    }
    assert_eq!(scene.number("SELECT count(*) FROM workers").await, 0);
}

/// Other applications get the same sessions. They must find no settings, no statements and no locks
/// of pgtopic there.
#[tokio::test]
async fn sessions_behind_a_pooler_are_left_as_they_were() {
    let Some((scene, pooler)) = pooled_scene(1).await else { return };
    let (client, connection) = tokio_postgres::connect(
        &pooler.url(&scene.text("SELECT current_database()").await),
        tokio_postgres::NoTls,
    )
    .await
    .unwrap();
    tokio::spawn(connection);
    let session = async || {
        let sql = "SELECT pg_backend_pid() || ', ' || (SELECT count(*) FROM pg_prepared_statements) || ' statements, '
                       || (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory')
                       || ' locks, ' || (SELECT string_agg(name || '=' || setting, ' ' ORDER BY name)
                                           FROM pg_settings
                                          WHERE name IN ('default_transaction_isolation', 'jit', 'lock_timeout',
                                                         'idle_in_transaction_session_timeout', 'search_path',
                                                         'synchronous_commit', 'plan_cache_mode')) AS session";
        client
            .simple_query(sql)
            .await
            .unwrap()
            .iter()
            .find_map(|answer| match answer {
                SimpleQueryMessage::Row(row) => row.get("session").map(str::to_owned),
                _ => None,
            })
            .unwrap()
    };
    let before = session().await;
    let broker = Broker::start(scene.store());
    let api = Http::serve(scene.store()).await;
    api.post("/topics", &serde_json::json!({ "name": "other" })).await;
    api.get("/topics/other").await;
    // A statement that fails leaves nothing in the session either.
    api.try_post("/topics", &serde_json::json!({ "name": "other" })).await.unwrap();
    scene.publish(&["a", "b", "c"]).await;
    scene.all_delivered(&["/"]).await;
    // A worker that stops may give up a call in the middle. Then the pooler ends the session. So
    // the test looks at the sessions before that.
    let after = session().await;
    println!("{after}");
    assert_eq!(after, before);
    broker.stop().await;
}

/// A session keeps the plans of the engine's functions. After a slow call it must make them again.
#[tokio::test]
async fn after_a_slow_call_plans_are_made_anew() {
    let Some((scene, _pooler)) = pooled_scene(1).await else { return };
    let name = scene.text("SELECT current_database()").await;
    scene.sql(&format!("ALTER DATABASE {name} SET log_statement = 'all'")).await;
    let broker = Broker::start(scene.store());
    scene.until("count(*) = 1 FROM workers").await;
    let log = async || {
        // The databases of other tests log no statements.
        let log = std::fs::read(TestDatabase::socket_dir().await.join("server.log")).unwrap();
        String::from_utf8_lossy(&log).matches("DISCARD PLANS").count()
    };
    let before = log().await;
    scene.sql("BEGIN; LOCK TABLE lanes IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(0.7); COMMIT").await;
    scene.publish(&["a", "b"]).await;
    assert_eq!(scene.all_delivered(&["/"]).await, 0);
    eventually("plans are made again", async || (log().await > before).then_some(())).await;
    scene.publish(&["a", "b"]).await;
    assert_eq!(scene.all_delivered(&["/"]).await, 0, "no message is sent twice");
    broker.stop().await;
}

/// The statement succeeds, and then the COMMIT of its transaction fails. The call must fail.
#[tokio::test]
async fn a_commit_that_fails_is_reported() {
    let Some((scene, _pooler)) = pooled_scene(2).await else { return };
    scene
        .sql(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN RAISE 'refused at commit' USING ERRCODE = '55000'; END $$;
             CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON topics DEFERRABLE INITIALLY DEFERRED
                 FOR EACH ROW EXECUTE FUNCTION refuse()",
        )
        .await;
    let new = pgtopic::domain::topic::NewTopic {
        name: "other".to_owned(),
        ordering: pgtopic::domain::topic::Ordering::Partition,
        retention_seconds: None,
    };
    let error = scene.store().create_topic(&new).await.unwrap_err();
    assert_eq!(error.database_message(), Some("refused at commit"));
    assert_eq!(scene.number("SELECT count(*) FROM topics").await, 1);
}
