//! Dead rows, partitions of the attempt log, and what is past its retention.

use pgtopic::domain::doctor::{Check, Status};
use pgtopic_testkit::{Broker as Worker, Scene};

use super::{apply_command, apply_sql, becomes, broker, check, is};

#[tokio::test]
async fn dead_rows_that_nobody_cleans_up_are_vacuumed() {
    let scene = Scene::new().await;
    let doctor = broker(scene.store());
    scene.sql("ALTER TABLE deliveries SET (autovacuum_enabled = false)").await;
    let found = is(check(&doctor, Check::DeadTuples).await, Status::Fail);
    // PostgreSQL 14 counts the rows of a connection that is idle only when the connection ends.
    let writer = scene.database.broker_client().await;
    let rows =
        "INSERT INTO deliveries SELECT 1, n, n FROM generate_series(1, 100001) n; DELETE FROM deliveries";
    writer.batch_execute(rows).await.unwrap();
    drop(writer);
    apply_sql(&scene.client, &found).await;
    let found = becomes(&doctor, Check::DeadTuples, Status::Warn).await;
    assert!(found.seen.contains("pgtopic.deliveries has 100001 dead rows"), "{found:?}");
    apply_sql(&scene.client, &found).await;
    becomes(&doctor, Check::DeadTuples, Status::Ok).await;
}

#[tokio::test]
async fn partitions_of_the_attempt_log_are_made() {
    let scene = Scene::new().await;
    let doctor = broker(scene.store());
    scene.sql("SELECT make_attempt_partitions(7)").await;
    is(check(&doctor, Check::AttemptPartitions).await, Status::Ok);
    for (day, status, says) in
        [(6, Status::Warn, "in 6 days"), (1, Status::Fail, "tomorrow"), (0, Status::Fail, "today")]
    {
        scene
            .sql(&format!(
                "DO $$ BEGIN EXECUTE 'DROP TABLE attempts_' || to_char((now() AT TIME ZONE 'UTC') + interval '{day} days', 'YYYYMMDD'); END $$"
            ))
            .await;
        let found = is(check(&doctor, Check::AttemptPartitions).await, status);
        assert!(found.seen.contains(says), "{found:?}");
    }
    let found = check(&doctor, Check::AttemptPartitions).await;
    apply_sql(&scene.client, &found).await;
    is(check(&doctor, Check::AttemptPartitions).await, Status::Ok);
}

#[tokio::test]
async fn what_is_past_its_retention_is_purged() {
    let scene = Scene::new().await;
    let doctor = broker(scene.store());
    is(check(&doctor, Check::Retention).await, Status::Ok);
    let old =
        "INSERT INTO messages (topic_id, payload, created_at) VALUES (1, '{}', now() - interval '31 days')";
    scene.sql(old).await;
    let found = is(check(&doctor, Check::Retention).await, Status::Warn);
    assert!(found.seen.contains("1 messages"), "{found:?}");
    // A topic may keep its messages for ever. What a dead letter needs stays, too.
    scene.sql("UPDATE topics SET retention = '0'").await;
    is(check(&doctor, Check::Retention).await, Status::Ok);
    scene.sql("UPDATE topics SET retention = NULL").await;
    let worker = Worker::start(scene.store());
    apply_command(&found, &scene.database.environment()).await;
    becomes(&doctor, Check::Retention, Status::Ok).await;
    worker.stop().await;

    scene
        .sql(
            "CREATE TABLE attempts_20200101 PARTITION OF attempts FOR VALUES FROM ('2020-01-01 00:00+00') TO ('2020-01-02 00:00+00')",
        )
        .await;
    let found = is(check(&doctor, Check::Retention).await, Status::Fail);
    assert!(found.seen.starts_with("attempts"), "{found:?}");
    let worker = Worker::start(scene.store());
    apply_command(&found, &scene.database.environment()).await;
    becomes(&doctor, Check::Retention, Status::Ok).await;
    worker.stop().await;
}
