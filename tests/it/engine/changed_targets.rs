//! Reading only the webhooks that have changed.

use pgtopic::{
    domain::{known_targets::KnownTargets, policy::PolicyDefaults},
    store::{ChangedTargets, Look, Store},
};
use pgtopic_testkit::Scene;

use super::pages;

/// A process that keeps up with the webhooks.
struct Reader {
    store: Store,
    known: KnownTargets,
    defaults: PolicyDefaults,
}

/// Webhooks that were read, each with its URL and whether it may be claimed; and those that are
/// gone.
type Read = (Vec<(i64, String, bool)>, Vec<i64>);

impl Reader {
    async fn new(scene: &Scene) -> Self {
        let mut reader = Self {
            store: scene.store(),
            known: KnownTargets::default(),
            defaults: pgtopic_testkit::quick_delivery().policy(),
        };
        reader.look(Look::Changed).await;
        reader
    }

    async fn look(&mut self, look: Look) -> Read {
        let read = self.store.list_changed_targets(&mut self.known, look, &self.defaults).await;
        let ChangedTargets { changed, mut gone } = read.unwrap();
        let target = |row: pgtopic::domain::target::TargetRow| {
            let url = row.target.unwrap().url;
            (row.webhook_id, url.rsplit('/').next().unwrap_or_default().to_owned(), row.deliverable)
        };
        let mut changed: Vec<_> = changed.into_iter().map(target).collect();
        changed.sort();
        gone.sort_unstable();
        (changed, gone)
    }

    /// What has changed, by a look of the usual kind.
    async fn changed(&mut self) -> Read {
        self.look(Look::Changed).await
    }
}

fn nothing() -> Read {
    (Vec::new(), Vec::new())
}

fn only(id: i64, path: &str, deliverable: bool) -> Read {
    (vec![(id, path.to_owned(), deliverable)], Vec::new())
}

/// A scene with the webhooks 1 to 3, and a reader that knows them.
async fn scene() -> (Scene, Reader) {
    let scene = Scene::new().await;
    for path in ["/1", "/2", "/3"] {
        scene.webhook(path, &[]).await;
    }
    let reader = Reader::new(&scene).await;
    (scene, reader)
}

/// SQL: a change of a webhook's URL.
fn change(id: i64, path: &str) -> String {
    format!("UPDATE webhooks SET url = 'http://127.0.0.1/{path}' WHERE id = {id}")
}

#[tokio::test]
async fn a_look_reads_what_came_changed_or_went_and_nothing_else() {
    let (scene, mut reader) = scene().await;
    assert_eq!(Reader::new(&scene).await.look(Look::All).await, nothing());
    assert_eq!(reader.changed().await, nothing());
    scene.sql(&change(2, "changed")).await;
    assert_eq!(reader.changed().await, only(2, "changed", true));
    scene.webhook("/4", &[]).await;
    assert_eq!(reader.changed().await, only(4, "4", true));
    scene.sql("DELETE FROM webhooks WHERE id = 1").await;
    assert_eq!(reader.changed().await, (Vec::new(), vec![1]));
    // One came and one went: the number is as before.
    scene.sql("BEGIN; DELETE FROM webhooks WHERE id = 4").await;
    scene.webhook("/5", &[]).await;
    scene.sql("COMMIT").await;
    let (came, mut went) = reader.changed().await;
    went.extend(reader.look(Look::All).await.1);
    assert_eq!((came, went), (vec![(5, "5".to_owned(), true)], vec![4]));
}

#[tokio::test]
async fn a_pause_of_a_topic_changes_its_webhooks() {
    let (scene, mut reader) = scene().await;
    let all = |deliverable| (1..=3).map(|id: i64| (id, id.to_string(), deliverable)).collect::<Vec<_>>();
    scene.sql("UPDATE topics SET paused = 'hold'").await;
    assert_eq!(reader.changed().await, (all(false), Vec::new()));
    scene.sql("UPDATE topics SET paused = 'refuse'").await;
    assert_eq!(reader.changed().await, (all(true), Vec::new()));
    scene.sql("DELETE FROM topics").await;
    assert_eq!(reader.changed().await, (Vec::new(), vec![1, 2, 3]));
}

/// `changed_at` is the time of the write. A transaction that commits later than others may have
/// written before them.
#[tokio::test]
async fn a_change_that_is_committed_late_is_read() {
    let (scene, mut reader) = scene().await;
    let late = scene.another_client().await;
    late.batch_execute(&format!("BEGIN; {}", change(1, "late"))).await.unwrap();
    scene.sql(&change(2, "early")).await;
    assert_eq!(reader.changed().await, only(2, "early", true));
    assert_eq!(reader.changed().await, nothing());
    late.batch_execute("COMMIT").await.unwrap();
    assert_eq!(reader.changed().await, only(1, "late", true));
}

/// The transaction was open for longer than looks reach back. The rows say so; the test does not
/// wait.
#[tokio::test]
async fn a_change_that_is_committed_very_late_is_read_by_a_look_at_all() {
    let (scene, mut reader) = scene().await;
    scene
        .sql(
            "ALTER TABLE webhooks DISABLE TRIGGER webhooks_changed_at;
             ALTER TABLE topics DISABLE TRIGGER topics_changed_at;
             UPDATE topics SET changed_at = now() - interval '2 min';
             UPDATE webhooks SET changed_at = now() - interval '2 min', url = 'http://127.0.0.1/late' WHERE id = 1",
        )
        .await;
    assert_eq!(reader.changed().await, nothing());
    assert_eq!(reader.look(Look::All).await, only(1, "late", true));
    // A new one is found at once: the number does not fit.
    scene.webhook("/4", &[("changed_at", "now() - interval '2 min'")]).await;
    assert_eq!(reader.changed().await, only(4, "4", true));
}

/// The plan was made while there were no webhooks.
#[tokio::test]
async fn a_look_reads_little_of_ten_thousand_webhooks() {
    let scene = Scene::new().await;
    let list = "SELECT count(webhook_id) FROM list_changed_webhooks(clock_timestamp())";
    for _ in 0..6 {
        scene.number(list).await;
    }
    let (many, secret) = (10_000, "{whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=}");
    scene
        .sql(&format!(
            "INSERT INTO topics (name) SELECT 'topic-' || n FROM generate_series(1, {many}) AS n;
             INSERT INTO webhooks (topic_id, url, secrets, headers)
             SELECT id, 'http://127.0.0.1:9/', '{secret}', json_build_object('x-filler', repeat('x', 500))
               FROM topics WHERE name LIKE 'topic-%'"
        ))
        .await;
    let other = scene.another_client().await;
    other.batch_execute("VACUUM ANALYZE webhooks, topics").await.unwrap();
    // The first call also makes the plan anew.
    scene.number(list).await;
    let read = pages(&scene, list).await;
    assert!(read < 100, "{read} pages");
    let all = pages(&scene, "SELECT count(url) FROM webhooks").await;
    assert!(all > 500, "{all} pages: they are too small to tell");
}
