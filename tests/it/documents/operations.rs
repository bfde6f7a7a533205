//! `docs/operations.md` and `docs/operations/behaviour.md`: their commands and their SQL run, in the
//! order of the pages.

use std::path::Path;

use pgtopic_testkit::{
    Answer, Http, Process, Scene, TestCluster, TestReceiver, create_topic, create_webhook, eventually,
    publish, reach_schema,
};
use tokio_postgres::Client;

use super::read;

/// How the first line of a block begins that is not run. It goes on with the reason.
const NOT_RUN: &str = "Not run by the tests: ";

/// Blocks that other tests run: those of rights, and that of staging copies.
const NAMED: [&str; 4] = ["worker", "app", "advisory locks", "staging"];

/// A block of code.
struct Block {
    /// What stands after the language.
    name: String,
    is_sql: bool,
    text: String,
}

/// The blocks of `sh` and `sql`, in their order.
fn blocks(page: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.trim_start().strip_prefix("```") else { continue };
        let indent = line.len() - line.trim_start().len();
        let inside = lines.by_ref().take_while(|line| line.trim() != "```");
        let text: String =
            inside.map(|line| line.get(indent..).unwrap_or_default().to_owned() + "\n").collect();
        let (language, name) = info.split_once(' ').unwrap_or((info, ""));
        if language == "sh" || language == "sql" {
            found.push(Block { name: name.to_owned(), is_sql: language == "sql", text });
        }
    }
    found
}

/// A person's data, as payload and as key.
const SECRET_OF_A_PERSON: &str = "ann@example.com";

/// In how many rows of all tables a text stands.
async fn rows_with(client: &Client, text: &str) -> i64 {
    let tables =
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'pgtopic'::regnamespace AND relkind = 'r'";
    let mut found = 0;
    for row in client.query(tables, &[]).await.unwrap() {
        let table: String = row.get(0);
        let sql = format!("SELECT count(*) FROM pgtopic.{table} t WHERE t::text LIKE $1");
        found += client.query_one(&sql, &[&format!("%{text}%")]).await.unwrap().get::<_, i64>(0);
    }
    found
}

#[tokio::test]
async fn every_block_runs() {
    let cluster = TestCluster::durable().await;
    let (url, receiver) = (cluster.url(), TestReceiver::accepting().await);
    let environment = [("DATABASE_URL", url.as_str()), ("PGTOPIC_DELIVERY__ALLOW_NETWORKS", "127.0.0.0/8")];
    let client = reach_schema(&url).await;
    create_topic(&client).await;
    create_webhook(&client, &receiver.url("/"), &[("name", "'billing'"), ("max_retries", "1")]).await;
    let mut serve = Process::start(&["serve", "--bind", "127.0.0.1:0"], &environment);
    let bound = Http::of(&mut serve).await.address().to_string();
    let environment = [&environment[..], &[("PGTOPIC_API__BIND", bound.as_str())]].concat();

    // One message of a person dies, and the receiver repeats it; another one is delivered.
    receiver.set_script(|_| Answer::Full(500, Vec::new(), SECRET_OF_A_PERSON.into()));
    let person = format!(
        "INSERT INTO messages (topic_id, partition_key, payload) VALUES (1, 'user-42', '\"{SECRET_OF_A_PERSON}\"')"
    );
    client.batch_execute(&person).await.unwrap();
    let until = async |condition: &str| {
        let sql = format!("SELECT {condition}");
        eventually(condition, async || {
            client.query_one(&sql, &[]).await.unwrap().get::<_, bool>(0).then_some(())
        })
        .await;
    };
    until("EXISTS (SELECT FROM dead_letters) AND EXISTS (SELECT FROM attempts)").await;
    receiver.set_script(|_| Answer::Status(204));
    publish(&client, "user-42").await.unwrap();
    publish(&client, "another").await.unwrap();
    until("NOT EXISTS (SELECT FROM deliveries) AND EXISTS (SELECT FROM background_runs WHERE piece = 'partitions')").await;
    assert!(rows_with(&client, SECRET_OF_A_PERSON).await >= 2 && rows_with(&client, "user-42").await >= 2);

    let mut run = 0;
    let pages = ["docs/operations/behaviour.md", "docs/operations.md"].map(|page| blocks(&read(page)));
    for block in pages.into_iter().flatten().filter(|block| block.name.is_empty()) {
        let Block { is_sql, text, .. } = &block;
        if let Some((_, reason)) = text.lines().next().unwrap().split_once(NOT_RUN) {
            assert!(reason.len() > 10, "{text}");
            continue;
        }
        run += 1;
        if text.contains("DROP SCHEMA") {
            serve.stop().await;
        }
        if *is_sql {
            client.batch_execute(text).await.unwrap_or_else(|error| panic!("{text}: {error:?}"));
        } else {
            let ended = crate::doctor::shell(&format!("set -e\n{text}"), &environment).await;
            assert_eq!(ended.code(), 0, "{text}\n{}", ended.output);
        }
        if text.contains("DELETE FROM pgtopic.messages") {
            assert_eq!(rows_with(&client, SECRET_OF_A_PERSON).await, 0);
            // A worker keeps an idle lane for some seconds.
            eventually("the key is gone", async || (rows_with(&client, "user-42").await == 0).then_some(()))
                .await;
            assert!(rows_with(&client, "another").await > 0);
        }
    }
    assert!(run > 12, "{run}");
    let gone: bool = client.query_one("SELECT to_regnamespace('pgtopic') IS NULL", &[]).await.unwrap().get(0);
    assert!(gone, "the last block removes everything");
}

