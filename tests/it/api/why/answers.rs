//! Partitions, bad input, and the command.

use pgtopic_testkit::{Process, TestCluster, create_topic, publish, reach_schema};
use serde_json::{Value, json};

use super::{Api, idle_scene, is, says, scene};

#[tokio::test]
async fn a_partition_names_its_publisher_and_its_heads() {
    let (scene, api) = idle_scene(&[]).await;
    scene.webhook("/second", &[]).await;
    let path = "/topics/orders/why?partition_key=a";
    let answer = api.get(path).await.expect(200);
    assert_eq!(answer, json!({"topic": "orders", "partition_key": "a", "publisher": null, "webhooks": []}));
    let head = scene.publish(&["a", "a", "b"]).await[0];
    scene.sql(&format!("DELETE FROM deliveries WHERE message_id = {head} AND webhook_id = 2")).await;

    let publisher = scene.another_client().await;
    publisher.batch_execute("SET application_name = 'shop'; BEGIN").await.unwrap();
    publish(&publisher, "a").await.unwrap();
    let pid: i32 = publisher.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    let answer = api.get("/topics/1/why?partition_key=a").await.expect(200);
    assert_eq!(
        (&answer["publisher"]["pid"], &answer["publisher"]["application_name"]),
        (&json!(pid), &json!("shop"))
    );
    assert!(answer["publisher"]["user"].is_string() && answer["publisher"]["since"].is_string());
    let entries = answer["webhooks"].as_array().unwrap();
    assert_eq!(entries.len(), 2);
    for entry in entries {
        is(entry, "waiting", "ready");
    }
    says(&entries[0], &format!("Message {head} is ready"));
    says(&entries[1], &format!("Message {} is ready", head + 1));
    let text = Process::run(&["why", "orders", "a"], &scene.database.environment()).await.output;
    assert!(text.contains(&format!("SELECT pg_terminate_backend({pid})\n")), "{text}");
    publisher.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(api.get(path).await.expect(200)["publisher"], Value::Null);
}

#[tokio::test]
async fn a_prepared_publisher_is_named_by_its_gid() {
    let cluster = TestCluster::private_with(&[("max_prepared_transactions", "10")]).await;
    let client = reach_schema(&cluster.url()).await;
    create_topic(&client).await;
    client.batch_execute("BEGIN").await.unwrap();
    publish(&client, "default").await.unwrap();
    client.batch_execute("PREPARE TRANSACTION 'of the shop'").await.unwrap();
    let publisher =
        Api::new(cluster.store(), &[]).get("/topics/orders/why").await.expect(200)["publisher"].clone();
    assert_eq!(
        (&publisher["pid"], &publisher["application_name"]),
        (&Value::Null, &json!("prepared transaction 'of the shop'"))
    );
    let url = cluster.url();
    let text = Process::run(&["why", "orders", "default"], &[("DATABASE_URL", url.as_str())]).await.output;
    let (_, remedy) = text.split_once("What it published is lost.  ").unwrap_or_else(|| panic!("{text}"));
    assert_eq!(remedy.lines().next(), Some("ROLLBACK PREPARED 'of the shop'"), "{text}");
    client.batch_execute(remedy.lines().next().unwrap()).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_explained_is_a_problem() {
    let (scene, api) = scene(&[]).await;
    let missing = api.get("/messages/77/why").await.problem(404);
    assert_eq!(
        missing["detail"],
        "there is no message 77: it was deleted by retention, rolled back, or is not committed yet"
    );
    api.get("/messages/x/why").await.problem(404);
    api.get("/topics/nothing/why").await.problem(404);
    scene.sql("INSERT INTO topics (name, ordering) VALUES ('loose', 'none')").await;
    for path in
        ["/topics/loose/why", "/topics/orders/why?partition_key=", "/topics/orders/why?partition_key=a%00b"]
    {
        assert_eq!(api.get(path).await.problem(422)["field"], "partition_key", "{path}");
    }
    assert_eq!(api.get("/topics/orders/why?key=a").await.problem(422)["field"], "key");
}

#[tokio::test]
async fn the_command_line_gives_the_same_answer() {
    let (scene, api) = idle_scene(&[("name", "'billing'")]).await;
    let id = scene.publish(&["a\u{1b}"]).await[0].to_string();
    let environment = scene.database.environment();
    let run = async |arguments: &[&str]| Process::run(arguments, &environment).await;
    let text = run(&["why", &id]).await;
    assert_eq!(text.code(), 0, "{}", text.output);
    for needle in
        ["billing (webhook 1): waiting (ready)", "partition a\\u{1b}", &format!("Message {id} is ready")]
    {
        assert!(text.output.contains(needle), "no {needle:?} in {}", text.output);
    }
    let json = run(&["why", "--json", &id]).await;
    let told: Value = serde_json::from_str(&json.output).unwrap();
    assert_eq!(told, api.get(&format!("/messages/{id}/why")).await.expect(200));
    scene.sql("UPDATE webhooks SET paused = true").await;
    let partition = run(&["why", "orders", "a\u{1b}"]).await;
    for needle in ["partition a\\u{1b} of topic orders", "→ Resume the webhook.  pgtopic webhooks resume 1"]
    {
        assert!(partition.output.contains(needle), "no {needle:?} in {}", partition.output);
    }
    let empty = run(&["why", "orders", "b"]).await;
    assert!(empty.code() == 0 && empty.output.contains("no webhook is owed anything"), "{}", empty.output);
    for (arguments, code, needle) in [
        (&["why", "77"][..], 1, "deleted by retention"),
        (&["why", "orders"], 2, "must be the id of a message"),
        (&["why", "a b", "key"], 2, "must be a topic's id or name"),
        (&["why", "nothing", "key"], 1, "there is no topic"),
        (&["why"], 2, "MESSAGE"),
    ] {
        let ended = run(arguments).await;
        assert_eq!(ended.code(), code, "{arguments:?}: {}", ended.output);
        assert!(ended.output.contains(needle), "{}", ended.output);
    }
}
