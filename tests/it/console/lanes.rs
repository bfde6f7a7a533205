//! The screens Lanes and Lane.

use pgtopic_testkit::TestDatabase;

use super::{Console, HOSTILE_KEY, filled};

/// The address of the lane of `orders`, below `path`.
fn lane(path: &str, more: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::for_suffix(format!("{path}?"), path.len() + 1);
    query.append_pair("webhook", "1").append_pair("partition_key", HOSTILE_KEY).extend_pairs(more);
    query.finish()
}

/// The lane of `orders` has failed twice, and two messages are behind its head.
async fn failing() -> TestDatabase {
    let database = filled().await;
    let client = database.client().await;
    for _ in 0..2 {
        let publish = "SELECT pgtopic.publish(topic => 'orders', payload => '1'::text, partition_key => $1)";
        client.execute(publish, &[&HOSTILE_KEY]).await.unwrap();
    }
    let sql = "
        DELETE FROM pgtopic.dead_letters;
        UPDATE pgtopic.lanes
           SET failures = 2, head_message_id = 1, last_error = 'status <503>', last_status_code = 503, last_error_class = 'status',
               due_at = now() + interval '59 minutes 30 seconds'
         WHERE webhook_id = 1;
        INSERT INTO pgtopic.attempts (webhook_id, message_id, attempt, outcome, status_code, error_class, error, duration_us, worker_id, attempted_at)
        SELECT 1, 1, number, 'failed', CASE number WHEN 1 THEN 503 END, CASE number WHEN 1 THEN 'status' ELSE 'timeout' END,
               'said <b>', 12000, gen_random_uuid(), now() + number * interval '1 s'
          FROM generate_series(1, 2) number;
        INSERT INTO pgtopic.changes (kind, webhook_id, changed_by, reason)
        VALUES ('webhook.paused', 1, 'somebody', 'a <i>pause</i>'), ('webhook.resumed', 1, 'somebody', NULL)";
    client.batch_execute(sql).await.unwrap();
    database
}

#[tokio::test]
async fn lanes_are_found_by_webhook_state_and_key() {
    let nothing = TestDatabase::new().await;
    let console = Console::new(nothing.store(), &[]);
    console.get("lanes").await.says(&["No webhook has lanes", "pgtopic lanes list"]);
    for (wrong, status) in [
        ("lanes?webhook=7", 404),
        ("lanes?state=x", 422),
        ("lane?webhook=7&partition_key=k", 404),
        ("lane", 400),
    ] {
        assert_eq!(console.get(wrong).await.status, status, "{wrong}");
    }
    let database = failing().await;
    let console = Console::new(database.store(), &[]);
    console.get("lanes").await.says(&["lanes?webhook=1", "lanes?webhook=2"]);
    let all = console.get("lanes?webhook=orders:hook").await;
    all.says(&["waiting", "status &#60;503&#62;", "deliveries/1/1", "\\u{202e}"])
        .says_not(&["<script>alert", "<503>"]);
    console.get("lanes?webhook=1&state=waiting").await.says(&["in 59 min"]);
    console.get("lanes?webhook=1&state=halted").await.says(&["No lane fits"]);
    console.get(&lane("lanes", &[])).await.says(&["deliveries/1/1"]);
    console.get("lanes?webhook=1&partition_key=other").await.says(&["No lane fits"]);
    console.get("lanes?partition_key=other").await.says(&["choose one", "lanes?webhook=1"]);
    console.get("webhooks/1").await.says(&["lanes?webhook=1", "lane?webhook=1"]);

    // Six of 26 messages are dead letters. Of the 20 others, the timeline has room for 12.
    let deep = "
        SELECT pgtopic.publish(topic => 'orders', payload => '1'::text, partition_key => 'deep') FROM generate_series(1, 26);
        WITH given_up AS (SELECT * FROM pgtopic.messages WHERE partition_key = 'deep' ORDER BY id LIMIT 6),
             not_owed AS (DELETE FROM pgtopic.deliveries d USING given_up g WHERE d.message_id = g.id)
        INSERT INTO pgtopic.dead_letters (webhook_id, lane, message_id, topic_id, partition_key, reason, attempts)
        SELECT 1, g.lane, g.id, g.topic_id, 'deep', 'permanent', 1 FROM given_up g;
        DELETE FROM pgtopic.messages WHERE id = 1";
    database.client().await.batch_execute(deep).await.unwrap();
    console
        .get("lane?webhook=1&partition_key=deep")
        .await
        .says(&["<strong>8 more</strong> wait behind these", "Timeline of 18 messages"]);
    // A head that was deleted.
    console.get(&lane("lane", &[])).await.says(&["message 1</a>, deleted, 2 failed attempts"]);
}