#[test]
fn every_other_block_is_run_by_another_test() {
    let pages = ["docs/operations.md", "docs/operations/behaviour.md"].map(|page| blocks(&read(page)));
    let mut names: Vec<String> = pages.into_iter().flatten().map(|block| block.name).collect();
    names.retain(|name| !name.is_empty());
    names.sort();
    let mut expected = NAMED.to_vec();
    expected.sort_unstable();
    assert_eq!(names, expected);
}

#[tokio::test]
async fn a_staging_copy_sends_elsewhere_and_signs_otherwise() {
    let scene = Scene::with_webhook(&[]).await;
    scene.webhook("/other", &[]).await;
    let page = blocks(&read("docs/operations.md"));
    scene.sql(&page.iter().find(|block| block.name == "staging").unwrap().text).await;
    let urls = "SELECT count(*) FROM webhooks WHERE url = 'https://staging.example.com/hooks'";
    assert_eq!(scene.number(urls).await, 2);
    assert_eq!(scene.number("SELECT count(DISTINCT secrets) FROM webhooks").await, 2, "a secret each");
    // It is a secret that can be used.
    let secret = scene.text("SELECT secrets[1] FROM webhooks LIMIT 1").await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &secret).unwrap();
    let line = format!(
        "pgtopic webhooks create --topic orders --url https://example.com/ --secret-file {}",
        file.path().display()
    );
    assert_eq!(crate::doctor::shell(&line, &scene.database.environment()).await.code(), 0, "{secret}");
}

/// Links lead to pages and headings that there are.
#[test]
fn links_between_the_pages_of_documentation_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = [
        "README.md",
        "docs/operations.md",
        "docs/operations/behaviour.md",
        "docs/publishing.md",
        "docs/receiving.md",
        "docs/command-line.md",
    ];
    let mut links = 0;
    for page in pages {
        let text = read(page);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") || link.contains(' ') {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let path =
                if file.is_empty() { root.join(page) } else { root.join(page).parent().unwrap().join(file) };
            assert!(path.exists(), "{page}: {link}");
            if !anchor.is_empty() {
                let target = std::fs::read_to_string(&path).unwrap();
                assert!(anchors(&target).any(|found| found == anchor), "{page}: {link}");
            }
            links += 1;
        }
    }
    assert!(links > 20, "{links}");
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(page: &str) -> impl Iterator<Item = String> {
    let headings = page
        .lines()
        .filter_map(|line| line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#')));
    headings.map(|heading| {
        let kept = heading
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
            .collect::<String>();
        kept.replace(' ', "-")
    })
}
