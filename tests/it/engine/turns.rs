//! More lanes than slots. Lanes take turns. A worker leaves lanes to other workers if it has no
//! slot for them.

use std::{collections::HashSet, time::Duration};

use pgtopic_testkit::{Answer, Broker, Received, Scene, begin_with, quick_delivery};
use rstest::rstest;

/// How long a request takes.
const REQUEST: Duration = Duration::from_millis(20);

/// Makes the receiver slow. Publishes `messages` to each of `lanes` lanes.
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

/// If each lane were sent to its end, the last lane would wait for 8,000 requests, which take 40
/// seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lanes_with_a_deep_backlog_give_way_to_those_that_wait() {
    let scene = Scene::with_webhook(&[]).await;
    backlog(&scene, 24, 400).await;
    let _broker = Broker::with(scene.store(), 4, quick_delivery());
    let received = scene.receiver.wait_until("a request of each lane", |all| lanes(all) == 24).await;
    assert!(received.len() < 4_000, "the last lane waited for {} requests", received.len());
}

/// The first worker has claimed every lane before the second one starts.
#[rstest]
#[case::of_one_webhook(10, &["/"])]
#[case::of_webhooks_that_share_them(6, &["/", "/b"])]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_leaves_lanes_without_a_slot_to_other_workers(#[case] lanes: usize, #[case] paths: &[&str]) {
    let scene = Scene::new().await;
    for path in paths {
        scene.webhook(path, &[]).await;
    }
    backlog(&scene, lanes, 100).await;
    let first = Broker::with(scene.store(), 4, quick_delivery());
    // Its first claims ask for more lanes than it has slots.
    scene.receiver.wait_for(8).await;
    let second = Broker::with(scene.store(), 4, quick_delivery());
    let in_flight = |all: &[Received]| all.iter().filter(|request| request.ended.is_none()).count();
    scene.receiver.wait_until("both workers send", |all| in_flight(all) >= 7).await;
    assert_eq!(scene.all_delivered(paths).await, 0);
    first.stop().await;
    second.stop().await;
}

/// A lane gives way, and then no other lane waits. The worker claims the lane again at once. It
/// does not wait for the next poll. A poll asks for lanes of all webhooks, so the test can tell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_is_not_left_empty_after_a_lane_gave_way() {
    let scene = Scene::with_webhook(&[("max_in_flight", "1")]).await;
    scene.webhook("/idle", &[("filter", "'$ == 1'")]).await;
    backlog(&scene, 1, 2_000).await;
    // A row for each claim of the lane with the backlog: how many webhooks the call asked for.
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
    // The lane gives way at the end of its turn, if another lane is due and not claimed.
    for n in 0.. {
        if scene.number("SELECT count(*) FROM claims").await > 4 {
            break;
        }
        let id = scene.publish_untold(&format!("seldom-{n}")).await;
        let sent = |all: &[Received]| all.iter().any(|request| request.position() == id);
        let received = scene.receiver.wait_until("the other lane's request", sent).await;
        scene.receiver.wait_for(received.len() + 60).await;
    }
    let asked_for = scene.number("SELECT count(*) FROM claims WHERE webhooks = 1").await;
    let claims = scene.text("SELECT string_agg(webhooks::text, ' ' ORDER BY id) FROM claims").await;
    println!("{claims}");
    assert!(asked_for >= 2, "the lane is also found without polls: {claims}");
}

/// Lanes that wait for the rate limit hold their slots for longer than a turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_reaches_its_rate_limit_although_its_lanes_take_turns() {
    let scene = Scene::with_webhook(&[]).await;
    backlog(&scene, 3, 4).await;
    scene.sql("UPDATE webhooks SET rate_limit_per_second = 2").await;
    let broker = Broker::start(scene.store());
    assert_eq!(scene.all_delivered(&["/"]).await, 0);
    broker.stop().await;
    let received = scene.receiver.received();
    let took = received[received.len() - 1].arrived - received[0].arrived;
    // At the rate limit it takes 5.5 s. It takes longer if lanes give way while they wait.
    assert!(received.len() == 12 && took < Duration::from_secs(8), "{} in {took:?}", received.len());
}

/// A receiver never answers. A worker gives lanes of it back if it has no slot for them. It does
/// not claim them again at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lanes_without_a_slot_are_not_claimed_again_and_again() {
    let scene = Scene::with_webhook(&[("timeout_seconds", "60")]).await;
    backlog(&scene, 60, 1).await;
    scene.receiver.set_script(|request| match request.path.as_str() {
        "/" => Answer::Hang,
        _ => Answer::Status(204),
    });
    let healthy = scene.webhook("/healthy", &[]).await;
    let _broker = Broker::with(scene.store(), 10, quick_delivery());
    // A webhook that does not answer may have half of the slots.
    scene.receiver.wait_for(5).await;
    scene.until("(SELECT count(*) FROM lanes WHERE claimed_by IS NOT NULL) BETWEEN 5 AND 20").await;
    let held = format!(
        "SELECT string_agg(lane || ':' || token, ' ') FROM lanes WHERE claimed_by IS NOT NULL AND webhook_id <> {healthy}"
    );
    let mut claims: HashSet<String> = HashSet::new();
    for _ in 0..20 {
        let id = scene.publish(&["key-1"]).await[0];
        let delivered =
            |all: &[Received]| all.iter().any(|one| one.path == "/healthy" && one.position() == id);
        scene.receiver.wait_until("the request to the healthy webhook", delivered).await;
        claims.extend(scene.text(&held).await.split(' ').map(str::to_owned));
        // Until the worker looks again at the lanes that wait.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Some lanes are claimed again: while the healthy webhook waits for a slot, both webhooks get
    // an equal part of the slots.
    assert!(claims.len() < 40, "{} claims", claims.len());
}
