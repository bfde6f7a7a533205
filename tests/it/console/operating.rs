//! What operators see of the installation, and what they do with topics: Health, Settings, pauses
//! of topics, and who would get a message.

use super::{Console, filled};
use pgtopic_testkit::TestDatabase;

#[tokio::test]
async fn health_says_what_is_wrong_and_settings_say_no_secret() {
    let database = TestDatabase::new().await;
    let mut console = Console::new(
        database.store(),
        &["read:reader", "admin:all", "admin@orders:some", "publish:publisher"],
    );
    console.log_in("reader").await;
    let health = console.get("health").await;
    health.says(&["Check again", "workers", "pgtopic doctor", "fine</summary>", "data-copy"]);
    // The worst stands above, and nothing asks again by itself.
    assert!(health.text.find("> fail<") < health.text.find("> warn<"), "{}", health.text);
    health.says_not(&["hx-sse:connect"]);
    let settings = console.get("settings").await;
    settings.says(&["worker.concurrency", "100", "retention.messages_days", "Every setting has its default"]);
    settings.says_not(&["hx-sse:connect"]);
    // Both are about the whole installation.
    for (token, page) in [("some", "health"), ("some", "settings"), ("publisher", "health")] {
        console.log_in(token).await;
        assert_eq!(console.get(page).await.status, 403, "{token}: {page}");
    }
}

#[tokio::test]
async fn a_topic_is_held_refuses_messages_and_is_resumed() {
    let database = filled().await;
    let console = Console::new(database.store(), &[]);
    console.get("topics/orders").await.says(&[
        "Publishers get an error",
        "topics/orders/hold",
        "pgtopic topics pause orders --mode hold",
        "http://localhost:8000/topics/orders/pause",
    ]);
    assert_eq!(console.post("topics/orders/hold", &[]).await.location(), "../orders");
    console.get("topics/orders").await.says(&["held", "pgtopic topics resume orders", "Refuse messages"]);
    let preview = console.post("topics/orders/preview", &[("payload", "1")]).await;
    preview.says(&["It is sent when the topic is resumed"]);
    console.get("").await.says(&["Nothing of the topic is sent", "pgtopic topics resume orders"]);
    assert_eq!(console.post("topics/orders/refuse", &[]).await.location(), "../orders");
    console.post("topics/orders/preview", &[("payload", "1")]).await.says(&["The topic refuses messages"]);
    // That publishers fail is more urgent than that receivers do.
    let sample = "UPDATE pgtopic.sampled SET sampled_at = now();
                  INSERT INTO pgtopic.webhook_samples (webhook_id, owed, failing_since, dead_letters)
                  VALUES (1, 3, now(), 1)";
    database.client().await.batch_execute(sample).await.unwrap();
    let now = console.get("").await;
    now.says(&["pgtopic webhooks pause 1", "The newest is ", "pgtopic dead-letter replay --webhook-id 1"]);
    let at = |said: &str| now.text.find(said).unwrap_or_else(|| panic!("lacks {said:?}: {}", now.text));
    assert!(
        at("publishers get an error") < at("Every request fails")
            && at("Every request fails") < at("1 dead letter")
    );
    assert_eq!(console.post("topics/orders/publish", &[("payload", "1")]).await.status, 409);
    assert_eq!(console.post("topics/orders/resume", &[]).await.location(), "../orders");
    console.get("topics/orders").await.says(&["open", "topics/orders/hold"]).says_not(&["resume orders"]);
    assert_eq!(console.post("topics/orders/explode", &[]).await.status, 404);

    let mut console = Console::new(database.store(), &["read:reader", "operate@orders:some"]);
    console.log_in("reader").await;
    console.get("topics/orders").await.says_not(&["topics/orders/hold", "Publish a message"]);
    for change in ["hold", "refuse", "resume", "preview"] {
        let form = [("payload", "1")];
        assert_eq!(console.post(&format!("topics/orders/{change}"), &form).await.status, 403, "{change}");
    }
    console.log_in("some").await;
    console.get("topics/orders").await.says(&["topics/orders/hold"]).says_not(&["Publish a message"]);
    assert_eq!(console.post("topics/orders/hold", &[]).await.status, 303);
    assert_eq!(console.post("topics/invoices/hold", &[]).await.status, 404);
}

