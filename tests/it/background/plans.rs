//! What steps of jobs read.

use pgtopic_testkit::Scene;
use rstest::rstest;

/// The plans of a session are kept from when all tables were empty. Then 20,000 messages come. A
/// step for 100 of them reads some rows for each of them, and never goes through a table.
#[rstest]
#[case::replay("replay", "")]
#[case::replay_of_failed("replay", r#"{"only_failed": true}"#)]
#[case::dead_letters("dead_letter_replay", "")]
#[case::discard("dead_letter_discard", "")]
#[case::backfill("backfill", "")]
#[case::cancel("cancel", r#"{"type": "order.paid"}"#)]
#[tokio::test]
async fn a_step_reads_no_more_than_it_deals_with(#[case] kind: &str, #[case] filter: &str) {
    let scene = Scene::with_webhook(&[]).await;
    scene.sql("VACUUM ANALYZE").await;
    let filter = if filter.is_empty() { "{}" } else { filter };
    let make = format!(
        "INSERT INTO jobs (kind, topic_id, webhook_id, filter, progress, created_by)
         SELECT '{kind}', 1, 1, '{filter}',
                json_build_object('after', 0, 'after_id', 0, 'from', 0, 'lane', -9223372036854775808,
                                  'until', CASE '{kind}' WHEN 'backfill' THEN NULL ELSE 1000000 END), 'test'"
    );
    let step = "SELECT did FROM step_job((SELECT max(id) FROM jobs), 100, 0, 0, 0, 0, 0)";
    for _ in 0..2 {
        scene.sql(&make).await;
        assert_eq!(scene.number(step).await, 0);
    }
    let loader = scene.another_client().await;
    let owed = if kind == "cancel" { "" } else { "TRUNCATE deliveries, lanes;" };
    let load = format!(
        "INSERT INTO messages (topic_id, partition_key, type, payload)
         SELECT 1, 'key-' || n, 'order.paid', '{{}}' FROM generate_series(1, 20000) AS n ORDER BY stripe(1, 'key-' || n);
         {owed}
         INSERT INTO dead_letters (webhook_id, topic_id, partition_key, lane, message_id, reason, attempts)
         SELECT 1, 1, m.partition_key, m.lane, m.id, 'permanent', 1 FROM messages m WHERE '{kind}' <> 'cancel'"
    );
    loader.batch_execute(&load).await.unwrap();
    scene.sql(&make).await;
    scene.sql("BEGIN").await;
    let before = scene.rows_read().await;
    assert_eq!(scene.number(step).await, 100);
    let read = scene.rows_read().await - before;
    scene.sql("COMMIT").await;
    println!("{read} rows were read");
    assert!(read < 5_000, "{read} rows");
}
