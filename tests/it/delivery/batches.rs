//! Batches: several consecutive messages of a lane in one request.

use bytes::Bytes;
use pgtopic_testkit::{Answer, Broker, Gate, Http, Process, Received, Scene};
use rstest::rstest;
use serde_json::{Value, json};

/// The ids of the messages that a request carried.
fn ids(received: &Received) -> Vec<i64> {
    let items: Vec<Value> = serde_json::from_slice(&received.body).unwrap();
    items.iter().map(|item| item["id"].as_i64().unwrap()).collect()
}

/// For each request: its `webhook-id`, its messages, and the number of its attempt.
fn requests(received: &[Received]) -> Vec<(String, Vec<i64>, String)> {
    let header = |one: &Received, name| one.header(name).to_owned();
    received.iter().map(|one| (header(one, "webhook-id"), ids(one), header(one, "webhook-attempt"))).collect()
}

/// A request as [`requests`] describes it.
fn request(messages: &[i64], attempt: u32) -> (String, Vec<i64>, String) {
    let name = match messages {
        [only] => format!("msg_{only}"),
        [first, .., last] => format!("msg_{first}-{last}"),
        [] => unreachable!(),
    };
    (name, messages.to_vec(), attempt.to_string())
}

/// A receiver that refuses the first request and accepts all others. The first answer waits for the
/// gate.
async fn refusing_the_first(settings: &[(&str, &str)]) -> (Scene, Gate) {
    let scene = Scene::with_webhook(settings).await;
    let gate = Gate::closed();
    let held = gate.clone();
    scene.receiver.set_script(move |received| match received.number {
        0 => Answer::Held(held.clone(), Box::new(Answer::Status(503))),
        _ => Answer::Status(204),
    });
    (scene, gate)
}

#[tokio::test]
async fn a_failed_batch_is_sent_again_with_the_same_messages() {
    let (scene, gate) = refusing_the_first(&[("batch_size", "5")]).await;
    let first = scene.publish(&["a", "a"]).await;
    let _broker = Broker::start(scene.store());
    scene.receiver.wait_for(1).await;
    let later = scene.publish(&["a", "a", "a"]).await;
    gate.open();
    scene.nothing_owed().await;
    assert_eq!(
        requests(&scene.receiver.received()),
        [request(&first, 1), request(&first, 2), request(&later, 1)]
    );
}

/// A claim cannot read the batch whole: it has too many messages and too many bytes.
#[tokio::test]
async fn a_long_batch_is_read_whole_before_it_is_sent_again() {
    let scene = Scene::with_webhook(&[("batch_size", "50")]).await;
    let gate = Gate::closed();
    let held = gate.clone();
    scene.receiver.set_script(move |received| {
        let long = received.partition() == "a" && ids(received).len() > 16;
        match received.number {
            0 => Answer::Held(held.clone(), Box::new(Answer::Status(204))),
            _ if long && received.header("webhook-attempt") == "1" => Answer::Status(503),
            _ => Answer::Status(204),
        }
    });
    let publish = async |key: &str, count: usize, bytes: usize| {
        let text = "x".repeat(bytes);
        scene
            .sql(&format!(
                "INSERT INTO messages (topic_id, partition_key, payload)
                 SELECT 1, '{key}', '{{\"text\": \"{text}\"}}' FROM generate_series(1, {count}) n ORDER BY n"
            ))
            .await;
    };
    let broker = Broker::start(scene.store());
    scene.publish(&["a"]).await;
    scene.receiver.wait_for(1).await;
    publish("a", 80, 3_000).await;
    gate.open();
    scene.until("failures = 1 FROM lanes").await;
    broker.kill().await;
    // These messages use up a part of the budget of the next claim.
    publish("b", 30, 60_000).await;
    let _broker = Broker::start(scene.store());
    scene.nothing_owed().await;
    let received = scene.receiver.received();
    let of_a: Vec<Received> = received.iter().filter(|one| one.partition() == "a").cloned().collect();
    let all = requests(&of_a);
    let refused: Vec<usize> = (0..of_a.len()).filter(|at| of_a[*at].status == Some(503)).collect();
    assert!(!refused.is_empty(), "{all:?}");
    for at in refused {
        let (name, messages, _) = all[at].clone();
        assert_eq!(all[at + 1], (name, messages, "2".to_owned()));
    }
}

