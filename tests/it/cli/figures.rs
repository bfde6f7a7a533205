//! `pgtopic stats` and `pgtopic workers`. `pgtopic sending` is tested in `database/copies`.

use pgtopic_testkit::{Process, Puppet, Scene};
use serde_json::Value;

#[tokio::test]
async fn stats_and_workers_are_shown_to_people_and_to_programs() {
    let scene = Scene::with_webhook(&[("name", "'billing'")]).await;
    scene.publish(&["a", "b"]).await;
    let environment = scene.database.environment();
    let run = async |arguments: &[&str]| Process::run(arguments, &environment).await;
    let before = run(&["stats"]).await;
    assert_eq!(before.code(), 0, "{}", before.output);
    assert!(before.output.contains("no worker has taken a sample yet"), "{}", before.output);

    let leader = scene.leader().await;
    leader.sample_backlogs(0).await.unwrap();
    let stats = run(&["stats", "--topic", "orders"]).await;
    assert_eq!(stats.code(), 0, "{}", stats.output);
    let rows: Vec<Vec<&str>> =
        stats.output.lines().map(|line| line.split_whitespace().take(4).collect()).collect();
    assert_eq!(rows[0], ["TOPIC", "WEBHOOK", "STATE", "OWED"], "{}", stats.output);
    assert_eq!(rows[3], ["orders", "billing", "active", "2"], "{}", stats.output);
    let json: Value = serde_json::from_str(&run(&["stats", "--json"]).await.output).unwrap();
    assert_eq!(json["totals"]["owed"], 2);
    assert_eq!(run(&["stats", "--topic", "nobody"]).await.code(), 1);
    assert_eq!(run(&["stats", "--topic", ".."]).await.code(), 2);

    let webhooks = run(&["webhooks", "list"]).await;
    let row: Vec<&str> = webhooks.output.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..4], ["1", "orders:billing", "active", "2"], "{}", webhooks.output);

    let _puppet = Puppet::new(&scene).await;
    let workers = run(&["workers"]).await;
    assert!(
        workers.output.lines().any(|line| line.contains("puppet") && line.contains("live")),
        "{}",
        workers.output
    );
    let json: Value = serde_json::from_str(&run(&["workers", "--json"]).await.output).unwrap();
    assert_eq!(json["items"].as_array().unwrap().len(), 2);
    assert_eq!(json["next"], Value::Null);
}
