//! What each page shows, with nothing there and with much.

use axum::{
    body::Body,
    http::{Request, header},
};
use pgtopic_testkit::TestDatabase;

use super::{Console, HOSTILE_KEY, filled};

#[tokio::test]
async fn with_nothing_there_each_page_teaches() {
    let database = TestDatabase::new().await;
    let console = Console::new(database.store(), &[]);
    console.get("").await.says(&["INSERT INTO pgtopic.messages", "Nothing needs attention", "Begin here"]);
    console.get("topics").await.says(&["pgtopic topics create orders"]);
    console.get("webhooks").await.says(&["pgtopic webhooks create"]);
    console.get("webhooks?state=failing").await.says(&["No webhook fits"]);
    console.get("dead-letters").await.says(&["No dead letters", "pgtopic deliveries list"]);
    console.get("jobs").await.says(&["No jobs"]);
    console.get("workers").await.says(&["No worker is registered", "pgtopic worker"]);
    for nothing in
        ["topics/none", "webhooks/7", "messages/7", "jobs/7", "nothing", "assets/nothing", "webhooks/x:y"]
    {
        let page = console.get(nothing).await;
        assert_eq!(page.status, 404, "{nothing}");
        assert!(page.text.contains("role=\"alert\"") && page.text.contains("Back to Now"), "{}", page.text);
    }
    for wrong in
        ["webhooks?state=x", "jobs?state=x", "jobs?after=x", "dead-letters?reason=x", "messages?id=x"]
    {
        assert_eq!(console.get(wrong).await.status, 422, "{wrong}");
    }
    // What no handler has seen is a page, too.
    for unread in ["webhooks?x=1", "messages/x", "messages"] {
        let page = console.get(unread).await;
        assert!(
            page.status == 400 && page.text.contains("the request cannot be read"),
            "{unread}: {}",
            page.text
        );
    }
}

