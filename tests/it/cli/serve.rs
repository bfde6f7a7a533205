//! Whole processes: `dev` and `serve` from start to stop.

use pgtopic_testkit::{Process, Received, TestCluster, TestDatabase, TestReceiver, reach};

/// `dev` with any free port, and with data that is removed at the end.
const DEV: [&str; 4] = ["dev", "--temporary", "--bind", "127.0.0.1:0"];

#[tokio::test]

async fn the_demo_delivers_everything_in_order_and_ends() {
    let arguments = [&DEV[..], &["--demo", "--messages", "10"]].concat();
    // The variable is for other commands: `dev` always starts its own PostgreSQL.
    let ended = Process::run(&arguments, &[("DATABASE_URL", "postgresql://127.0.0.1:1/other")]).await;
    assert_eq!(ended.code(), 0, "{}", ended.output);
    for words in
        ["10 published", "webhook 1: 10 delivered", "webhook 2: 10 delivered", "every partition in order"]
    {
        assert!(ended.output.contains(words), "no {words:?} in {}", ended.output);
    }
    assert_adds_up(&ended.output);
}

/// Checks the demo's last line. For each webhook, the numbers of messages that are delivered, owed
/// and dead letters add up to the number of published messages.
fn assert_adds_up(output: &str) {
    let line = output.lines().rfind(|line| line.contains(" published · ")).expect(output);
    let number = |text: &str, word: &str| -> u64 {
        let before = text.split(word).next().unwrap().trim_end();
        before.rsplit([' ', '(']).next().unwrap().parse().unwrap_or_else(|_| panic!("{word}: {line}"))
    };
    let published = number(line, " published");
    let webhooks: Vec<&str> = line.split(" · ").filter(|part| part.starts_with("webhook ")).collect();
    assert_eq!(webhooks.len(), 2, "{line}");
    for webhook in webhooks {
        let parts = [" delivered", " owed", " dead letters"].map(|word| number(webhook, word));
        assert_eq!(parts.iter().sum::<u64>(), published, "{line}");
    }
}

/// The demo is stopped in the middle. Some messages are still owed, and one may be in flight.
#[tokio::test]
async fn the_demos_last_line_adds_up_whenever_it_is_stopped() {
    let mut dev = Process::start(&[&DEV[..], &["--demo"]].concat(), &[]);
    dev.wait_for_output("webhook 2  ").await;
    let ended = dev.stop().await;
    assert_adds_up(&ended.output);
}

#[tokio::test]

async fn dev_says_where_everything_is_and_stops_when_asked() {
    let mut dev = Process::start(&DEV, &[]);
    let output = dev.wait_for_output("Ctrl-C stops everything").await;
    for words in
        ["API        http://127.0.0.1:", "/docs", "psql 'postgresql://postgres:", "removed at the end"]
    {
        assert!(output.contains(words), "no {words:?} in {output}");
    }
    // The whole line is a command that a shell can run.
    let line = output.lines().find(|line| line.contains("psql ")).unwrap();
    let command = format!("{line} -Atc 'SELECT count(*) FROM pgtopic.topics'");
    let shell = std::process::Command::new("sh").args(["-c", &command]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&shell.stdout), "0\n", "{line}: {shell:?}");
    dev.stop().await;
}

#[tokio::test]
async fn help_names_the_directory_that_is_used() {
    let help =
        |variables: &'static [(&'static str, &'static str)]| Process::run(&["dev", "--help"], variables);
    let ended = help(&[("XDG_DATA_HOME", "/data of/me"), ("HOME", "/home/me")]).await;
    let words = ended.output.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("[default: /data of/me/pgtopic/dev]"), "{}", ended.output);
}

#[tokio::test]
async fn serve_listens_on_a_name() {
    let database = TestDatabase::new().await;
    let mut serve = Process::start(&["serve", "--bind", "localhost:0"], &database.environment());
    let output = serve.wait_for_output("worker is ready").await;
    assert!(output.contains("127.0.0.1:") || output.contains("[::1]:"), "{output}");
    serve.stop().await;
}