/// A topic may have more webhooks than one page looks at.
#[tokio::test]
async fn a_webhook_beyond_the_first_pages_is_found() {
    let database = failing().await;
    let many = "
        INSERT INTO pgtopic.webhooks (topic_id, name, url, secrets)
        SELECT 1, 'hook-' || n, 'https://example.com/', ARRAY['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw']
          FROM generate_series(1, 1000) n ORDER BY n;
        SELECT pgtopic.publish(topic => 'orders', payload => '1'::text, partition_key => 'all');
        INSERT INTO pgtopic.dead_letters (webhook_id, lane, message_id, topic_id, partition_key, reason, attempts)
        SELECT w.id, m.lane, m.id, m.topic_id, m.partition_key, 'permanent', 1
          FROM pgtopic.messages m, pgtopic.webhooks w WHERE m.id = 1 AND w.name = 'hook-200';
        UPDATE pgtopic.sampled SET sampled_at = now();
        INSERT INTO pgtopic.webhook_samples (webhook_id, halted) SELECT id, 1 FROM pgtopic.webhooks WHERE name = 'hook-500'";
    let client = database.client().await;
    client.batch_execute(many).await.unwrap();
    let last = "SELECT id FROM pgtopic.webhooks WHERE name = 'hook-1000'";
    let last: i64 = client.query_one(last, &[]).await.unwrap().get(0);
    let console = Console::new(database.store(), &[]);
    for place in [format!("deliveries/{last}/5"), format!("lane?webhook={last}&partition_key=all")] {
        console.get(&place).await.says(&["Message 5 waits: no worker lives."]);
    }
    let message = console.get("messages/5").await;
    message.says(&["Only 100 of 1,000+ webhooks are shown", ">hook-99<"]).says_not(&[">hook-100<"]);
    // What is wrong comes first.
    console.get("messages/1").await.says(&["<strong>hook</strong>", ">hook-200<"]).says_not(&[">hook-99<"]);
    console.get("lanes?state=halted").await.says(&["orders:hook-500"]).says_not(&["orders:hook-499"]);
    let none = console.get("lanes?state=claimed").await;
    none.says(&["None of these 1,000 webhooks has such lanes", ">More<"]);
}

