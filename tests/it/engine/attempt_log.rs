//! The log of attempts when it cannot be written. This costs rows of the log, and nothing else.

use pgtopic_testkit::{Process, Scene};

async fn worker(scene: &Scene) -> Process {
    let mut environment = scene.database.environment();
    environment.push(("PGTOPIC_DELIVERY__ALLOW_NETWORKS", "127.0.0.0/8"));
    let mut worker = Process::start(&["worker"], &environment);
    worker.wait_for_output("worker is ready").await;
    worker
}

/// Makes a worker write to the log. Its partitions exist from then on.
async fn begin(scene: &Scene) -> Process {
    let worker = worker(scene).await;
    scene.publish(&["first"]).await;
    scene.until("EXISTS (SELECT FROM attempts)").await;
    worker
}

#[tokio::test]
async fn a_row_that_is_refused_is_left_out_alone() {
    let scene = Scene::with_webhook(&[]).await;
    let mut worker = begin(&scene).await;
    scene
        .sql(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''not this one''; END';
             CREATE TRIGGER refuse BEFORE INSERT ON attempts FOR EACH ROW WHEN (NEW.message_id % 50 = 7) EXECUTE FUNCTION refuse();
             INSERT INTO messages (topic_id, partition_key, payload)
             SELECT 1, 'key-' || n, '{}' FROM generate_series(1, 500) AS n",
        )
        .await;
    let missing =
        "SELECT count(*) FROM messages m WHERE NOT EXISTS (SELECT FROM attempts WHERE message_id = m.id)";
    scene.until(&format!("10 = ({missing})")).await;
    assert_eq!(scene.number(&format!("{missing} AND id % 50 = 7")).await, 10);
    assert_eq!(scene.all_delivered(&["/"]).await, 0);
    let output = worker.stop().await.output;
    assert_eq!(output.matches("not this one").count(), 1, "said once");
}

/// A refused row is reported, whatever the reason. The worker does not go on trying row by row for
/// ever.
#[tokio::test]
async fn a_log_that_takes_no_row_is_given_up_soon_and_said() {
    let scene = Scene::with_webhook(&[]).await;
    let mut worker = begin(&scene).await;
    // Many rows wait for the log before any of them is tried.
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
    assert_eq!(output.matches("the log of attempts cannot be written").count(), 1, "said once");
    assert_eq!(scene.number("SELECT count(*) FROM attempts").await, 1);
    let tries = scene.number("SELECT last_value FROM tries").await;
    println!("{tries} tries");
    assert!((1..300).contains(&tries), "{tries}");
}

/// A wait for a lock of the whole log is not the fault of a row.
#[tokio::test]
async fn a_locked_log_keeps_no_worker_from_stopping() {
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
