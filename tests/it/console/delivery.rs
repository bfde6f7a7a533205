//! The screen of a delivery.

use super::{Console, HOSTILE_KEY, filled};

/// An answer, and a header of a webhook, that nobody may see who sees no payloads.
const ATTEMPT: &str = "
    DELETE FROM pgtopic.dead_letters WHERE webhook_id = 1;
    UPDATE pgtopic.webhooks SET url = 'https://example.com/''$(touch)?a=b', headers = '{\"Authorization\": \"Bearer hunter2\"}';
    INSERT INTO pgtopic.attempts (webhook_id, message_id, attempt, outcome, status_code, error_class, error, duration_us, worker_id, attempted_at, response_excerpt, retry_after_seconds)
    VALUES (1, 1, 1, 'failed', 503, 'status', 'status 503', 12345, gen_random_uuid(), now(), '<h1>oops', 7);
    UPDATE pgtopic.lanes SET failures = 1, head_message_id = 1, last_error = 'status 503', due_at = now() + interval '1 hour' WHERE webhook_id = 1";

#[tokio::test]
async fn a_delivery_shows_its_attempts_and_its_next_request() {
    let database = filled().await;
    let client = database.client().await;
    client.batch_execute(ATTEMPT).await.unwrap();
    let console = Console::new(database.store(), &[]);
    console.get("messages/1").await.says(&["deliveries/1/1"]);
    let page = console.get("deliveries/1/1").await;
    page.says(&[
        "retrying",
        "status 503",
        "&#60;h1&#62;oops",
        "asked to wait 7 s",
        "12 ms",
        "lane?webhook=1",
    ]);
    page.says(&[
        "webhook-signature",
        "v1,",
        "msg_1",
        "Try now",
        "lane/retry?webhook=1&#38;partition_key=",
        "Cancel this one",
        "pgtopic deliveries cancel 1 1",
        "{&#34;paid&#34;:  true}",
        "15 bytes",
        // The second attempt is next.
        "<th scope=\"row\">webhook-attempt</th><td><code>2</code>",
        // The key is encoded in its header, and the URL is quoted.
        "webhook-partition</th><td><code>&#39;;%20touch%20x%0A&#60;script&#62;",
        "curl --globoff -X POST &#39;https://example.com/&#39;\\&#39;&#39;$(touch)?a=b&#39;",
        "&#34;$HEADER_AUTHORIZATION&#34;",
    ]);
    page.says_not(&[
        "<script>alert",
        "<h1>oops",
        "hunter2",
        "whsec_",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "\u{202e}",
    ]);
    console.get("deliveries/orders:hook/1").await.says(&["retrying"]);
    for nothing in ["deliveries/1/2", "deliveries/1/99", "deliveries/7/1"] {
        assert_eq!(console.get(nothing).await.status, 404, "{nothing}");
    }
    assert_eq!(console.get("deliveries/1/1?after=x").await.status, 422);

    assert_eq!(console.post("deliveries/1/1/explode", &[]).await.status, 404);
    assert_eq!(console.post("deliveries/1/1/replay", &[]).await.status, 409);
    assert_eq!(console.post("deliveries/1/1/cancel", &[]).await.location(), "../1");
    let canceled = console.get("deliveries/1/1").await;
    canceled.says(&["canceled", "Replay this one", "this is what a replay would send", "webhook-replay"]);
    assert_eq!(console.post("deliveries/1/1/cancel", &[]).await.status, 409);
    assert_eq!(console.post("deliveries/1/1/replay", &[]).await.location(), "../1");
    console.get("deliveries/1/1").await.says(&["Replayed", "Cancel this one", "webhook-replay"]);

    // What cannot be sent says why, and a long body is cut.
    client.batch_execute("UPDATE pgtopic.webhooks SET url = 'ftp://x/' WHERE id = 1").await.unwrap();
    console.get("deliveries/1/1").await.says(&["No request can be made"]);
    let publish = "SELECT pgtopic.publish(topic => 'invoices', partition_key => $1, payload => to_json(repeat('x', 70000))::text)";
    client.execute(publish, &[&HOSTILE_KEY]).await.unwrap();
    let page = console.get("deliveries/2/3").await;
    page.says(&["70,002 bytes", "Only the first 64 KiB are shown", "too long for a command line"]);
    page.says_not(&["--data-raw &#39;&#34;xxx"]);
}

#[tokio::test]
async fn payloads_answers_and_other_topics_are_for_those_who_may_see_them() {
    let database = filled().await;
    database.client().await.batch_execute(ATTEMPT).await.unwrap();
    let tokens = ["read:blind", "read-payloads:reader", "publish:publisher", "operate@orders:some"];
    let mut console = Console::new(database.store(), &tokens);
    console.log_in("blind").await;
    let page = console.get("deliveries/1/1").await;
    page.says(&["retrying", "status 503", "does not see payloads"]);
    page.says_not(&["oops", "paid", "webhook-signature", "Cancel this one", "Try now"]);
    for verb in ["cancel", "replay"] {
        assert_eq!(console.post(&format!("deliveries/1/1/{verb}"), &[]).await.status, 403);
    }
    console.log_in("reader").await;
    // Whoever has a signed request can send it: that is a replay.
    let page = console.get("deliveries/1/1").await;
    page.says(&["oops", "webhook-signature", "whoever has it can send", "$HEADER_WEBHOOK_SIGNATURE"]);
    page.says_not(&["Cancel this one", "v1,", "Signed now"]);
    console.log_in("publisher").await;
    assert_eq!(console.get("deliveries/1/1").await.status, 403);
    console.log_in("some").await;
    console.get("deliveries/1/1").await.says(&["Cancel this one", "v1,", "Signed now"]);
    assert_eq!(console.get("deliveries/2/2").await.status, 404);
    assert_eq!(console.post("deliveries/2/2/cancel", &[]).await.status, 404);
}
