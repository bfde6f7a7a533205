//! How the database is reached: TLS, poolers, LISTEN.

use pgtopic::{
    config::DatabaseConfig,
    domain::doctor::{Check, Status},
    store::Store,
};
use pgtopic_testkit::{Http, Process, TestCluster, TestDatabase, TestPooler};

use super::{broker, check, is};

#[tokio::test]
async fn a_pooler_that_nobody_has_configured_is_found_and_so_is_one_before_listen_url() {
    let database = TestDatabase::new().await;
    let Some(pooler) = TestPooler::start(TestDatabase::socket_dir().await, 8).await else { return };
    let name = database.url().rsplit('/').next().unwrap().split('?').next().unwrap();
    let direct = || Some(database.url().to_owned().into());
    let pooled = || Some(pooler.url(name).into());
    let plain = DatabaseConfig { listen_url: None, ..database.config() };
    let doctor =
        |url, listen_url| broker(Store::new(&DatabaseConfig { url, listen_url, ..plain.clone() }).unwrap());

    let found = is(check(&doctor(pooled(), None), Check::Pooler).await, Status::Fail);
    assert!(found.remedy.unwrap().text.contains("database.listen_url"));
    let configured = doctor(pooled(), direct());
    for of in [Check::Pooler, Check::Listen, Check::Connection, Check::Schema] {
        is(check(&configured, of).await, Status::Ok);
    }
    let found = is(check(&doctor(direct(), None), Check::Pooler).await, Status::Ok);
    assert!(found.seen.contains("none is configured"), "{found:?}");

    let wrong = doctor(direct(), pooled());
    let found = is(check(&wrong, Check::Pooler).await, Status::Fail);
    assert!(found.seen.contains("listen_url leads through"), "{found:?}");
    is(check(&wrong, Check::Listen).await, Status::Fail);

    let other = TestDatabase::new().await;
    let found =
        is(check(&doctor(direct(), Some(other.url().to_owned().into())), Check::Pooler).await, Status::Fail);
    assert!(found.seen.contains("different databases"), "{found:?}");
}

#[tokio::test]
async fn a_network_without_tls_is_warned_of() {
    let cluster = TestCluster::private_tcp().await;
    let url = cluster.postgres.tcp_url("postgres").unwrap();
    let at = |host: &str| {
        let url = url.replacen("127.0.0.1", host, 1);
        let separator = if url.contains('?') { '&' } else { '?' };
        let url = format!("{url}{separator}hostaddr=127.0.0.1");
        let config = DatabaseConfig { url: Some(url.into()), ..cluster.config() };
        broker(Store::new(&config).unwrap())
    };
    is(check(&at("localhost"), Check::Tls).await, Status::Ok);
    let found = is(check(&at("db.example.com"), Check::Tls).await, Status::Warn);
    assert!(found.seen.contains("without TLS"), "{found:?}");
    assert!(found.remedy.unwrap().text.contains("sslmode=verify-full to database.url"));
}

#[tokio::test]
async fn a_database_that_cannot_be_reached_has_its_exit_code() {
    let nowhere = [("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")];
    let ended = Process::run(&["doctor"], &nowhere).await;
    assert_eq!(ended.code(), 3, "{}", ended.output);
    let lines: Vec<&str> = ended.output.lines().collect();
    assert!(
        lines[0].starts_with("fail     connection") && lines[1].starts_with("skipped  tls"),
        "{}",
        ended.output
    );
    assert_eq!(lines.len(), Check::ALL.len() + 1, "the last line says why: {}", ended.output);
    assert_eq!(Process::run(&["doctor"], &[]).await.code(), 2, "no database is named");

    // The API says the same.
    let config = DatabaseConfig {
        url: Some(nowhere[0].1.to_owned().into()),
        ..pgtopic::config::Config::default().database
    };
    let http = Http::serve(Store::new(&config).unwrap()).await;
    let report = http.get("/doctor").await;
    assert_eq!((&report["result"], &report["database"]), (&"fail".into(), &serde_json::Value::Null));
    let statuses: Vec<_> = report["checks"].as_array().unwrap().iter().map(|one| &one["status"]).collect();
    assert!(statuses[0] == "fail" && statuses[1..].iter().all(|status| *status == "skipped"), "{report}");
}