#[tokio::test]
async fn a_lane_shows_its_timeline_and_is_tried_skipped_and_released() {
    let database = failing().await;
    let client = database.client().await;
    let console = Console::new(database.store(), &[]);
    let page = console.get(&lane("lane", &[])).await;
    page.says(&[
        "class=\"timeline\"",
        "class=\"status\"",
        "class=\"timeout\"",
        "class=\"backoff\"",
        "webhook paused",
        "class=\"shade\"",
        "▲ waiting",
        "○ behind",
        "failed: 503",
        "failed: timeout",
        "2 failed attempts",
        "Try now",
        "pgtopic lanes retry 1 --partition-key=",
        "2 behind it no longer wait for it",
        // There is no worker.
        "Message 1 is tried when a worker lives.",
    ]);
    page.says_not(&["<script>alert", "<b>", "<i>", "\u{202e}", "Release"]);
    // Nothing is skipped before somebody has read what follows.
    let question = console.get(&lane("lane/skip", &[("head", "1")])).await;
    question
        .says(&["goes to the dead letters of orders:hook", "<strong>2 followers</strong> no longer wait"]);
    question.says(&["pgtopic lanes skip 1 1 --partition-key=", "Skip message 1", "/webhooks/1/lanes/skip"]);
    assert_eq!(console.get(&lane("lane/skip", &[("head", "2")])).await.status, 404);
    assert_eq!(
        console.post(&lane("lane/retry", &[]), &[]).await.location(),
        format!("../{}", lane("lane", &[]))
    );
    console.get(&lane("lane", &[])).await.says(&["○ ready", "0 failed attempts"]).says_not(&["Try now"]);
    let skip = lane("lane/skip", &[("head", "1")]);
    assert_eq!(console.post(&skip, &[]).await.location(), format!("../{}", lane("lane", &[])));
    assert_eq!(console.post(&skip, &[]).await.status, 409);
    let reason: String =
        client.query_one("SELECT reason FROM pgtopic.dead_letters", &[]).await.unwrap().get(0);
    assert_eq!(reason, "skipped");
    console.get(&lane("lane", &[])).await.says(&[
        "× dead letter",
        "message 3",
        "1 behind it no longer waits for it",
    ]);
    let halt = "UPDATE pgtopic.lanes SET halted = true, due_at = 'infinity', head_message_id = 3 WHERE webhook_id = 1";
    client.batch_execute(halt).await.unwrap();
    console.get(&lane("lane", &[])).await.says(&[
        "■ halted",
        "Release",
        "1 behind it waits until it is accepted",
        "the lane halts again",
    ]);
    console.get("lanes?webhook=1&state=halted").await.says(&["deliveries/1/3"]);
    assert_eq!(console.post(&lane("lane/retry", &[]), &[]).await.status, 303);
    console.get(&lane("lane", &[])).await.says(&["○ ready", "lane released", "console (admin)"]);
    // A lane that owes nothing still has a history.
    client.batch_execute("DELETE FROM pgtopic.deliveries; DELETE FROM pgtopic.lanes").await.unwrap();
    console
        .get(&lane("lane", &[]))
        .await
        .says(&["Nothing is owed", "class=\"timeline\""])
        .says_not(&["Skip the head"]);
    console.get("lane?webhook=1&partition_key=unknown").await.says(&["Nothing of this lane is owed"]);
    assert_eq!(console.get("lane?webhook=1&message_id=1").await.status, 422);
}

#[tokio::test]
async fn all_lanes_of_a_state_are_tried_again_at_once_or_by_a_job() {
    let database = failing().await;
    let client = database.client().await;
    let console = Console::new(database.store(), &[]);
    let page = console.get("lanes?webhook=1").await;
    page.says(&["Try all now", "1 waiting lane. Each head", "pgtopic lanes retry 1 --state waiting"]);
    page.says_not(&["Release all"]);
    console.get("lanes?webhook=1&state=halted").await.says_not(&["Try all now", "Release all"]);
    // These are not all lanes of the state.
    console.get(&lane("lanes", &[])).await.says_not(&["Try all now"]);
    // What stops the webhook is said before somebody tries.
    client.batch_execute("UPDATE pgtopic.webhooks SET paused = true WHERE id = 1").await.unwrap();
    for place in ["lanes?webhook=1", "deliveries/1/1", &lane("lane", &[])] {
        console.get(place).await.says(&["is tried when the webhook is resumed"]);
    }
    let retry = "lanes/retry?webhook=1&state=waiting";
    // A worker holds the lane.
    let claimed =
        "UPDATE pgtopic.lanes SET claimed_by = '12345678-0000-0000-0000-000000000000' WHERE webhook_id = 1";
    client.batch_execute(claimed).await.unwrap();
    console.get(&lane("lane", &[])).await.says(&["worker 12345678</dd>"]);
    for (path, said) in [
        (lane("lane/retry", &[]), "a worker holds the lane"),
        (retry.to_owned(), "no lane of webhook 1 is waiting"),
    ] {
        let page = console.post(&path, &[]).await;
        assert!(page.status == 409 && page.text.contains(said), "{path}: {}", page.text);
    }
    client.batch_execute("UPDATE pgtopic.lanes SET claimed_by = NULL").await.unwrap();
    assert_eq!(console.post(retry, &[]).await.location(), "../lanes?webhook=1");
    console.get("lanes?webhook=1").await.says(&["ready"]).says_not(&["Try all now"]);
    for (wrong, status) in [("", 422), ("ready", 422), ("x", 422)] {
        let page = console.post(&format!("lanes/retry?webhook=1&state={wrong}"), &[]).await;
        assert_eq!(page.status, status, "{wrong}: {}", page.text);
    }
    assert_eq!(console.post("lanes/retry?webhook=7&state=halted", &[]).await.status, 404);
    let many = "
        SELECT pgtopic.publish(topic => 'orders', payload => '1'::text, partition_key => 'k' || n) FROM generate_series(1, 1001) n;
        UPDATE pgtopic.lanes l SET halted = true, due_at = 'infinity', head_message_id = d.message_id
          FROM pgtopic.deliveries d WHERE (d.webhook_id, d.lane) = (l.webhook_id, l.lane) AND l.partition_key LIKE 'k%'";
    client.batch_execute(many).await.unwrap();
    console.get("lanes?webhook=1&state=halted").await.says(&["Release all", "1,001 halted lanes"]);
    assert_eq!(console.post("lanes/retry?webhook=1&state=halted", &[]).await.location(), "../jobs/1");
    console.get("jobs/1").await.says(&["lanes_retry", "orders", "webhooks/1"]);
}