#[tokio::test]
async fn a_failed_batch_keeps_its_messages_when_its_worker_is_killed() {
    let (scene, gate) = refusing_the_first(&[("batch_size", "5")]).await;
    let url = scene.database.url().to_owned();
    let environment = [("DATABASE_URL", url.as_str()), ("PGTOPIC_DELIVERY__ALLOW_NETWORKS", "127.0.0.0/8")];
    let first = scene.publish(&["a", "a", "a"]).await;
    let mut killed = Process::start(&["worker"], &environment);
    scene.receiver.wait_for(1).await;
    gate.open();
    scene.until("failures = 1 AND claimed_by IS NULL FROM lanes").await;
    killed.kill9();
    let later = scene.publish(&["a"]).await;
    let _other = Process::start(&["worker"], &environment);
    scene.nothing_owed().await;
    assert_eq!(
        requests(&scene.receiver.received()),
        [request(&first, 1), request(&first, 2), request(&later, 1)]
    );
}

#[rstest]
#[case::the_first(0, vec![vec![1, 2]])]
#[case::one_between(1, vec![vec![0], vec![2]])]
#[case::the_last(2, vec![vec![0, 1]])]
#[tokio::test]
async fn a_batch_that_lost_a_message_is_a_new_batch(#[case] left: usize, #[case] then: Vec<Vec<usize>>) {
    let (scene, gate) = refusing_the_first(&[("batch_size", "3")]).await;
    let messages = scene.publish(&["a", "a", "a"]).await;
    let _broker = Broker::start(scene.store());
    scene.receiver.wait_for(1).await;
    scene.sql(&format!("DELETE FROM deliveries WHERE message_id = {}", messages[left])).await;
    gate.open();
    scene.nothing_owed().await;
    let mut expected = vec![request(&messages, 1)];
    expected.extend(then.iter().map(|batch| {
        let batch: Vec<i64> = batch.iter().map(|at| messages[*at]).collect();
        request(&batch, 1)
    }));
    assert_eq!(requests(&scene.receiver.received()), expected);
}

/// Refuses every request with the text `poison`.
fn refuse_poison(received: &Received) -> Answer {
    let poisoned = received.body.windows(6).any(|window| window == b"poison");
    Answer::Status(if poisoned { 500 } else { 204 })
}

/// Publishes four messages. The second one is never accepted.
async fn poisoned(scene: &Scene) -> Vec<i64> {
    let mut messages = Vec::new();
    for text in ["one", "poison", "three", "four"] {
        let sql = format!("SELECT publish('orders', 'a', '{{\"text\": \"{text}\"}}')");
        messages.push(scene.number(&sql).await);
    }
    messages
}

#[tokio::test]
async fn a_message_that_is_never_accepted_is_given_up_without_its_batch() {
    let scene = Scene::with_webhook(&[("batch_size", "4"), ("max_retries", "2")]).await;
    scene.receiver.set_script(refuse_poison);
    let messages = poisoned(&scene).await;
    let broker = Broker::start(scene.store());
    scene.nothing_owed().await;
    let [one, poison, three, four] = messages[..] else { unreachable!() };
    let expected = [
        request(&messages, 1),
        request(&messages, 2),
        request(&[one], 1),
        request(&[poison], 1),
        request(&[poison], 2),
        request(&[three], 1),
        request(&[four], 1),
    ];
    assert_eq!(requests(&scene.receiver.received()), expected);
    let dead = "SELECT string_agg(concat(message_id, ' ', attempts), ', ') FROM dead_letters";
    assert_eq!(scene.text(dead).await, format!("{poison} 2"));

    // Later messages are sent in batches again.
    broker.stop().await;
    let later = scene.publish(&["a", "a"]).await;
    let _broker = Broker::start(scene.store());
    scene.nothing_owed().await;
    assert_eq!(requests(&scene.receiver.received())[expected.len()..], [request(&later, 1)]);
}

