//! What a worker says of receivers that fail.

use pgtopic_testkit::{Answer, Broker, Process, Scene, create_webhook};

/// How many messages there are. Each has a lane of its own.
const MESSAGES: usize = 300;

#[tokio::test]
async fn an_outage_is_logged_once_when_it_begins_and_once_when_it_ends() {
    let scene =
        Scene::with_webhook(&[("max_retries", "2"), ("backoff_factor", "1"), ("breaker", "'off'")]).await;
    scene.receiver.set_script(|_| Answer::Status(503));
    let url = scene.database.url().to_owned();
    let environment = [("DATABASE_URL", url.as_str()), ("PGTOPIC_DELIVERY__ALLOW_NETWORKS", "127.0.0.0/8")];
    let mut worker = Process::start(&["worker"], &environment);
    scene
        .sql(&format!(
            "INSERT INTO messages (topic_id, partition_key, payload) SELECT 1, n::text, '{{}}' FROM generate_series(1, {MESSAGES}) n"
        ))
        .await;
    worker.wait_for_output("a webhook fails").await;
    scene.until(&format!("count(*) = {MESSAGES} FROM dead_letters")).await;
    assert!(!worker.output().contains("has recovered"));
    scene.receiver.set_script(|_| Answer::Status(204));
    scene.publish(&["a"]).await;
    worker.wait_for_output("a webhook has recovered").await;
    let ended = worker.stop().await;

    let lines = |level: &str| ended.output.lines().filter(|line| line.contains(level)).count();
    assert_eq!(ended.output.matches("a webhook fails").count(), 1, "{}", ended.output);
    assert_eq!(ended.output.matches("a webhook has recovered").count(), 1, "{}", ended.output);
    // One summary each ten seconds is allowed, too.
    assert!(lines("WARN") <= 4 && lines("INFO") < 20, "{}", ended.output);
    let recovered = ended.output.lines().find(|line| line.contains("has recovered")).unwrap();
    for cost in [format!("failed_attempts={}", 2 * MESSAGES), format!("dead_letters={MESSAGES}")] {
        assert!(recovered.contains(&cost), "{cost}: {recovered}");
    }
}

/// Then it is the worker that is cut off, not all of its receivers.
#[tokio::test]
async fn a_worker_that_reaches_no_webhook_at_all_says_so_and_claims_nothing_for_five_seconds() {
    let scene = Scene::new().await;
    for _ in 0..2 {
        // Nobody listens there.
        create_webhook(
            &scene.client,
            "http://127.0.0.1:1/",
            &[("breaker", "'off'"), ("backoff_factor", "60")],
        )
        .await;
    }
    let keys: Vec<String> = (0..10).map(|key| key.to_string()).collect();
    scene.publish(&keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let _broker = Broker::start(scene.store());
    scene.until("EXISTS (SELECT FROM workers WHERE trouble = 'it reaches no webhook at all')").await;
    let reached = scene.webhook("/", &[]).await;
    let ids = scene.publish(&["a"]).await;
    scene.arrival(ids[0]).await;
    scene.until(&format!("EXISTS (SELECT FROM attempts WHERE webhook_id = {reached})")).await;
    let waited = format!(
        "SELECT (min(attempted_at) FILTER (WHERE webhook_id = {reached})
                 - (array_agg(attempted_at ORDER BY attempted_at) FILTER (WHERE webhook_id <> {reached}))[10]
                 >= interval '5 s')::text FROM attempts"
    );
    assert_eq!(scene.text(&waited).await, "true", "from the tenth failure on");
    scene.until("(SELECT trouble FROM workers) IS NULL").await;
}
