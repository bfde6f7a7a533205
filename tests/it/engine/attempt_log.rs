//! An attempt log that cannot be written. This costs rows of the log, and nothing else.

use pgtopic_testkit::{Process, Scene};

async fn worker(scene: &Scene) -> Process {
    let mut environment = scene.database.environment();
    environment.push(("PGTOPIC_DELIVERY__ALLOW_NETWORKS", "127.0.0.0/8"));
    let mut worker = Process::start(&["worker"], &environment);
    worker.wait_for_output("worker is ready").await;
    worker
}

/// Starts a worker and waits for its first row in the log. Then the partitions of the log exist.
async fn begin(scene: &Scene) -> Process {
    let worker = worker(scene).await;
    scene.publish(&["first"]).await;
    scene.until("EXISTS (SELECT FROM attempts)").await;
    worker
}

#[tokio::test]
async fn a_refused_row_of_the_attempt_log_costs_no_other_row() {
    let scene = Scene::with_webhook(&[]).await;
    let mut worker = begin(&scene).await;
    scene
        .sql(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''not this one''; END';
             CREATE TRIGGER refuse BEFORE INSERT ON attempts FOR EACH ROW WHEN (NEW.message_id % 5 = 2) EXECUTE FUNCTION refuse();
             INSERT INTO messages (topic_id, partition_key, payload)
             SELECT 1, 'key-' || n, '{}' FROM generate_series(1, 500) AS n",
        )
        .await;
    // Halving one batch down to its refused rows takes more statements than may fail for no reason.
    let missing =
        "SELECT count(*) FROM messages m WHERE NOT EXISTS (SELECT FROM attempts WHERE message_id = m.id)";
    scene.until(&format!("100 = ({missing})")).await;
    assert_eq!(scene.number(&format!("{missing} AND id % 5 = 2")).await, 100);
    assert_eq!(scene.all_delivered(&["/"]).await, 0);
    let output = worker.stop().await.output;
    assert_eq!(output.matches("not this one").count(), 1, "it is logged once");
}

/// The log refuses every row. The worker says that in its own log. It does not try each row.
#[tokio::test]
async fn an_attempt_log_that_takes_no_row_is_reported_after_few_tries() {
    let scene = Scene::with_webhook(&[]).await;
    let mut worker = begin(&scene).await;
    // The lock lets many rows wait before the first row is tried.
    let other = scene.another_client().await;
    other
        .batch_execute(
            "BEGIN; LOCK TABLE attempts IN ACCESS EXCLUSIVE MODE;
             CREATE SEQUENCE tries;
             CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
             AS 'BEGIN PERFORM nextval(''pgtopic.tries''); RAISE EXCEPTION ''nothing''; END';
             CREATE TRIGGER refuse BEFORE INSERT ON attempts FOR EACH ROW EXECUTE FUNCTION refuse()",
        )
        .await
        .unwrap();
    scene
        .sql(
            "INSERT INTO messages (topic_id, partition_key, payload)
             SELECT 1, 'key-' || n, '{}' FROM generate_series(1, 2000) AS n",
        )
        .await;
    assert_eq!(scene.all_delivered(&["/"]).await, 0);
    other.batch_execute("COMMIT").await.unwrap();
    let output = worker.stop().await.output;
    assert_eq!(output.matches("the log of attempts cannot be written").count(), 1, "it is logged once");
    assert_eq!(scene.number("SELECT count(*) FROM attempts").await, 1);
    let tries = scene.number("SELECT last_value FROM tries").await;
    println!("{tries} tries");
    assert!((1..300).contains(&tries), "{tries}");
}

/// The whole log is locked. That is not the fault of a row, so rows are not tried one by one.
#[tokio::test]
async fn a_worker_stops_while_the_attempt_log_is_locked() {
    let scene = Scene::with_webhook(&[]).await;
    let mut worker = begin(&scene).await;
    let locker = scene.another_client().await;
    locker.batch_execute("BEGIN; LOCK TABLE attempts IN ACCESS EXCLUSIVE MODE").await.unwrap();
    for _ in 0..3 {
        scene.publish(&["a", "b", "c", "d", "e", "f"]).await;
        scene.nothing_owed().await;
    }
    let output = worker.stop().await.output;
    assert!(!output.contains("abandoned"), "{output}");
    assert_eq!(output.matches("the log of attempts cannot be written").count(), 1, "{output}");
    locker.batch_execute("COMMIT").await.unwrap();
    assert_eq!(scene.all_delivered(&["/"]).await, 0);
}
