//! The documentation for users: its examples run or can be parsed, and its tables are complete.

mod alerts;
mod command_line;
mod incidents;
mod operations;

use std::{collections::BTreeSet, io::Write, process::Stdio};

use pgtopic::domain::policy;
use pgtopic_testkit::{Http, Process, Scene, TestDatabase};
use rstest::rstest;
use serde_json::Value;
use uuid::Uuid;

/// The most words of README, as `wc -w` counts them.
const README_WORDS: usize = 1500;

pub(crate) fn read(document: &str) -> String {
    std::fs::read_to_string(format!("{}/{document}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The blocks of code in one language. Blocks within a list are indented.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim() != format!("```{language}") {
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        let inside = lines.by_ref().take_while(|line| line.trim() != "```");
        found.push(inside.map(|line| line.get(indent..).unwrap_or_default().to_owned() + "\n").collect());
    }
    found
}

/// Gives a program to an interpreter that only parses it. `None` if the interpreter is not
/// installed.
fn parse(command: &[&str], program: &str) -> Option<std::process::Output> {
    let mut child = std::process::Command::new(command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    child.stdin.take().unwrap().write_all(program.as_bytes()).unwrap();
    Some(child.wait_with_output().unwrap())
}

#[rstest]
#[case::python("python", &["python3", "-c", "import ast, sys; ast.parse(sys.stdin.read())"], "def f(:\n")]
#[case::node("js", &["node", "--check", "-"], "function (\n")]
fn examples_of_publishing_can_be_parsed(
    #[case] language: &str,
    #[case] command: &[&str],
    #[case] wrong: &str,
) {
    let examples = blocks(&read("docs/publishing.md"), language);
    assert!(examples.len() >= 2, "{examples:?}");
    for example in &examples {
        let Some(parsed) = parse(command, example) else {
            assert!(std::env::var_os("PGTOPIC_TEST_REQUIRED").is_none(), "{} is not installed", command[0]);
            eprintln!("SKIPPED: {} is not installed", command[0]);
            return;
        };
        assert!(parsed.status.success(), "{example}\n{}", String::from_utf8_lossy(&parsed.stderr));
    }
    assert!(!parse(command, wrong).unwrap().status.success(), "the interpreter refuses a wrong program");
}

/// Runs all SQL of the page, in its order. The role has the rights that the page names, and no
/// others.
#[tokio::test]
async fn the_sql_of_publishing_runs_with_the_rights_that_it_names() {
    let scene = Scene::with_webhook(&[]).await;
    // Roles belong to the whole server, and other tests use this server, too.
    let role = format!("shop_{}", Uuid::now_v7().simple());
    let (grants, others): (Vec<_>, Vec<_>) =
        blocks(&read("docs/publishing.md"), "sql").into_iter().partition(|sql| sql.contains("GRANT"));
    assert!(grants.len() == 1 && others.len() >= 4, "{grants:?} {others:?}");
    scene.sql("UPDATE topics SET name = 'orders'").await;
    scene.sql(&grants[0].replace("shop", &role)).await;
    scene.sql(&format!("ALTER ROLE {role} LOGIN")).await;
    let app = pgtopic_testkit::reach(&scene.database.url_as(&role)).await;
    let mut published = 0;
    for sql in others {
        app.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        published = scene.number("SELECT count(*) FROM messages").await;
    }
    // Three with the first ways, one for two uses of an idempotency key, two in the order of locks.
    assert_eq!(published, 6);
    scene.sql(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

/// The bodies of the page's `curl` lines.
#[tokio::test]
async fn the_requests_of_publishing_are_accepted() {
    let database = TestDatabase::new().await;
    database
        .client()
        .await
        .batch_execute("INSERT INTO pgtopic.topics (name) VALUES ('orders')")
        .await
        .unwrap();
    let http = Http::serve(database.store()).await;
    let mut requests = 0;
    for command in blocks(&read("docs/publishing.md"), "sh").iter().filter(|command| command.contains("curl"))
    {
        let path = command.split("127.0.0.1:8000").nth(1).unwrap().split_whitespace().next().unwrap();
        let body: Value = serde_json::from_str(command.split('\'').nth(1).unwrap()).unwrap();
        let (status, answer) = http.try_post(path, &body).await.unwrap();
        assert_eq!(status, 201, "{command}: {answer}");
        requests += 1;
    }
    assert_eq!(requests, 2);
}

/// The cells of the row of README that begins with this word in backquotes.
fn row(readme: &str, key: &str) -> Vec<String> {
    let begins = |line: &&str| {
        line.strip_prefix("| ")
            .is_some_and(|row| row.split(" | ").next().is_some_and(|cell| cell.contains(&format!("`{key}`"))))
    };
    let line = readme.lines().find(begins).unwrap_or_else(|| panic!("README has no row of {key}"));
    line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()
}

/// A number as people write it: 2,592,000.
fn grouped(number: f64) -> String {
    let text = number.to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((text.as_str(), ""));
    let digits: Vec<char> = whole.chars().collect();
    let groups: Vec<String> = digits.rchunks(3).rev().map(|group| group.iter().collect()).collect();
    if fraction.is_empty() { groups.join(",") } else { format!("{}.{fraction}", groups.join(",")) }
}

#[tokio::test]
async fn readme_names_every_option_of_a_webhook_with_its_bounds() {
    let readme = read("README.md");
    let document: Value = serde_json::from_str(&Process::run(&["openapi"], &[]).await.output).unwrap();
    let schemas = &document["components"]["schemas"];
    let fields =
        ["NewWebhook", "WebhookChanges"].map(|name| schemas[name]["properties"].as_object().unwrap());
    let options: BTreeSet<&String> = fields.iter().flat_map(|fields| fields.keys()).collect();
    assert!(options.len() >= 15, "{options:?}");
    for option in options {
        row(&readme, option);
    }
    let bounds = [
        ("batch_size", f64::from(*policy::BATCH_SIZE.start()), f64::from(*policy::BATCH_SIZE.end())),
        ("max_retries", f64::from(*policy::MAX_RETRIES.start()), f64::from(*policy::MAX_RETRIES.end())),
        ("backoff_factor", *policy::BACKOFF_FACTOR.start(), *policy::BACKOFF_FACTOR.end()),
        (
            "max_backoff_seconds",
            f64::from(*policy::MAX_BACKOFF_SECONDS.start()),
            f64::from(*policy::MAX_BACKOFF_SECONDS.end()),
        ),
        (
            "timeout_seconds",
            f64::from(*policy::TIMEOUT_SECONDS.start()),
            f64::from(*policy::TIMEOUT_SECONDS.end()),
        ),
        (
            "max_age_seconds",
            f64::from(*policy::MAX_AGE_SECONDS.start()),
            f64::from(*policy::MAX_AGE_SECONDS.end()),
        ),
        ("max_owed", f64::from(*policy::MAX_OWED.start()), f64::from(*policy::MAX_OWED.end())),
        ("max_in_flight", f64::from(*policy::MAX_IN_FLIGHT.start()), f64::from(*policy::MAX_IN_FLIGHT.end())),
        (
            "rate_limit_per_second",
            *policy::RATE_LIMIT_PER_SECOND.start(),
            *policy::RATE_LIMIT_PER_SECOND.end(),
        ),
    ];
    let lists = [
        ("retry_schedule", &policy::RETRY_SCHEDULE, &policy::RETRY_SCHEDULE_SECONDS),
        ("permanent_statuses", &policy::PERMANENT_STATUSES, &policy::PERMANENT_STATUS),
    ];
    let lists = lists.into_iter().flat_map(|(option, count, numbers)| {
        [count, numbers].map(|range| (option, f64::from(*range.start()), f64::from(*range.end())))
    });
    for (option, from, to) in bounds.into_iter().chain(lists) {
        let cells = row(&readme, option).join(" ");
        let range = format!("{}-{}", grouped(from), grouped(to));
        assert!(cells.contains(&range), "{option} is {range}: {cells}");
    }
    let delivery = pgtopic::config::Config::default().delivery;
    let defaults = [
        ("max_retries", grouped(f64::from(delivery.max_retries))),
        ("backoff_factor", format!("{:.1}", delivery.backoff_factor)),
        ("max_backoff_seconds", grouped(f64::from(u32::try_from(delivery.max_backoff_seconds).unwrap()))),
        ("timeout_seconds", grouped(f64::from(u32::try_from(delivery.timeout_seconds).unwrap()))),
    ];
    for (option, default) in defaults {
        assert_eq!(row(&readme, option)[1], default, "{option}");
    }
}

#[test]
fn readme_is_short() {
    let words = read("README.md").split_whitespace().count();
    assert!(words < README_WORDS, "{words} words");
}