/// Until the first release, the schema is edited in place. So kept data of an older build may not
/// fit.
#[tokio::test]
async fn dev_makes_its_data_anew_where_another_version_has_made_it() {
    let parent = tempfile::tempdir().unwrap();
    // The account that runs the server must be able to reach it.
    std::fs::set_permissions(parent.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let home = parent.path().join("dev");
    let arguments = ["dev", "--bind", "127.0.0.1:0", "--data-dir", home.to_str().unwrap()];
    let ready = "Ctrl-C stops everything";
    let anew = "New data was made";

    let mut dev = Process::start(&arguments, &[]);
    let output = dev.wait_for_output(ready).await;
    // The port may differ after each start.
    let url = |output: &str| {
        let word = output.split_whitespace().find(|word| word.starts_with("'postgresql://")).unwrap();
        word.trim_matches('\'').to_owned()
    };
    let client = reach(&url(&output)).await;
    client.batch_execute("INSERT INTO pgtopic.topics (name) VALUES ('kept')").await.unwrap();
    dev.stop().await;

    let mut dev = Process::start(&arguments, &[]);
    let output = dev.wait_for_output(ready).await;
    assert!(!output.contains(anew), "{output}");
    let client = reach(&url(&output)).await;
    assert_eq!(client.query("SELECT FROM pgtopic.topics", &[]).await.unwrap().len(), 1, "the data is kept");
    client.batch_execute("UPDATE pgtopic.schema_history SET checksum = '1'").await.unwrap();
    dev.stop().await;

    let mut dev = Process::start(&arguments, &[]);
    let output = dev.wait_for_output(ready).await;
    assert!(output.contains(anew) && output.contains("data.old"), "{output}");
    assert!(reach(&url(&output)).await.query("SELECT FROM pgtopic.topics", &[]).await.unwrap().is_empty());
    assert!(home.join("data.old/PG_VERSION").exists());
    dev.stop().await;
}

#[tokio::test]

async fn serve_migrates_and_stops_when_asked() {
    let database = TestDatabase::empty().await;
    let mut environment = database.environment();
    environment.push(("PGTOPIC_API__BIND", "127.0.0.1:0"));
    let mut serve = Process::start(&["serve"], &environment);
    serve.wait_for_output("the schema is up to date").await;
    database.store().check_schema().await.unwrap();
    let ended = serve.stop().await;
    assert!(ended.output.contains("stopped"), "{}", ended.output);
}

#[tokio::test]

async fn a_taken_port_is_one_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let database = TestDatabase::new().await;
    let ended = Process::run(&["api", "--bind", &address], &database.environment()).await;
    assert_eq!(ended.code(), 1, "{}", ended.output);
    assert_eq!(ended.output.lines().count(), 1, "{}", ended.output);
    assert!(ended.output.contains("api.bind") && ended.output.contains(&address), "{}", ended.output);
}

async fn publish(cluster: &TestCluster) -> i64 {
    let sql = "SELECT pgtopic.publish('orders', 'user-42', '{\"event\": \"order.created\"}')";
    cluster.client().await.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn serve_survives_a_crash_of_the_database() {
    let mut cluster = TestCluster::durable().await;
    let receiver = TestReceiver::accepting().await;
    let sql = format!(
        "INSERT INTO pgtopic.topics (name) VALUES ('orders');
         INSERT INTO pgtopic.webhooks (topic_id, url, secrets)
         VALUES (1, '{}', '{{whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw}}')",
        receiver.url("/")
    );
    cluster.client().await.batch_execute(&sql).await.unwrap();

    let arguments = ["serve", "--bind", "127.0.0.1:0", "--allow-network", "127.0.0.0/8"];
    let mut serve = Process::start(&arguments, &[("DATABASE_URL", &cluster.url())]);
    publish(&cluster).await;
    receiver.wait_for_ended(1).await;

    cluster.postgres.kill().await.unwrap();
    cluster.postgres.start_again().await.unwrap();
    let second = publish(&cluster).await;
    let arrived = |all: &[Received]| all.iter().any(|one| one.position() == second);
    let received = receiver.wait_until("the second message", arrived).await;
    // The first message may come twice: the crash may have lost its settle. The order is kept.
    assert!(received.is_sorted_by_key(Received::position));
    serve.stop().await;
}