#[tokio::test]
async fn each_page_shows_what_there_is() {
    let database = filled().await;
    let client = database.client().await;
    client
        .batch_execute("UPDATE pgtopic.webhooks SET disabled_reason = 'it is gone' WHERE id = 2")
        .await
        .unwrap();
    let console = Console::new(database.store(), &[]);
    let now = console.get("").await;
    now.says(&["No worker lives", "invoices:hook", "it is gone", "pgtopic webhooks enable 2", "p99"]);
    // What is more urgent stands above.
    assert!(now.text.find("No worker lives") < now.text.find("it is gone"));
    console.get("topics").await.says(&["topics/orders", "in order by partition key"]);
    console.get("topics/orders").await.says(&[
        "messages/1",
        "Publish a message",
        "every message",
        "example.com/orders",
    ]);
    console.get("topics/orders?partition_key=other").await.says(&["No message fits"]);
    console.get("webhooks").await.says(&["orders:hook", "disabled"]);
    console.get("webhooks?topic=orders").await.says(&["orders:hook"]).says_not(&["invoices:hook"]);
    console.get("webhooks/1").await.says(&[
        "Attempts in all",
        "Last success",
        "pgtopic webhooks pause 1",
        "deliveries/1/1",
    ]);
    console.get("webhooks/orders:hook").await.says(&["Webhook orders:hook"]);
    let message = console.get("messages/1").await;
    message.says(&["{&#34;paid&#34;:  true}", "15 bytes", "messages/1/payload", "no worker lives"]);
    assert_eq!(console.get("messages?id=1").await.location(), "messages/1");
    let groups = console.get("dead-letters").await;
    groups.says(&["attempts exhausted: answered 500", "dead-letters/replay?", "messages/2"]);
    console
        .get("dead-letters?webhook_id=1")
        .await
        .says(&["<strong>1</strong> fit"])
        .says_not(&["invoices:hook"]);
    // Foreign text is text: on pages and in lines for a shell.
    for page in [message, console.get("topics/orders").await, groups, console.get("webhooks/1").await] {
        page.says(&["&#60;script&#62;", "\\u{a}", "\\u{202e}"]).says_not(&["<script>alert", "\u{202e}"]);
    }
    // The exact bytes are a file, never a page.
    let payload = console.get("messages/1/payload").await;
    assert_eq!(payload.text, r#"{"paid":  true}"#.to_owned());
    assert_eq!(payload.headers[header::CONTENT_DISPOSITION], "attachment; filename=\"message-1.json\"");
    assert_eq!(payload.headers[header::CONTENT_TYPE], "application/octet-stream");
    // A filter with hostile text stays in its field.
    let query =
        form_urlencoded::Serializer::new(String::new()).append_pair("partition_key", HOSTILE_KEY).finish();
    let asked = console.get(&format!("dead-letters/replay?{query}")).await;
    asked.says(&["<strong>1</strong> dead letter in", "$(printf"]).says_not(&["<script>alert"]);
}

#[tokio::test]
async fn what_was_not_looked_at_is_not_told_as_a_fact() {
    let database = filled().await;
    let client = database.client().await;
    let console = Console::new(database.store(), &[]);
    let sql = "UPDATE pgtopic.webhooks SET disabled_reason = 'it is gone' WHERE id = 2;
               INSERT INTO pgtopic.topics (name) VALUES ('pgtopic.events');
               INSERT INTO pgtopic.workers (id, lock_key, name, version, capacity, lease, trouble)
               VALUES ('01234567-89ab-7cde-8f01-23456789abcd', 1, 'host', '1', 1, '1 min', 'the disk is full')";
    client.batch_execute(sql).await.unwrap();
    // Nobody has counted the backlogs, or somebody did long ago.
    console.get("webhooks").await.says(&["Backlogs were not counted yet", "<td class=\"n\">–</td>"]);
    console.get("").await.says(&[
        "What is owed was not counted yet.",
        "<dt>Owed</dt><dd>–</dd>",
        "the disk is full",
    ]);
    client.batch_execute("UPDATE pgtopic.sampled SET sampled_at = now() - interval '3 hours'").await.unwrap();
    for page in ["webhooks", ""] {
        console.get(page).await.says(&["▲</span> Backlogs were counted 3 h ago"]);
    }
    console.get("").await.says(&[" 0 owed."]).says_not(&["not counted yet"]);
    console.get("workers").await.says(&["<code>01234567</code>"]);
    // Nobody may publish to a topic of pgtopic itself.
    let events = console.get("topics/pgtopic.events").await;
    events.says(&["No message fits"]).says_not(&["Publish a message", "events/preview", "INSERT INTO"]);
    // Its messages are older than those that one page looks at.
    let many = "SET session_replication_role = replica;
                INSERT INTO pgtopic.messages (id, topic_id, payload, size_bytes, lane)
                SELECT 1000 + n, 2, '1', 1, 1000 + n FROM generate_series(1, 50000) n;
                SET session_replication_role = origin";
    client.batch_execute(many).await.unwrap();
    let page = console.get("topics/orders").await;
    page.says(&["50,000 messages were looked at", "Look further back"]).says_not(&["No message fits"]);
    let after = page.text.split("after=").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    console.get(&format!("topics/orders?after={after}")).await.says(&["messages/1\""]);
}

/// Behind a proxy the console has a prefix that it does not know.
#[tokio::test]
async fn links_are_relative_and_files_are_loaded_once() {
    let database = filled().await;
    let console = Console::new(database.store(), &[]);
    for (page, base) in [("", "./"), ("topics", "./"), ("topics/orders", "../"), ("messages/1", "../")] {
        let page = console.get(page).await;
        page.says(&[&format!("<base href=\"{base}\">")]);
        for absolute in ["href=\"/", "action=\"/", "src=\"/"] {
            page.says_not(&[absolute]);
        }
    }
    for (path, leads) in [("/", "console/"), ("/console", "console/")] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        assert_eq!(console.send(request).await.location(), leads);
    }
    let style = console.get("assets/console.css").await;
    style.says(&["prefers-color-scheme"]);
    let again = Request::get("/console/assets/console.css")
        .header(header::IF_NONE_MATCH, &style.headers[header::ETAG]);
    let again = console.send(again.body(Body::empty()).unwrap()).await;
    assert_eq!((again.status.as_u16(), again.text.as_str()), (304, ""));
}