#[tokio::test]
async fn a_lane_halts_at_the_one_message_that_is_never_accepted() {
    let settings = [("batch_size", "4"), ("max_retries", "2"), ("on_exhausted", "'halt'")];
    let scene = Scene::with_webhook(&settings).await;
    scene.receiver.set_script(refuse_poison);
    let messages = poisoned(&scene).await;
    let [one, poison, three, four] = messages[..] else { unreachable!() };
    let _broker = Broker::start(scene.store());
    scene.until("halted FROM lanes").await;
    let expected = [
        request(&messages, 1),
        request(&messages, 2),
        request(&[one], 1),
        request(&[poison], 1),
        request(&[poison], 2),
    ];
    assert_eq!(requests(&scene.receiver.received()), expected);
    let row = "SELECT concat_ws(' ', head_message_id, failures, batch_last, split_until) FROM lanes";
    assert_eq!(scene.text(row).await, format!("{poison} 2 {four}"));

    // The receiver is repaired. An operator lets the lane go on.
    scene.receiver.set_script(|_| Answer::Status(204));
    scene
        .sql("UPDATE lanes SET halted = false, failures = 0, due_at = clock_timestamp(), wait_seconds = NULL")
        .await;
    scene.nothing_owed().await;
    let last = [request(&[poison], 1), request(&[three], 1), request(&[four], 1)];
    assert_eq!(requests(&scene.receiver.received())[expected.len()..], last);
}

#[tokio::test]
async fn a_batch_is_still_sent_one_by_one_after_its_worker_was_killed() {
    let scene = Scene::with_webhook(&[("batch_size", "4"), ("max_retries", "1")]).await;
    let messages = scene.publish(&["a", "a", "a"]).await;
    scene.receiver.set_script(|received| match received.number {
        0 => Answer::Status(503),
        1 => Answer::Status(204),
        _ => Answer::Hang,
    });
    let broker = Broker::start(scene.store());
    scene.receiver.wait_for(3).await;
    scene.until(&format!("NOT EXISTS (SELECT FROM deliveries WHERE message_id = {})", messages[0])).await;
    broker.kill().await;
    scene.receiver.set_script(|_| Answer::Status(204));
    let _broker = Broker::start(scene.store());
    scene.nothing_owed().await;
    let sent: Vec<_> = scene.receiver.received().iter().map(ids).collect();
    let [one, two, three] = messages[..] else { unreachable!() };
    assert_eq!(sent, [vec![one, two, three], vec![one], vec![two], vec![two], vec![three]]);
}

#[tokio::test]
async fn each_item_of_a_batch_carries_its_headers() {
    let scene = Scene::new().await;
    let webhook = scene.webhook("/", &[("batch_size", "3")]).await;
    scene.webhook("/raw", &[("batch_size", "3"), ("format", "'raw'")]).await;
    scene
        .sql(
            r#"INSERT INTO messages (topic_id, payload, headers)
               VALUES (1, '{"n": 1}', '{"x-tenant": "t1"}'), (1, '{"n": 2}', '{"x-tenant": "t2"}'), (1, '{"n": 3}', NULL)"#,
        )
        .await;
    scene.receiver.set_script(|_| Answer::Full(500, Vec::new(), Bytes::from_static(b"no")));
    let _broker = Broker::start(scene.store());
    scene
        .receiver
        .wait_until("a request to each webhook", |all| {
            all.iter().any(|one| one.path == "/") && all.iter().any(|one| one.path == "/raw")
        })
        .await;
    scene.receiver.set_script(|_| Answer::Status(204));
    scene.nothing_owed().await;
    let received = scene.receiver.received();
    let body = |path| -> Value {
        serde_json::from_slice(&received.iter().find(|one| one.path == path).unwrap().body).unwrap()
    };
    let items = body("/");
    assert_eq!(items[0]["headers"], json!({"x-tenant": "t1"}));
    assert_eq!((&items[1]["headers"], &items[1]["payload"]), (&json!({"x-tenant": "t2"}), &json!({"n": 2})));
    assert_eq!(items[2]["headers"], Value::Null);
    assert_eq!(body("/raw"), json!([{"n": 1}, {"n": 2}, {"n": 3}]));
    // The headers of the items are not headers of the request.
    assert!(received.iter().all(|one| one.header("x-tenant").is_empty()));

    let first = items[0]["id"].as_i64().unwrap();
    scene.until("count(*) >= 12 FROM attempts").await;
    let http = Http::serve(scene.store()).await;
    let attempts = http.get(&format!("/webhooks/{webhook}/deliveries/{first}/attempts")).await;
    assert_eq!(attempts["items"][0]["batch"], json!({"first": first, "last": first + 2}));
    assert!(attempts["items"].as_array().unwrap().len() >= 2, "{attempts}");
}
