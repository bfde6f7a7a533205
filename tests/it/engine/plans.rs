//! Plans that the engine's functions keep, and tables that change behind them.

use pgtopic_testkit::Scene;

/// A drained queue is empty, and autovacuum analyses it. A worker's session keeps a plan that was
/// made then. If such a plan looks a lane up by an index on `(webhook_id, due_at)`, it goes through
/// all lanes for each lane that is claimed, settled or removed. Then the first claim after a bulk
/// load took minutes, and 0.06 s with a fresh plan.
#[tokio::test]
async fn plans_made_while_the_queue_was_empty_serve_a_backlog_too() {
    let scene = Scene::new().await;
    for path in ["/1", "/2", "/3"] {
        scene.webhook(path, &[]).await;
    }
    let claim = "SELECT count(*) FROM claim_lanes(
        '00000000-0000-0000-0000-000000000001', 1, ARRAY[1, 2, 3], ARRAY[500, 500, 500],
        array_fill('-infinity'::timestamptz, ARRAY[3]), true, 50, 4000000)";
    // 500 of the lanes that are held.
    let held = "FROM (SELECT array_agg(l.webhook_id) AS webhooks, array_agg(l.lane) AS lanes, array_agg(l.token) AS tokens,
                             array_agg(l.position) AS positions, array_agg(l.generation) AS generations,
                             coalesce(count(*), 0)::integer AS count
                        FROM (SELECT * FROM lanes WHERE token = 1 ORDER BY webhook_id, lane LIMIT 500) l) h,";
    let worker = "'00000000-0000-0000-0000-000000000001'";
    let read = format!(
        "SELECT count(*) {held} read_lanes({worker}, webhooks, lanes, tokens, positions, generations, 50, 4000000)"
    );
    let settle = format!(
        "SELECT count(*) {held} settle({worker}, webhooks, lanes, tokens, array_fill('held'::text, ARRAY[count]), generations,
             positions, array_fill(0::float8, ARRAY[count]), array_fill(NULL::bigint, ARRAY[count]),
             array_fill(0, ARRAY[count]), array_fill(NULL::bigint, ARRAY[count]), array_fill(NULL::integer, ARRAY[count]),
             array_fill(NULL::bigint, ARRAY[count]), array_fill(NULL::text, ARRAY[count]),
             array_fill(1, ARRAY[count]), array_fill(-1::bigint, ARRAY[count]), '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}')"
    );
    let remove =
        format!("SELECT count(*) {held} remove_idle_lanes({worker}, webhooks, lanes, tokens, generations)");
    let look = format!(
        "SELECT count(*) FROM claim_messages({worker}, 2, ARRAY(SELECT id FROM messages ORDER BY id LIMIT 256), '{{}}', 256, 16, 4000000)"
    );
    scene
        .sql(
            "INSERT INTO workers (id, lock_key, name, version, capacity, lease)
             VALUES ('00000000-0000-0000-0000-000000000001', -5000, 'worker', '0', 100, '1 min')",
        )
        .await;
    scene.sql("VACUUM ANALYZE").await;
    let news = "SELECT count(*) FROM list_news(1, ARRAY(SELECT generate_series(-10000, -1)), 5000)";
    for call in [claim, &read, &settle, &remove, news, &look] {
        scene.number(call).await;
    }
    // Another session does this, because this one keeps its plans.
    let publisher = scene.another_client().await;
    let insert = "INSERT INTO messages (topic_id, partition_key, payload)
                  SELECT 1, 'key-' || n, '{}' FROM generate_series(1, 50000) AS n ORDER BY stripe(1, 'key-' || n)";
    publisher.batch_execute(insert).await.unwrap();
    assert_eq!(reads_little(&scene, claim).await, 1500);
    assert_eq!(reads_little(&scene, &read).await, 500);
    reads_little(&scene, &settle).await;
    assert_eq!(reads_little(&scene, &remove).await, 0, "all of them owe something");
    assert!(reads_little(&scene, &look).await >= 256);
    assert_eq!(reads_little(&scene, news).await, 5000);
}

/// One call for hundreds of lanes, or thousands of messages. By the primary keys it reads a few
/// rows for each. In any other way it reads all 50,000 for each, which are millions. (Some of these
/// calls look through all 150,000 lanes once, to find out which ones are held.)
async fn reads_little(scene: &Scene, call: &str) -> i64 {
    // If it does read millions, the test must not take minutes.
    scene.sql("BEGIN; SET LOCAL statement_timeout = '60 s'").await;
    let (before, answer) = (scene.rows_read().await, scene.number(call).await);
    let read = scene.rows_read().await - before;
    scene.sql("COMMIT").await;
    println!("{read} rows were read");
    assert!(read < 500_000, "{read} rows: {call}");
    answer
}

/// As a session that has published a single message to empty tables and then loads many.
#[tokio::test]
async fn what_a_publisher_planned_for_empty_tables_serves_a_bulk_load_too() {
    let scene = Scene::with_webhook(&[]).await;
    scene.sql("VACUUM ANALYZE").await;
    for key in ["NULL", "'k-' || n"] {
        let insert = |first, last| {
            format!(
                "INSERT INTO messages (topic_id, partition_key, payload, idempotency_key)
                 SELECT 1, 'key-' || n, '{{}}', {key} FROM generate_series({first}, {last}) AS n"
            )
        };
        for single in 1..=6 {
            scene.sql(&insert(single, single)).await;
        }
        scene.sql("BEGIN; SET LOCAL statement_timeout = '60 s'").await;
        let before = scene.rows_read().await;
        scene.sql(&insert(10, 60_000)).await;
        let read = scene.rows_read().await - before;
        scene.sql("COMMIT; TRUNCATE messages, deliveries, lanes").await;
        println!("{read} rows were read for 60,000 messages");
        assert!(read < 10 * 60_000, "{read} rows");
    }
}
