//! Advisory locks of other programs. Any role that may connect can take one.

use pgtopic_testkit::{Http, Process, Scene, TestCluster, create_topic, reach_schema};
use serde_json::json;

#[tokio::test]
async fn a_worker_goes_on_to_the_next_key_and_names_the_holder() {
    let scene = Scene::with_webhook(&[]).await;
    let stranger = scene.another_client().await;
    stranger
        .batch_execute(
            "SET application_name = 'stranger';
             SELECT pg_advisory_lock(stripe_class(), k::integer)
               FROM generate_series(coalesce((SELECT pg_sequence_last_value('worker_lock_keys')), 0) - 20,
                                    coalesce((SELECT pg_sequence_last_value('worker_lock_keys')), 0)) k
              WHERE k < 0",
        )
        .await
        .unwrap();
    let pid: i32 = stranger.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    let mut environment = scene.database.environment();
    environment.push(("PGTOPIC_DELIVERY__ALLOW_NETWORKS", "127.0.0.0/8"));
    let begun = std::time::Instant::now();
    let mut worker = Process::start(&["worker"], &environment);
    worker.wait_for_output("worker is ready").await;
    assert!(begun.elapsed() < std::time::Duration::from_secs(5), "the worker waits for no lock");
    let output = worker.output();
    let named = output.contains(&format!("process {pid} of role postgres, stranger"));
    assert!(named && output.matches("a stranger holds").count() == 1, "{output}");
    scene.publish(&["a"]).await;
    assert_eq!(scene.all_delivered(&["/"]).await, 0);
    worker.stop().await;
}

#[tokio::test]
async fn the_log_names_who_keeps_a_publisher_waiting() {
    let cluster = TestCluster::private_with(&[("max_prepared_transactions", "5")]).await;
    let client = reach_schema(&cluster.url()).await;
    create_topic(&client).await;
    client
        .batch_execute(
            "BEGIN; SELECT pg_advisory_xact_lock(stripe_class(), stripe(1, 'a')); PREPARE TRANSACTION 'left alone'",
        )
        .await
        .unwrap();
    let url = cluster.url();
    let environment = [("DATABASE_URL", url.as_str()), ("PGTOPIC_API__BIND", "127.0.0.1:0")];
    let mut process = Process::start(&["api"], &environment);
    let api = Http::of(&mut process).await;
    let message = json!({ "partition_key": "a", "payload": {} });
    let (status, answer) = api.try_post("/topics/orders/messages", &message).await.unwrap();
    assert_eq!(status.as_u16(), 503);
    let detail = answer["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("the partition is held") && detail.contains("/why?partition_key="),
        "{answer}"
    );
    process.wait_for_output("held by prepared transaction 'left alone' of role postgres").await;
    client.batch_execute("ROLLBACK PREPARED 'left alone'").await.unwrap();
    process.stop().await;
}
