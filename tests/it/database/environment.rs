//! Variables and the password file. pgtopic reads them as libpq does.

use std::os::unix::fs::PermissionsExt as _;

use pgtopic_testkit::{Process, TestCluster, TestDatabase};
use rstest::rstest;

/// The parts of a URL over TCP.
fn parts(url: &str) -> (String, String) {
    let (credentials, rest) = url.strip_prefix("postgresql://").unwrap().split_once('@').unwrap();
    let password = credentials.split_once(':').unwrap().1.to_owned();
    let port = rest.split([':', '/']).nth(1).unwrap().to_owned();
    (password, port)
}

#[tokio::test]
async fn the_environment_and_the_password_file_are_enough() {
    let cluster = TestCluster::private_tcp().await;
    let (password, port) = parts(&cluster.postgres.tcp_url("postgres").unwrap());
    let home = tempfile::tempdir().unwrap();
    let passfile = home.path().join(".pgpass");
    std::fs::write(&passfile, format!("127.0.0.1:{port}:*:postgres:{password}\n")).unwrap();
    std::fs::set_permissions(&passfile, std::fs::Permissions::from_mode(0o600)).unwrap();
    let home = home.path().to_str().unwrap();
    let place =
        [("PGHOST", "127.0.0.1"), ("PGPORT", &port), ("PGUSER", "postgres"), ("PGDATABASE", "postgres")];

    let status = async |more: &[(&str, &str)]| {
        let environment = [&place[..], more].concat();
        Process::run(&["migrate", "status"], &environment).await
    };
    assert_eq!(status(&[("PGPASSWORD", &password)]).await.code(), 0);
    assert_eq!(status(&[("HOME", home)]).await.code(), 0);
    assert_eq!(status(&[("PGPASSFILE", passfile.to_str().unwrap())]).await.code(), 0);
    assert_eq!(status(&[("PGPASSWORD", "wrong"), ("HOME", home)]).await.code(), 3);

    let list = format!("host=127.0.0.1 port={port} user=postgres dbname='postgres' password={password}");
    assert_eq!(Process::run(&["migrate", "status"], &[("DATABASE_URL", &list)]).await.code(), 0);

    std::fs::set_permissions(&passfile, std::fs::Permissions::from_mode(0o644)).unwrap();
    let open = status(&[("HOME", home)]).await;
    assert_eq!(open.code(), 3, "{}", open.output);
    assert!(open.output.contains("chmod 600"), "{}", open.output);
}

/// Variables of `.env` count like those of the process, which win.
#[tokio::test]
async fn the_variables_of_libpq_may_stand_in_dot_env() {
    let cluster = TestCluster::private_tcp().await;
    let (password, port) = parts(&cluster.postgres.tcp_url("postgres").unwrap());
    let directory = tempfile::tempdir().unwrap();
    let text = format!(
        "PGHOST=127.0.0.1\nPGPORT=1\nPGPORT={port}\nPGUSER=postgres\nPGDATABASE=postgres\nPGPASSWORD={password}\n"
    );
    std::fs::write(directory.path().join(".env"), text).unwrap();

    let status = async |environment: &[(&str, &str)]| {
        let here = |command: &mut std::process::Command| {
            command.current_dir(directory.path());
        };
        Process::start_with(&["migrate", "status"], environment, here).wait().await
    };
    let ended = status(&[("PGPASSWORD", "")]).await;
    assert_eq!(ended.code(), 0, "{}", ended.output);
    let wrong = status(&[("PGPASSWORD", "wrong")]).await;
    assert_eq!(wrong.code(), 3, "{}", wrong.output);
    let elsewhere = status(&[("PGHOST", "127.0.0.1"), ("PGPORT", "1")]).await;
    assert_eq!(elsewhere.code(), 3, "{}", elsewhere.output);
    let with_url = status(&[("DATABASE_URL", "postgresql://127.0.0.1/postgres")]).await;
    assert_eq!(with_url.code(), 0, "the URL is filled up: {}", with_url.output);
}

#[tokio::test]
async fn a_server_that_does_not_fit_is_named_with_the_reason() {
    let database = TestDatabase::new().await;
    for (attrs, says) in [
        ("standby", Some("it is no standby")),
        ("read-only", Some("its sessions may write")),
        ("primary", None),
        ("read-write", None),
        ("prefer-standby", None),
        ("any", None),
    ] {
        let url = format!("{}?target_session_attrs={attrs}", database.url());
        let ended = Process::run(&["migrate", "status"], &[("DATABASE_URL", &url)]).await;
        assert_eq!(ended.code(), if says.is_some() { 3 } else { 0 }, "{attrs}: {}", ended.output);
        assert!(ended.output.contains(says.unwrap_or_default()), "{attrs}: {}", ended.output);
    }
}

#[tokio::test]
async fn a_silent_first_server_leaves_time_for_the_second() {
    let database = TestDatabase::new().await;
    // This server accepts connections and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let (_, place) = database.url().split_once('@').unwrap();
    let url = format!("postgresql://postgres@127.0.0.1:{port},{place}");
    let ended = Process::run(&["migrate", "status"], &[("DATABASE_URL", &url)]).await;
    assert_eq!(ended.code(), 0, "{}", ended.output);
}

#[rstest]
#[case::slash("postgresql://u:ab/SECRET@127.0.0.1/x")]
#[case::question_mark("postgresql://u:ab?SECRET@127.0.0.1/x")]
#[case::at("postgresql://u:ab@SECRET@127.0.0.1/x")]
#[case::percent("postgresql://u:%SECRET@127.0.0.1/x")]
#[case::port("postgresql://u:ab@127.0.0.1:SECRET/x")]
#[case::other_scheme("mysql://u:SECRET@127.0.0.1/x")]
#[case::quote("host=127.0.0.1 password='SECRET")]
#[case::space("host=127.0.0.1 password=ab SECRET")]
#[case::value("postgresql://u@127.0.0.1/x?sslmode=SECRET")]
#[tokio::test]
async fn no_part_of_a_password_is_shown(#[case] url: &str) {
    for variable in ["DATABASE_URL", "PGTOPIC_DATABASE__LISTEN_URL"] {
        let environment = [("DATABASE_URL", "postgresql://u@127.0.0.1:1/x"), (variable, url)];
        let ended = Process::run(&["worker"], &environment[usize::from(variable == "DATABASE_URL")..]).await;
        assert_eq!(ended.code(), 2, "{}", ended.output);
        assert!(!ended.output.contains("SECRET"), "{}", ended.output);
        let named = if variable == "DATABASE_URL" { "database.url" } else { "database.listen_url" };
        assert!(ended.output.contains(named), "{}", ended.output);
    }
}
