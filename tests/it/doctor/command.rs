//! The command, the route, exit codes; and the command `health`.

use pgtopic::domain::doctor::{Check, Status};
use pgtopic_testkit::{Http, Process, Scene};
use serde_json::Value;

use super::shell;

/// All checks, in their order, well in all that a test's server can be: it is set up to be fast.
#[tokio::test]
async fn a_healthy_installation_has_nothing_but_ok() {
    let scene = Scene::with_webhook(&[]).await;
    let environment = scene.database.environment();
    let allow = ("PGTOPIC_DELIVERY__ALLOW_NETWORKS", "127.0.0.0/8");
    let environment = [&environment[..], &[allow]].concat();
    let mut serve = Process::start(&["serve", "--bind", "127.0.0.1:0"], &environment);
    let http = Http::of(&mut serve).await;
    scene.publish(&["a", "b"]).await;
    scene.all_delivered(&["/"]).await;
    scene.until("EXISTS (SELECT FROM background_runs WHERE piece = 'partitions')").await;

    let report = http.get("/doctor").await;
    let checks = report["checks"].as_array().unwrap();
    let names: Vec<&str> = checks.iter().map(|finding| finding["check"].as_str().unwrap()).collect();
    assert_eq!(names, Check::ALL.map(Check::as_str));
    for finding in checks.iter().filter(|finding| finding["check"] != "settings") {
        assert_eq!(finding["status"], "ok", "{finding}");
    }
    let name: String = scene.text("SELECT current_database()").await;
    assert_eq!(report["database"], name);
    assert!(report["checked_at"].is_string());

    let ended = Process::run(&["doctor", "--json", "--check", "workers"], &environment).await;
    let one: Value = serde_json::from_str(&ended.output).unwrap();
    assert_eq!((ended.code(), &one["result"], one["checks"].as_array().unwrap().len()), (0, &"ok".into(), 1));
    let found = http.get("/doctor?check=workers").await;
    assert_eq!(found["checks"][0]["seen"], one["checks"][0]["seen"]);
    let (status, _) = http.try_get("/doctor?check=nothing").await.unwrap();
    assert_eq!(status, 422);

    // Where requests may go is told by the workers, not by the settings of a command.
    let elsewhere = scene.database.environment();
    let webhooks = Process::run(&["doctor", "--check", "webhooks"], &elsewhere).await;
    assert_eq!(webhooks.code(), 0, "{}", webhooks.output);

    // For people, one line each.
    let ended = Process::run(&["doctor"], &environment).await;
    assert!(ended.output.contains("\nok       workers             1 worker lives\n"), "{}", ended.output);
    let address = http.address();
    let health = shell(&format!("pgtopic health --url http://{address}"), &[]).await;
    assert_eq!((health.code(), health.output.as_str()), (0, "ready\n"));
    let bound = address.to_string();
    let by_bind = shell("pgtopic health", &[("PGTOPIC_API__BIND", &bound)]).await;
    assert_eq!((by_bind.code(), by_bind.output.as_str()), (0, "ready\n"));
    let worker = Process::run(&["health", "--worker"], &environment).await;
    assert!(worker.code() == 0 && worker.output.ends_with("is live\n"), "{}", worker.output);
    serve.stop().await;

    let gone = shell("pgtopic health", &[("PGTOPIC_API__BIND", &bound)]).await;
    assert_eq!(gone.code(), 1);
    assert!(gone.output.contains("nobody answers at"), "{}", gone.output);
    let webhooks = Process::run(&["doctor", "--check", "webhooks"], &elsewhere).await;
    assert!(webhooks.code() == 1 && webhooks.output.contains("cannot be sent to"), "{}", webhooks.output);
    let worker = Process::run(&["health", "--worker"], &environment).await;
    assert!(worker.code() == 1 && worker.output.contains("lives"), "{}", worker.output);
}

#[tokio::test]
async fn exit_codes_say_how_bad_it_is_and_health_says_why() {
    let scene = Scene::new().await;
    let environment = scene.database.environment();
    let code = async |arguments: &[&str]| Process::run(arguments, &environment).await.code();
    assert_eq!(code(&["doctor", "--check", "workers"]).await, 0, "it only warns");
    assert_eq!(code(&["doctor", "--check", "workers", "--strict"]).await, 1);
    assert_eq!(code(&["doctor", "--check", "leader"]).await, 1);
    assert_eq!(code(&["doctor", "--check", "nothing"]).await, 2);
    let mut api = Process::start(&["api", "--bind", "127.0.0.1:0"], &environment);
    let http = Http::of(&mut api).await;
    assert_eq!(code(&["sending", "off"]).await, 0);
    let health = shell(&format!("pgtopic health --url http://{}/", http.address()), &[]).await;
    assert_eq!(health.code(), 1);
    assert!(
        health.output.contains("not ready: nothing is sent: sending was switched off"),
        "{}",
        health.output
    );
    api.stop().await;
}

/// Every check stands in docs/operations.md, and nothing else does.
#[test]
fn every_check_is_documented() {
    let page = crate::documents::read("docs/operations.md");
    let section = page.split("\n## Doctor\n").nth(1).expect("a section").split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    // The verdicts, then the checks, each in its order.
    let verdicts = [Status::Ok, Status::Warn, Status::Fail, Status::Skipped].map(Status::as_str);
    let expected = [&verdicts[..], &Check::ALL.map(Check::as_str)].concat();
    assert_eq!(rows.collect::<Vec<_>>(), expected);
}
