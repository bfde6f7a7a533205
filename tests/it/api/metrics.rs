//! What Prometheus reads: values, what they cost the database, who may read them, and what is left
//! without a database.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use pgtopic::{
    api::{ApiState, Exposition as Source, router},
    broker::Broker,
    config::{ApiConfig, Config, DatabaseConfig, PerWebhook},
    domain::worker_health::WorkerHealth,
    store::Store,
    telemetry::{
        metrics::{self, Metrics},
        traces::Traces,
    },
    worker::{self, Watch},
};
use pgtopic_testkit::{
    Answer, Exposition, Http, LIMIT, Link, Process, Scene, TestDatabase, TestProxy, Upstream, eventually,
    promtool, quick_delivery,
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{Api, nowhere};

/// The API with the metrics of its process.
fn api(store: &Store, metrics: &Metrics, config: &ApiConfig) -> Api {
    let broker = Broker::new(store.clone(), quick_delivery().allow_networks);
    let source = Source::new(metrics.clone(), broker.clone(), PerWebhook::Auto);
    Api(router(ApiState::new(broker, config).unwrap().with_metrics(Arc::new(source))))
}

async fn read(api: &Api) -> Exposition {
    let answer = api.get("/metrics").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.headers[header::CONTENT_TYPE], "text/plain; version=0.0.4; charset=utf-8");
    Exposition::read(&answer.text)
}

