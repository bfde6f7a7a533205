//! What the forms do.

use super::{Console, filled};

#[tokio::test]
async fn webhooks_are_paused_resumed_and_enabled() {
    let database = filled().await;
    let client = database.client().await;
    let console = Console::new(database.store(), &[]);
    console
        .get("webhooks/1")
        .await
        .says(&["New messages are owed", "curl -X POST http://localhost:8000/webhooks/1/pause"]);
    assert_eq!(console.post("webhooks/1/pause", &[]).await.location(), "../1");
    console.get("webhooks/1").await.says(&["paused", "pgtopic webhooks resume 1"]);
    assert_eq!(console.post("webhooks/1/resume", &[]).await.location(), "../1");
    console.get("webhooks/1").await.says(&["pgtopic webhooks pause 1"]);
    client.execute("UPDATE pgtopic.webhooks SET disabled_reason = 'gone' WHERE id = 1", &[]).await.unwrap();
    console.get("webhooks/1").await.says(&["Sending begins again"]);
    assert_eq!(console.post("webhooks/1/enable", &[]).await.status, 303);
    console.get("webhooks/1").await.says_not(&["disabled"]);
    assert_eq!(console.post("webhooks/1/explode", &[]).await.status, 404);
    // The audit log names the console.
    let actors =
        "SELECT DISTINCT changed_by FROM pgtopic.changes WHERE webhook_id = 1 AND changed_by LIKE 'console%'";
    let actor: String = client.query_one(actors, &[]).await.unwrap().get(0);
    assert_eq!(actor, "console (admin)");
}

#[tokio::test]
async fn a_message_is_published_and_a_wrong_one_is_refused_in_words() {
    let database = filled().await;
    let console = Console::new(database.store(), &[]);
    let form = [("payload", r#"{"a":  1}"#), ("partition_key", "-k'"), ("type", "order.paid")];
    assert_eq!(console.post("topics/orders/publish", &form).await.location(), "../../messages/3");
    console.get("messages/3").await.says(&["{&#34;a&#34;:  1}", "order.paid", "-k&#39;"]);
    // A browser sends CRLF for each line of a form.
    let lines = console.post("topics/orders/publish", &[("payload", "{\r\n  \"b\": 1}")]).await;
    assert_eq!(lines.location(), "../../messages/4");
    assert_eq!(console.get("messages/4/payload").await.text, "{\n  \"b\": 1}");
    for (payload, why) in [("{", "payload must be JSON"), ("", "payload must be JSON")] {
        let page = console.post("topics/orders/publish", &[("payload", payload)]).await;
        assert!(page.status == 422 && page.text.contains(why), "{}", page.text);
    }
    let long = "x".repeat(2000);
    let page = console.post("topics/orders/publish", &[("payload", "1"), ("partition_key", &long)]).await;
    assert!(page.status == 422 && page.text.contains("partition_key"), "{}", page.text);
    let huge = format!("\"{}\"", "x".repeat(300_000));
    let page = console.post("topics/orders/publish", &[("payload", &huge)]).await;
    assert!(page.status == 413 && page.text.contains("at most 256 KiB"), "{}", page.text);
}

#[tokio::test]
async fn dead_letters_are_counted_before_a_job_takes_them() {
    let database = filled().await;
    let client = database.client().await;
    let console = Console::new(database.store(), &[]);
    let jobs =
        async || client.query_one("SELECT count(*) FROM pgtopic.jobs", &[]).await.unwrap().get::<_, i64>(0);
    let question = console.get("dead-letters/discard?webhook_id=1").await;
    question.says(&["<strong>1</strong> dead letter in", "cannot be taken back", "Discard 1"]);
    question.says(&[
        "pgtopic dead-letter discard --webhook-id=1",
        "--data-raw &#39;{&#34;webhook_id&#34;:1}&#39;",
    ]);
    console.get("dead-letters/replay?webhook_id=1&reason=expired").await.says(&["There is nothing to do"]);
    assert_eq!(jobs().await, 0);
    // A filter in the wrong place must not be taken for none.
    assert_eq!(console.post("dead-letters/discard", &[("webhook_id", "1")]).await.status, 422);
    assert_eq!(jobs().await, 0);
    let page = console.post("dead-letters/discard?webhook_id=1", &[]).await;
    assert_eq!(page.location(), "../jobs/1");
    console.get("jobs/1").await.says(&["dead_letter_discard", "queued", "0 of 1", "pgtopic jobs cancel 1"]);
    console.get("jobs").await.says(&["jobs/1", "queued"]);
    console.get("jobs?state=failed").await.says(&["No job is failed"]);
    assert_eq!(console.post("jobs/1/cancel", &[]).await.location(), "../1");
    console.get("jobs/1").await.says(&["cancel"]);
    // No filter at all means all of them.
    console.get("dead-letters/replay").await.says(&["<strong>2</strong> dead letters", "--all"]);
    assert_eq!(console.post("dead-letters/replay", &[]).await.location(), "../jobs/2");
    assert_eq!(console.post("dead-letters/explode", &[]).await.status, 404);
}