#[tokio::test]
async fn on_an_unordered_topic_a_message_names_a_lane() {
    let database = filled().await;
    let client = database.client().await;
    let sql = "
        INSERT INTO pgtopic.topics (name, ordering) VALUES ('loose', 'none');
        INSERT INTO pgtopic.webhooks (topic_id, name, url, secrets)
        SELECT id, 'hook', 'https://example.com/', ARRAY['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'] FROM pgtopic.topics WHERE name = 'loose';
        SELECT pgtopic.publish(topic => 'loose', payload => '1'::text), pgtopic.publish(topic => 'loose', payload => '2'::text);
        UPDATE pgtopic.lanes SET due_at = now() + interval '59 minutes 30 seconds' WHERE webhook_id = 3";
    client.batch_execute(sql).await.unwrap();
    let console = Console::new(database.store(), &[]);
    console.get("lanes?webhook=3").await.says(&["message_id=3", "message_id=4"]);
    console
        .get("lane?webhook=3&message_id=4")
        .await
        .says(&["Lane of message 4", "waiting"])
        .says_not(&["behind it"]);
    console.get("lane/skip?webhook=3&head=4").await.says(&["pgtopic lanes skip 3 4<"]);
    assert_eq!(
        console.post("lane/skip?webhook=3&head=4", &[]).await.location(),
        "../lane?webhook=3&message_id=4"
    );
    console.get("lane?webhook=3&message_id=4").await.says(&["Nothing is owed", "× dead letter"]);
}

#[tokio::test]
async fn who_may_only_read_sees_lanes_and_a_limited_token_sees_its_own() {
    let database = failing().await;
    let tokens = ["read:blind", "publish:publisher", "operate@orders:some"];
    let mut console = Console::new(database.store(), &tokens);
    console.log_in("blind").await;
    console.get("lanes?webhook=1").await.says(&["lane?webhook=1"]);
    console
        .get(&lane("lane", &[]))
        .await
        .says(&["class=\"timeline\""])
        .says_not(&["Try now", "Skip the head"]);
    assert_eq!(console.get(&lane("lane/skip", &[("head", "1")])).await.status, 403);
    assert_eq!(console.post(&lane("lane/skip", &[("head", "1")]), &[]).await.status, 403);
    assert_eq!(console.post(&lane("lane/retry", &[]), &[]).await.status, 403);
    console.get("lanes?webhook=1").await.says_not(&["Try all now"]);
    assert_eq!(console.post("lanes/retry?webhook=1&state=waiting", &[]).await.status, 403);
    console.log_in("publisher").await;
    for page in ["lanes", "lanes?webhook=1", &lane("lane", &[])] {
        assert_eq!(console.get(page).await.status, 403, "{page}");
    }
    console.log_in("some").await;
    console.get("lanes").await.says(&["orders:hook"]).says_not(&["invoices"]);
    console.get(&lane("lane", &[])).await.says(&["Try now", "Skip the head"]);
    for other in [
        "lanes?webhook=2",
        "lane?webhook=2&partition_key=secret-key",
        "lane/skip?webhook=2&partition_key=secret-key&head=2",
    ] {
        assert_eq!(console.get(other).await.status, 404, "{other}");
    }
    let retry = "lane/retry?webhook=2&partition_key=secret-key";
    assert_eq!(console.post(retry, &[]).await.status, 404);
    assert_eq!(console.post("lanes/retry?webhook=2&state=waiting", &[]).await.status, 404);
}