#[tokio::test]
async fn who_gets_a_message_is_told_before_it_is_published() {
    let database = filled().await;
    let client = database.client().await;
    client
        .batch_execute(
            "INSERT INTO pgtopic.webhooks (topic_id, name, url, secrets, types, filter, paused)
             SELECT 1, name, 'https://example.com/', ARRAY['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'], types, filter, paused
               FROM (VALUES ('typed', ARRAY['order.*'], NULL::jsonpath, false),
                            ('filtered', NULL, '$.total > 9', false),
                            ('asleep', NULL, NULL, true)) v (name, types, filter, paused)",
        )
        .await
        .unwrap();
    let console = Console::new(database.store(), &[]);
    let form = [
        ("payload", r#"{"total": 5}"#),
        ("partition_key", "-k'"),
        ("type", "cart.left"),
        ("headers", "x-trace: a=b\nx-two: 2\n"),
    ];
    let page = console.post("topics/orders/preview", &form).await;
    page.says(&[
        "Nothing is published yet",
        "It is sent in its turn",
        "The webhook gets order.*. The message has the type cart.left.",
        "Its filter excludes the message",
        "It is sent when the webhook is resumed",
        "--header=x-trace=a=b",
        "--partition-key=&#39;-k&#39;\\&#39;&#39;&#39;",
        "{&#34;total&#34;: 5}</textarea>",
    ]);
    let typed = [("payload", r#"{"total": 10}"#), ("type", "order.paid")];
    let page = console.post("topics/orders/preview", &typed).await;
    page.says(&["It is sent in its turn"]).says_not(&["excludes the message", "The webhook gets"]);
    page.says_not(&["Only the first 100 webhooks"]);
    let count = "SELECT count(*) FROM pgtopic.messages";
    assert_eq!(client.query_one(count, &[]).await.unwrap().get::<_, i64>(0), 2);
    // It tells what the trigger does.
    assert_eq!(console.post("topics/orders/publish", &form).await.status, 303);
    let owed = "SELECT array_agg(w.name ORDER BY w.id) FROM pgtopic.deliveries d
                  JOIN pgtopic.webhooks w ON w.id = d.webhook_id WHERE d.message_id = 3";
    let owed: Vec<String> = client.query_one(owed, &[]).await.unwrap().get(0);
    assert_eq!(owed, ["hook", "asleep"]);
    let headers = "SELECT headers::text FROM pgtopic.messages WHERE id = 3";
    let headers: String = client.query_one(headers, &[]).await.unwrap().get(0);
    assert_eq!(headers, r#"{"x-trace":"a=b","x-two":"2"}"#);

    for (field, value, why) in [
        ("payload", "{", "payload must be JSON"),
        ("headers", "x-trace", "headers must have one"),
        ("headers", "x-a: 1\nx-a: 2", "must not have the same name twice"),
        ("headers", "webhook-id: 1", "headers.webhook-id"),
        ("type", &"x".repeat(300), "type"),
    ] {
        let mut form = vec![("payload", "1")];
        form.retain(|(name, _)| *name != field);
        form.push((field, value));
        let page = console.post("topics/orders/preview", &form).await;
        assert!(page.status == 422 && page.text.contains(why), "{field}: {}", page.text);
    }
    assert_eq!(console.post("topics/none/preview", &[("payload", "1")]).await.status, 404);
    let long = format!("\"{}\"", "x".repeat(70_000));
    let page = console.post("topics/orders/preview", &[("payload", &long)]).await;
    page.says(&["too long for a command line"]).says_not(&["--data-raw"]);
    // Many webhooks: the page says that it does not show all.
    console.get("topics/orders").await.says_not(&["All webhooks of the topic"]);
    let many = "INSERT INTO pgtopic.webhooks (topic_id, name, url, secrets)
                SELECT 1, 'hook-' || n, 'https://example.com/', ARRAY['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw']
                  FROM generate_series(1, 97) n";
    client.batch_execute(many).await.unwrap();
    let page = console.post("topics/orders/preview", &[("payload", "1")]).await;
    page.says(&["hook-96<", "Only the first 100 webhooks"]).says_not(&["hook-97<"]);
    console.get("topics/orders").await.says(&["All webhooks of the topic", "webhooks?topic=orders"]);
    let mut console = Console::new(database.store(), &["admin@invoices:some", "publish:publisher"]);
    console.log_in("some").await;
    assert_eq!(console.post("topics/orders/preview", &[("payload", "1")]).await.status, 404);
    // Who publishes does not see who gets it.
    console.log_in("publisher").await;
    assert_eq!(console.post("topics/orders/preview", &[("payload", "1")]).await.status, 403);
}

#[tokio::test]
async fn groups_count_the_newest_dead_letters_of_each_webhook() {
    let database = filled().await;
    let client = database.client().await;
    let sql = "INSERT INTO pgtopic.dead_letters (webhook_id, lane, message_id, topic_id, partition_key, reason, attempts, created_at)
               SELECT 1, 0, 100 + n, 1, 'a', CASE WHEN n <= 5 THEN 'expired' ELSE 'permanent' END, 1, now()
                 FROM generate_series(1, 10005) n";
    client.batch_execute(sql).await.unwrap();
    let console = Console::new(database.store(), &[]);
    // One webhook has more than are looked at, and hides nothing of the other.
    console.get("dead-letters").await.says(&[
        ">10,000<",
        "10,001+</strong> in all, of the newest 10,000 of each webhook",
        "invoices:hook",
    ]);
    let none = console.get("dead-letters?webhook_id=1&reason=superseded").await;
    none.says(&[
        "<strong>0</strong> fit the filter, of the newest 10,000 of each webhook",
        "Look further back",
    ]);
    // A group is of the same key, and the filter of a group keeps it.
    let group = console.get("dead-letters?webhook_id=1&partition_key=a").await;
    group.says(&["dead-letters?webhook_id=1&#38;partition_key=a&#38;reason=permanent"]);
    // What the form has no field for is shown, goes with it, and can be taken away.
    let old = console.get("dead-letters?type=order.paid&until=2020-01-01T00%3A00%3A00Z").await;
    old.says(&[
        "name=\"type\" value=\"order.paid\"",
        "until 2020-01-01T00:00:00Z <a href=\"dead-letters?type=order.paid\"",
        // One page does not look at all of them.
        "None fits among those that were looked at",
    ]);
    let older = old.text.split("&#38;after=").nth(1).and_then(|rest| rest.split('"').next());
    let older =
        format!("dead-letters?type=order.paid&until=2020-01-01T00%3A00%3A00Z&after={}", older.unwrap());
    console.get(&older).await.says(&["There are no older ones"]).says_not(&["Look further back"]);
}