/// Publishes six messages over HTTP and with SQL, and waits until all of them are delivered or given
/// up.
async fn traffic(scene: &Scene, api: &Api, metrics: &Metrics) {
    api.post("/topics/orders/messages", &json!({"payload": 1, "partition_key": "a", "idempotency_key": "k"}))
        .await
        .expect(201);
    api.post("/topics/1/messages", &json!({"payload": 1, "partition_key": "a", "idempotency_key": "k"}))
        .await
        .expect(200);
    api.post("/topics/1/messages/batch", &json!({"messages": [{"payload": 1}, {"payload": 2}]}))
        .await
        .expect(201);
    for path in ["/topics/unknown/messages", "/topics/orders/messages/batch"] {
        assert!(api.post(path, &json!({"payload": 1})).await.status.is_client_error());
    }
    scene.publish(&["a", "b", "c"]).await;
    scene.nothing_owed().await;
    // The attempt is counted when it ends, the settle when it was answered.
    eventually("all is counted", async || {
        let text = metrics.render();
        text.contains(r#"webhook="good",result="delivered"} 6"#).then_some(())
    })
    .await;
}

/// What the test below expects.
const VALUES: &[(&str, f64)] = &[
    (r#"pgtopic_publish_requests_total{topic="orders",result="published"}"#, 2.0),
    (r#"pgtopic_publish_requests_total{topic="orders",result="repeated"}"#, 1.0),
    (r#"pgtopic_publish_requests_total{topic="",result="refused"}"#, 2.0),
    (r#"pgtopic_attempts_total{topic="orders",webhook="good",outcome="accepted",error=""}"#, 6.0),
    (r#"pgtopic_attempts_total{topic="orders",webhook="bad",outcome="failed",error="status"}"#, 6.0),
    (r#"pgtopic_deliveries_settled_total{topic="orders",webhook="good",result="delivered"}"#, 6.0),
    (r#"pgtopic_deliveries_settled_total{topic="orders",webhook="bad",result="attempts_exhausted"}"#, 6.0),
    (r#"pgtopic_request_duration_seconds_count{topic="orders",outcome="accepted"}"#, 6.0),
    (r#"pgtopic_request_duration_seconds_count{topic="orders",outcome="failed"}"#, 6.0),
    (r#"pgtopic_delivery_latency_seconds_count{topic="orders"}"#, 6.0),
    (r#"pgtopic_delivery_latency_seconds_bucket{topic="orders",le="60"}"#, 6.0),
    (r#"pgtopic_deliveries_owed{topic="orders",webhook="bad"}"#, 7.0),
    (r#"pgtopic_deliveries_owed{topic="orders",webhook="good"}"#, 0.0),
    (r#"pgtopic_lanes{topic="orders",webhook="bad",state="halted"}"#, 2.0),
    (r#"pgtopic_dead_letters{topic="orders",webhook="bad"}"#, 6.0),
    (r#"pgtopic_webhook_state{topic="orders",webhook="good",state="active"}"#, 1.0),
    (r#"pgtopic_webhook_state{topic="orders",webhook="bad",state="failing"}"#, 1.0),
    (r#"pgtopic_workers{state="live"}"#, 1.0),
    (r#"pgtopic_workers{state="stale"}"#, 0.0),
    (r#"pgtopic_jobs{kind="purge",state="canceling"}"#, 1.0),
    ("pgtopic_takeovers_total", 1.0),
    ("pgtopic_stale_settles_total", 0.0),
    ("pgtopic_slots", 100.0),
    ("pgtopic_slots_in_use", 0.0),
    ("pgtopic_log_lines_dropped_total", 0.0),
];

/// One process that publishes, delivers and fails: every metric has its value.
#[tokio::test]
async fn every_metric_has_a_sensible_value() {
    let scene = Scene::new().await;
    for (path, name) in [("/good", "'good'"), ("/bad", "'bad'")] {
        scene.webhook(path, &[("name", name), ("max_retries", "1"), ("breaker", "'off'")]).await;
    }
    scene.receiver.set_script(
        |request| {
            if request.path == "/bad" { Answer::Status(503) } else { Answer::Status(204) }
        },
    );
    let (store, metrics) = (scene.store(), Metrics::new(PerWebhook::Auto));
    let api = api(&store, &metrics, &Config::default().api);
    // A worker that is dead: nobody holds its lock.
    scene.idle_worker().await;
    scene.sql("UPDATE workers SET lock_key = -99").await;
    let shutdown = CancellationToken::new();
    let watch = Watch { health: WorkerHealth::default(), metrics: metrics.clone(), traces: Traces::off() };
    let (of_worker, stopping) = (scene.store(), shutdown.clone());
    let running = tokio::spawn(async move {
        let config = Config::default();
        worker::run_watched(of_worker, &config.worker, &quick_delivery(), &config.retention, watch, stopping)
            .await
    });
    scene.somebody_listens().await;
    scene.until("NOT EXISTS (SELECT FROM workers WHERE name = 'idle')").await;

    traffic(&scene, &api, &metrics).await;
    // What the leader would note within ten seconds.
    scene
        .sql(
            "INSERT INTO webhook_samples (webhook_id, owed, oldest_owed_at, halted, dead_letters, failing_since)
             VALUES (2, 7, now() - interval '90 s', 2, 6, now())
                 ON CONFLICT (webhook_id) DO UPDATE
                SET owed = 7, oldest_owed_at = now() - interval '90 s', halted = 2, dead_letters = 6, failing_since = now()",
        )
        .await;
    let publisher = scene.another_client().await;
    // The job is locked at once: the leader would end it.
    let begun = "INSERT INTO jobs (kind, state, created_by, waits_for) VALUES ('purge', 'canceling', 'a', 'b');
                 COMMIT; BEGIN; SELECT FROM jobs FOR UPDATE; INSERT INTO messages (topic_id, payload) VALUES (1, '1')";
    publisher.batch_execute(begun).await.unwrap();

    let text = api.get("/metrics").await.text;
    let seen = Exposition::read(&text);
    if let Some((well, said)) = promtool(&["check", "metrics"], &text) {
        assert!(well, "{said}");
    }
    // All are there.
    let families: BTreeSet<&str> = seen.types.keys().map(String::as_str).collect();
    let expected: BTreeSet<&str> = metrics::ALL.iter().map(|metric| metric.name).collect();
    assert_eq!(families, expected);
    for (name, labels, value) in &seen.samples {
        assert!(
            labels.keys().all(|label| label == "le" || metrics::LABELS.contains(&&**label)),
            "{name} {labels:?}"
        );
        assert!(*value >= 0.0 && value.is_finite(), "{name} {labels:?} {value}");
    }

    for (series, expected) in VALUES {
        assert_eq!(seen.get(series), Some(*expected), "{series}");
    }
    let build = format!("pgtopic_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(seen.get(&build), Some(1.0));
    let age = seen.value(r#"pgtopic_oldest_owed_age_seconds{topic="orders",webhook="bad"}"#);
    assert!((90.0..150.0).contains(&age), "{age}");
    let (new, reused) = (
        seen.value(r#"pgtopic_connections_total{reused="false"}"#),
        seen.value(r#"pgtopic_connections_total{reused="true"}"#),
    );
    assert!(new >= 1.0 && new + reused >= 12.0, "{new} {reused}");
    for series in [
        "pgtopic_messages_inserted_total",
        "pgtopic_claim_duration_seconds_count",
        "pgtopic_settle_duration_seconds_count",
        r#"pgtopic_settle_batch_size_bucket{le="5000"}"#,
        r#"pgtopic_wakeups_total{source="sweep"}"#,
        r#"pgtopic_wakeups_total{source="notification"}"#,
        r#"pgtopic_background_run_age_seconds{piece="samples",result="done"}"#,
        r#"pgtopic_pool_connections{state="idle"}"#,
    ] {
        assert!(seen.get(series).is_some(), "{series}");
    }
    assert!(seen.value("pgtopic_claim_duration_seconds_sum") > 0.0);
    assert!(seen.value(r#"pgtopic_wakeups_total{source="sweep"}"#) > 0.0);
    assert!(seen.value("pgtopic_oldest_publisher_age_seconds") > 0.0, "somebody holds a partition");
    assert!(seen.value("pgtopic_oldest_snapshot_age_seconds") > 0.0, "and holds back vacuum");
    assert!(seen.value("pgtopic_notification_queue_usage_ratio") < 0.5);
    publisher.batch_execute("ROLLBACK").await.unwrap();
    shutdown.cancel();
    tokio::time::timeout(LIMIT, running).await.unwrap().unwrap().unwrap();
}

/// Small tables: at most one row for each webhook, topic, worker or piece of background work.
const SMALL: &str = "'topics', 'webhooks', 'webhook_samples', 'topic_samples', 'breakers', 'workers', 'leader', \
                         'background_runs', 'installation', 'installed', 'sampled', 'shares'";

/// A database with much in it. No scrape reads a table that grows, and all readers share one
/// reading.
#[tokio::test]
async fn a_scrape_scans_no_table_that_grows() {
    let scene = Scene::with_webhook(&[]).await;
    scene
        .sql(
            "SET session_replication_role = replica;
             INSERT INTO messages (id, topic_id, partition_key, payload, size_bytes, lane)
             SELECT n, 1, 'k', '1', 1, hashtextextended('k', 1) FROM generate_series(1, 20000) n;
             INSERT INTO lanes (webhook_id, lane, position, due_at, partition_key)
             SELECT 1, n, 0, now(), 'k' FROM generate_series(1, 20000) n;
             INSERT INTO deliveries (webhook_id, lane, message_id) SELECT 1, n, n FROM generate_series(1, 20000) n;
             INSERT INTO dead_letters (webhook_id, topic_id, partition_key, lane, message_id, reason, attempts)
             SELECT 1, 1, 'k', n, n, 'permanent', 1 FROM generate_series(1, 20000) n;
             INSERT INTO jobs (kind, state, created_by) SELECT 'purge', 'succeeded', 'a' FROM generate_series(1, 20000);
             INSERT INTO changes (kind, changed_by) SELECT 'webhook.paused', 'a' FROM generate_series(1, 20000);
             SET session_replication_role = origin;
             ANALYZE",
        )
        .await;
    let scanned = |tables: &str| {
        format!(
            "SELECT coalesce(sum(seq_scan + seq_tup_read), 0)::bigint FROM pg_stat_user_tables
              WHERE schemaname = current_schema() AND relname {tables}"
        )
    };
    // The counts of the statements above come late.
    scene
        .until("sum(n_tup_ins) >= 120000 FROM pg_stat_user_tables WHERE schemaname = current_schema()")
        .await;
    let before = scene.number(&scanned(&format!("NOT IN ({SMALL})"))).await;
    let small = scene.number(&scanned("= 'background_runs'")).await;
    scene.sql("INSERT INTO background_runs VALUES ('samples', gen_random_uuid(), now(), now(), 1, 1)").await;

    let store = scene.store();
    let config = Config::default().api;
    for _ in 0..3 {
        let api = api(&store, &Metrics::off(), &config);
        assert_eq!(
            read(&api).await.get(r#"pgtopic_deliveries_owed{topic="orders",webhook="webhook-1"}"#),
            Some(0.0)
        );
    }
    // Twenty readers at once, and one reading.
    let shared = api(&store, &Metrics::off(), &config);
    let readers = (0..20).map(|_| async { shared.get("/metrics").await.text });
    let texts = futures_util::future::join_all(readers).await;
    assert!(texts.iter().all(|text| *text == texts[0]), "they are the same");
    drop((store, shared));
    // The readings have come to the statistics, when those of the small table have.
    scene.until(&format!("({}) >= {small} + 8", scanned("= 'background_runs'"))).await;
    assert_eq!(scene.number(&scanned("= 'background_runs'")).await, small + 8, "four readings");
    assert_eq!(scene.number(&scanned(&format!("NOT IN ({SMALL})"))).await, before);

    // No plan reads one of them, either.
    for statement in [
        include_str!("../../../sql/metrics/list_values.sql").to_owned(),
        include_str!("../../../sql/workers/list.sql").replace("$1::bigint", "1000"),
        include_str!("../../../sql/stats/list_webhooks.sql")
            .replace("$1::bigint", "NULL")
            .replace("$2::bigint", "9"),
    ] {
        let plan = scene.client.query(&format!("EXPLAIN {statement}"), &[]).await.unwrap();
        let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
        for table in
            ["messages", "deliveries", "lanes", "dead_letters", "attempts", "jobs", "changes", "activity"]
        {
            let scan = format!("Seq Scan on {table} ");
            assert!(!plan.iter().any(|line| line.contains(&scan)), "{scan}: {plan:#?}");
        }
    }
}

#[tokio::test]
async fn readers_need_a_token_unless_metrics_are_open() {
    let tokens = vec!["read:r".into(), "read@orders:limited".into(), "publish:p".into()];
    let store = Store::new(&nowhere()).unwrap();
    let status = async |open, token: &str| {
        let config = ApiConfig { tokens: tokens.clone(), metrics_open: open, ..Config::default().api };
        let mut request = Request::get("/metrics");
        if !token.is_empty() {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        api(&store, &Metrics::off(), &config).send(request.body(Body::empty()).unwrap()).await.status
    };
    for (token, expected) in [("", 401), ("r", 200), ("limited", 403), ("p", 403)] {
        assert_eq!(status(false, token).await, StatusCode::from_u16(expected).unwrap(), "{token}");
        assert_eq!(status(true, token).await, StatusCode::OK, "{token}");
    }
    let config = ApiConfig { tokens: tokens.clone(), metrics_open: true, ..Config::default().api };
    assert_eq!(api(&store, &Metrics::off(), &config).get("/stats").await.status, 401, "the others need one");
}

/// A database that hangs: the answer comes all the same, with what the process knows.
#[tokio::test]
async fn without_the_database_the_process_answers_for_itself() {
    let scene = Scene::with_webhook(&[]).await;
    let socket = TestDatabase::socket_dir().await.join(".s.PGSQL.5432");
    let proxy = TestProxy::start(Upstream::Unix(socket)).await;
    let name = scene.text("SELECT current_database()").await;
    let database = DatabaseConfig {
        url: Some(format!("postgresql://postgres@{}/{name}", proxy.address()).into()),
        listen_url: Some(scene.database.url().to_owned().into()),
        ..scene.database.config()
    };
    let (store, metrics) = (Store::new(&database).unwrap(), Metrics::new(PerWebhook::Auto));
    let shut = api(&store, &metrics, &Config::default().api);
    assert!(read(&shut).await.get(r#"pgtopic_workers{state="live"}"#).is_some());
    proxy.set(Link::Dead);
    // Two readers wait for one reading.
    let silent = api(&store, &metrics, &Config::default().api);
    // Other statements would wait for 27 s.
    let both = async { tokio::join!(read(&silent), read(&silent)) };
    let (first, second) = tokio::time::timeout(Duration::from_secs(20), both).await.expect("it never hangs");
    for seen in [first, second] {
        assert_eq!(seen.get(r#"pgtopic_workers{state="live"}"#), None);
        assert_eq!(seen.get("pgtopic_takeovers_total"), Some(0.0));
    }
}

/// A worker alone has a listener of its own; so has `serve`, beside its API.
#[tokio::test]
async fn a_worker_has_a_listener_of_its_own() {
    let scene = Scene::with_webhook(&[]).await;
    let mut environment = scene.database.environment();
    environment.push(("PGTOPIC_WORKER__METRICS_BIND", "localhost:0"));
    for command in [&["worker"][..], &["serve", "--bind", "127.0.0.1:0"]] {
        let mut process = Process::start(command, &environment);
        let output = process.wait_for_output("metrics are at /metrics").await;
        let line = output.lines().find(|line| line.contains("metrics are at")).unwrap();
        let address = line.split("address=").nth(1).unwrap().split_whitespace().next().unwrap();
        process.wait_for_output("worker is ready").await;
        let text = Http::at(address.parse().unwrap()).text("/metrics").await;
        let seen = Exposition::read(&text);
        assert_eq!(seen.get("pgtopic_slots"), Some(100.0), "{command:?}");
        assert_eq!(seen.get(r#"pgtopic_workers{state="live"}"#), Some(1.0), "{command:?}");
        process.stop().await;
    }
}
