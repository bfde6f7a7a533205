//! Query plans that sessions keep while the tables grow.

use pgtopic_testkit::Scene;

/// Plans that were made for an empty queue must also be good for a long one. A worker's session
/// makes a plan once and keeps it.
///
/// A bad plan finds a lane by an index on `(webhook_id, due_at)`. Then each lane that is claimed,
/// settled or removed costs a walk through all lanes. With a bad plan, the first claim after a bulk
/// load took minutes. With a good plan it took 0.06 s.
#[tokio::test]
async fn plans_made_while_the_queue_was_empty_serve_a_backlog_too() {
    let scene = Scene::new().await;
    for path in ["/1", "/2", "/3"] {
        scene.webhook(path, &[]).await;
    }
    let claim = "SELECT count(*) FROM claim_lanes(
        '00000000-0000-0000-0000-000000000001', 1, ARRAY[1, 2, 3], ARRAY[500, 500, 500],
        array_fill('-infinity'::timestamptz, ARRAY[3]), true, 50, 4000000)";
    // At most 500 of the lanes that are held.
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
             array_fill(NULL::text, ARRAY[count]), array_fill(NULL::smallint, ARRAY[count]),
             array_fill(1, ARRAY[count]), array_fill(-1::bigint, ARRAY[count]), '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}')"
    );
    let remove =
        format!("SELECT count(*) {held} remove_idle_lanes({worker}, webhooks, lanes, tokens, generations)");
    let look = format!(
        "SELECT count(*) FROM claim_messages({worker}, 2, ARRAY(SELECT id FROM messages ORDER BY id LIMIT 256), '{{}}', NULL, 256, 16, 4000000)"
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
    // Another session publishes: this session must keep the plans that it has made.
    let publisher = scene.another_client().await;
    let insert = "INSERT INTO messages (topic_id, partition_key, payload)
                  SELECT 1, 'key-' || n, '{}' FROM generate_series(1, 50000) AS n ORDER BY stripe(1, 'key-' || n)";
    publisher.batch_execute(insert).await.unwrap();
    assert_eq!(reads_little(&scene, claim).await, 1500);
    assert_eq!(reads_little(&scene, &read).await, 500);
    reads_little(&scene, &settle).await;
    assert_eq!(reads_little(&scene, &remove).await, 0, "no lane is idle");
    assert!(reads_little(&scene, &look).await >= 256);
    assert_eq!(reads_little(&scene, news).await, 5000);
}

/// Makes one call, and checks that it reads few rows. Returns the answer of the call.
///
/// A call is for hundreds of lanes or thousands of messages. With a good plan it reads a few rows
/// for each of them, by primary keys. With a bad plan it reads all 50,000 rows for each of them:
/// millions. (Some calls also read all 150,000 lanes once, to find the lanes that are held.)
async fn reads_little(scene: &Scene, call: &str) -> i64 {
    // With a bad plan this test must fail soon. It must not take minutes.
    scene.sql("BEGIN; SET LOCAL statement_timeout = '60 s'").await;
    let (before, answer) = (scene.rows_read().await, scene.number(call).await);
    let read = scene.rows_read().await - before;
    scene.sql("COMMIT").await;
    println!("{read} rows were read");
    assert!(read < 500_000, "{read} rows: {call}");
    answer
}

/// A session publishes single messages to empty tables. Then it loads many messages.
#[tokio::test]
async fn a_publishers_plans_for_empty_tables_serve_a_bulk_load_too() {
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
