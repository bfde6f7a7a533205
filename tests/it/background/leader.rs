//! One worker leads. Another one takes the lead when it is gone.

use std::time::{Duration, Instant};

use pgtopic::store::Lead;
use pgtopic_testkit::{Broker, Http, Process, Scene, Stall, eventually};

/// The worker that leads, if its session lives.
const LEADER: &str = "(SELECT worker::text FROM leader)";

#[tokio::test]
async fn another_worker_takes_the_lead_within_seconds_of_a_kill() {
    let scene = Scene::new().await;
    let mut first = Process::start(&["worker"], &scene.database.environment());
    first.wait_for_output("this worker leads").await;
    let leader = scene.text(LEADER).await;
    let mut second = Process::start(&["worker"], &scene.database.environment());
    second.wait_for_output("worker is ready").await;
    scene.until("2 = (SELECT count(*) FROM workers)").await;
    assert!(!second.output().contains("this worker leads"), "{}", second.output());

    let stall = Stall::watch();
    first.kill9();
    let killed = Instant::now();
    second.wait_for_output("this worker leads").await;
    let took = killed.elapsed();
    println!("the lead was taken {took:?} after the kill");
    // A dead worker is gone after 1.2 s, and the others look every second. Twice as long is allowed.
    assert!(took < Duration::from_secs(5) + stall.longest(), "{took:?}");
    assert_ne!(scene.text(LEADER).await, leader);
    assert_eq!(scene.number("SELECT term FROM leader").await, 2);
    // It does the work: pieces note who did them.
    scene.until(&format!("count(*) >= 3 FROM background_runs WHERE worker::text = {LEADER}")).await;
    second.stop().await;
}

/// A dead letter that is past any retention.
const OLD_DEAD_LETTER: &str =
    "INSERT INTO dead_letters (webhook_id, topic_id, partition_key, lane, message_id, reason, attempts, created_at)
     VALUES (1, 1, 'a', 0, 1, 'permanent', 1, now() - interval '9 days')";

#[tokio::test]
async fn a_step_of_an_old_leader_does_nothing() {
    let scene = Scene::new().await;
    scene.sql(OLD_DEAD_LETTER).await;
    let store = scene.store();
    let (old, new) = (scene.idle_worker().await, scene.idle_worker().await);
    let lead = store.take_lead(old).await.unwrap().unwrap();
    assert_eq!(lead, Lead { worker: old, term: 1 });
    assert_eq!(store.take_lead(old).await.unwrap(), Some(lead), "it leads already");
    assert_eq!(store.take_lead(new).await.unwrap(), None, "another one leads");
    scene.sql(&format!("UPDATE workers SET gone = true WHERE id = '{old}'")).await;
    assert!(store.take_lead(old).await.unwrap_err().is_not_registered(), "who is gone never leads");

    // While a step of the old leader is under way, nobody takes the lead.
    let step = scene.another_client().await;
    step.batch_execute(&format!("BEGIN; SELECT require_lead('{old}', 1)")).await.unwrap();
    assert_eq!(store.take_lead(new).await.unwrap(), None);
    step.batch_execute("COMMIT").await.unwrap();
    assert_eq!(store.take_lead(new).await.unwrap(), Some(Lead { worker: new, term: 2 }));

    let refused = store.lead(lead).delete_old_dead_letters(1).await.unwrap_err();
    assert!(refused.is_not_leading(), "{refused}");
    let earlier = store.lead(Lead { worker: new, term: 1 });
    assert!(earlier.delete_old_dead_letters(1).await.unwrap_err().is_not_leading(), "the term counts too");
    assert_eq!(scene.number("SELECT count(*) FROM dead_letters").await, 1, "nothing was done");
    let steps = store.lead(Lead { worker: new, term: 2 });
    assert_eq!(steps.delete_old_dead_letters(1).await.unwrap(), 1);
}

/// An API without workers is ready, and says that jobs wait.
#[tokio::test]
async fn readiness_says_whether_a_worker_does_the_background_work() {
    let scene = Scene::new().await;
    let http = Http::serve(scene.store()).await;
    assert_eq!(http.get("/readyz").await["background"], "no_worker");
    let mut worker = Process::start(&["worker"], &scene.database.environment());
    worker.wait_for_output("this worker leads").await;
    assert_eq!(http.get("/readyz").await["background"], "running");
    worker.kill9();
    eventually("its lock is free", async || {
        (http.get("/readyz").await["background"] == "no_worker").then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_the_leader_does_is_noted_and_so_is_what_it_cannot_do() {
    let scene = Scene::new().await;
    scene.sql("ALTER FUNCTION delete_old_messages RENAME TO hidden").await;
    let broker = Broker::start(scene.store());
    scene.until("EXISTS (SELECT FROM background_runs WHERE piece = 'retention')").await;
    let error = scene.text("SELECT error FROM background_runs WHERE piece = 'retention'").await;
    assert!(error.contains("delete_old_messages"), "{error}");
    scene
        .until(
            "EXISTS (SELECT FROM background_runs
                      WHERE piece = 'orphans' AND error IS NULL AND started_at <= finished_at AND did_in_all = 0)",
        )
        .await;
    broker.stop().await;
    // Who stops leaves the lead to others at once.
    assert!(scene.store().take_lead(scene.idle_worker().await).await.unwrap().is_some());
}
