//! More lanes than slots. Each lane gets its turn, and a worker leaves to others the lanes for
//! which it has no slot.

use std::{collections::HashSet, time::Duration};

use pgtopic_testkit::{Answer, Broker, Received, Scene, begin_with, quick_delivery};
use rstest::rstest;

/// How long a request takes.
const REQUEST: Duration = Duration::from_millis(20);

/// This many messages for each of this many lanes, and a slow receiver.
async fn backlog(scene: &Scene, lanes: usize, messages: usize) {
    scene.receiver.set_script(|_| Answer::After(REQUEST, Box::new(Answer::Status(204))));
    let sql = format!(
        "INSERT INTO messages (topic_id, partition_key, payload)
         SELECT 1, 'key-' || k, '{{}}' FROM generate_series(1, {messages}), generate_series(1, {lanes}) AS k"
    );
    scene.sql(&sql).await;
}

fn lanes(received: &[Received]) -> usize {
    received.iter().map(Received::partition).collect::<HashSet<_>>().len()
}

/// If lanes were drained one after another, the first ones alone would take 40 seconds and 8,000
/// requests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lanes_with_a_deep_backlog_give_way_to_those_that_wait() {
    let scene = Scene::with_webhook(&[]).await;
    backlog(&scene, 24, 400).await;
    let _broker = Broker::with(scene.store(), 4, quick_delivery());
    let received = scene.receiver.wait_until("each lane's first request", |all| lanes(all) == 24).await;
    assert!(received.len() < 4_000, "the last lane's turn came after {} requests", received.len());
}

/// The first worker has claimed every lane before the second one starts.
#[rstest]
#[case::of_one_webhook(10, &["/"])]
#[case::of_webhooks_that_share_them(6, &["/", "/b"])]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_leaves_to_others_what_it_has_no_slot_for(#[case] lanes: usize, #[case] paths: &[&str]) {
    let scene = Scene::new().await;
    for path in paths {
        scene.webhook(path, &[]).await;
    }
    backlog(&scene, lanes, 100).await;
    let first = Broker::with(scene.store(), 4, quick_delivery());
    // Its first claims asked for more.
    scene.receiver.wait_for(8).await;
    let second = Broker::with(scene.store(), 4, quick_delivery());
    let in_flight = |all: &[Received]| all.iter().filter(|request| request.ended.is_none()).count();
    scene.receiver.wait_until("both workers send", |all| in_flight(all) >= 7).await;
    assert_eq!(scene.all_delivered(paths).await, 0);
    first.stop().await;
    second.stop().await;
}

/// A lane that gave way is looked for as soon as nothing else waits. It does not wait for the next
/// timed look, which asks for lanes of all webhooks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_is_not_left_empty_after_a_lane_gave_way() {
    let scene = Scene::with_webhook(&[("max_in_flight", "1")]).await;
    scene.webhook("/idle", &[("filter", "'$ == 1'")]).await;
    backlog(&scene, 1, 2_000).await;
    // For each claim of the deep lane: how many webhooks it asked for.
    scene
        .sql(
            "CREATE TABLE claims (id serial, webhooks integer);
             CREATE FUNCTION note_claim() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN INSERT INTO pgtopic.claims (webhooks) VALUES (current_setting(''test.webhooks'')::integer); RETURN NULL; END';
             CREATE TRIGGER note AFTER UPDATE ON lanes FOR EACH ROW
             WHEN (OLD.claimed_by IS NULL AND NEW.claimed_by IS NOT NULL AND NEW.partition_key = 'key-1')
             EXECUTE FUNCTION note_claim()",
        )
        .await;
    let note = "PERFORM set_config('test.webhooks', cardinality(webhook_ids)::text, true);";
    begin_with(&scene.client, "claim_lanes", note).await;
    let _broker = Broker::start(scene.store());
    // It gives way after its turn of one second, if another lane is due and not claimed.
    for n in 0.. {
        if scene.number("SELECT count(*) FROM claims").await > 4 {
            break;
        }
        let id = scene.publish_untold(&format!("seldom-{n}")).await;
        let sent = |all: &[Received]| all.iter().any(|request| request.position() == id);
        let received = scene.receiver.wait_until("its turn", sent).await;
        scene.receiver.wait_for(received.len() + 60).await;
    }
    let asked_for = scene.number("SELECT count(*) FROM claims WHERE webhooks = 1").await;
    let claims = scene.text("SELECT string_agg(webhooks::text, ' ' ORDER BY id) FROM claims").await;
    println!("{claims}");
    assert!(asked_for >= 2, "found when it was time: {claims}");
}

/// Lanes that wait for their webhook's rate hold its slots for longer than a turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn turns_take_nothing_from_a_rate() {
    let scene = Scene::with_webhook(&[]).await;
    backlog(&scene, 3, 4).await;
    scene.sql("UPDATE webhooks SET rate_limit_per_second = 2").await;
    let broker = Broker::start(scene.store());
    assert_eq!(scene.all_delivered(&["/"]).await, 0);
    broker.stop().await;
    let received = scene.receiver.received();
    let took = received[received.len() - 1].arrived - received[0].arrived;
    // The rate decides: 5.5 s. A part of it is lost if a lane gives way while it waits.
    assert!(received.len() == 12 && took < Duration::from_secs(8), "{} in {took:?}", received.len());
}

/// Lanes of a receiver that never answers are given back to workers that have a slot for them. They
/// are not claimed again at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lanes_that_nobody_has_a_slot_for_stay_where_they_are() {
    let scene = Scene::with_webhook(&[("timeout_seconds", "60")]).await;
    backlog(&scene, 60, 1).await;
    scene.receiver.set_script(|request| match request.path.as_str() {
        "/" => Answer::Hang,
        _ => Answer::Status(204),
    });
    let healthy = scene.webhook("/healthy", &[]).await;
    let _broker = Broker::with(scene.store(), 10, quick_delivery());
    scene.receiver.wait_for(8).await;
    scene.until("(SELECT count(*) FROM lanes WHERE claimed_by IS NOT NULL) BETWEEN 8 AND 20").await;
    let held = format!(
        "SELECT string_agg(lane || ':' || token, ' ') FROM lanes WHERE claimed_by IS NOT NULL AND webhook_id <> {healthy}"
    );
    let mut claims: HashSet<String> = HashSet::new();
    for _ in 0..20 {
        let id = scene.publish(&["key-1"]).await[0];
        let delivered =
            |all: &[Received]| all.iter().any(|one| one.path == "/healthy" && one.position() == id);
        scene.receiver.wait_until("the healthy one's request", delivered).await;
        claims.extend(scene.text(&held).await.split(' ').map(str::to_owned));
        // It lasts until the worker looks again at who waits.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // A few more than before: while the healthy lane waits for a slot, this one gets an equal part.
    assert!(claims.len() < 40, "{} claims", claims.len());
}
