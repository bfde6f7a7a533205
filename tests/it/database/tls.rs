//! TLS with a real server, for each `sslmode`. The certificates are in `certificates/`: `self`
//! signs itself, `ca` has signed `server`, `expired` and `client`. All are for the name localhost.

use std::{
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use pgtopic::{
    config::DatabaseConfig,
    embedded::ShutdownMode,
    store::{StoreSettings, connect},
};
use pgtopic_testkit::TestCluster;

/// A server with TLS.
struct Server {
    cluster: TestCluster,
    /// `postgres:password@`, and the port.
    credentials: String,
    port: String,
    /// Where the client's files are.
    files: tempfile::TempDir,
}

fn certificate(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/database/certificates").join(name)
}

impl Server {
    /// Starts a server with this certificate. `hba` are lines that come first in `pg_hba.conf`.
    async fn start(name: &str, hba: &str) -> Self {
        let mut cluster = TestCluster::private_tcp().await;
        cluster.postgres.stop(ShutdownMode::Fast).await.unwrap();
        let data = cluster.postgres.data_dir().join("data");
        let key = if name == "expired" { "server" } else { name };
        put(&data, "server.crt", &std::fs::read_to_string(certificate(&format!("{name}.crt"))).unwrap());
        put(&data, "server.key", &std::fs::read_to_string(certificate(&format!("{key}.key"))).unwrap());
        put(&data, "ca.crt", &std::fs::read_to_string(certificate("ca.crt")).unwrap());
        put(&data, "postgresql.auto.conf", "ssl = on\nssl_ca_file = 'ca.crt'\n");
        let old = std::fs::read_to_string(data.join("pg_hba.conf")).unwrap();
        put(&data, "pg_hba.conf", &format!("{hba}\n{old}"));
        cluster.postgres.start_again().await.unwrap();
        let url = cluster.postgres.tcp_url("postgres").unwrap();
        let (credentials, address) = url.strip_prefix("postgresql://").unwrap().split_once('@').unwrap();
        let port = address.split([':', '/']).nth(1).unwrap().to_owned();
        let credentials = credentials.to_owned();
        let files = tempfile::tempdir().unwrap();
        for file in ["ca.crt", "self.crt", "client.crt", "client.key"] {
            let copy = files.path().join(file);
            std::fs::copy(certificate(file), &copy).unwrap();
            std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        Self { cluster, credentials, port, files }
    }

    fn settings(&self, host: &str, parameters: &str) -> StoreSettings {
        let files = self.files.path().display();
        let parameters = parameters.replace("FILES", &files.to_string());
        let url = format!("postgresql://{}@{host}:{}/postgres?{parameters}", self.credentials, self.port);
        let config = DatabaseConfig { url: Some(url.into()), ..self.cluster.config() };
        (&config).into()
    }

    /// Connects. Returns whether the connection uses TLS, or the error as text.
    async fn reach(&self, settings: &StoreSettings) -> Result<bool, String> {
        let (client, connection) = connect(settings).await.map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        Ok(client.query_one(sql, &[]).await.unwrap().get(0))
    }

    /// Checks cases. A case is a host, parameters, and `tls`, `plain` or words of the error.
    async fn check(&self, cases: &[(&str, &str, &str)]) {
        for (host, parameters, expected) in cases {
            let found = match self.reach(&self.settings(host, parameters)).await {
                Ok(true) => "tls".to_owned(),
                Ok(false) => "plain".to_owned(),
                Err(error) => error,
            };
            assert!(found.contains(expected), "{host} {parameters}: {found:?} instead of {expected:?}");
        }
    }
}

/// Writes a file of the server. Only the server may read it.
fn put(data: &Path, name: &str, text: &str) {
    let owner = std::fs::metadata(data.join("PG_VERSION")).unwrap();
    let path = data.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
}

#[tokio::test]
async fn a_self_signed_server_is_reached_as_psql_reaches_it() {
    let server = Server::start("self", "").await;
    server
        .check(&[
            ("127.0.0.1", "", "tls"),
            ("127.0.0.1", "sslmode=disable", "plain"),
            ("127.0.0.1", "sslmode=allow", "plain"),
            ("127.0.0.1", "sslmode=prefer", "tls"),
            ("127.0.0.1", "sslmode=require", "tls"),
            ("127.0.0.1", "sslmode=require&ssl_min_protocol_version=TLSv1.3", "tls"),
            ("127.0.0.1", "sslmode=require&sslsni=0", "tls"),
            ("localhost", "sslmode=verify-ca", "needs sslrootcert"),
            ("localhost", "sslmode=verify-full", "sslrootcert"),
            ("localhost", "sslrootcert=system", "sslrootcert"),
            ("localhost", "sslmode=require&sslrootcert=system", "needs sslmode=verify-full"),
            // The certificate is the one that is trusted.
            ("localhost", "sslmode=verify-full&sslrootcert=FILES/self.crt", "tls"),
            ("127.0.0.1", "sslmode=verify-full&sslrootcert=FILES/self.crt", "another host"),
            ("127.0.0.1", "sslmode=verify-ca&sslrootcert=FILES/self.crt", "tls"),
            // A root that is given is asked. Only `prefer` goes on without TLS.
            ("localhost", "sslmode=require&sslrootcert=FILES/ca.crt", "sslrootcert"),
            ("localhost", "sslrootcert=FILES/ca.crt", "plain"),
            ("localhost", "sslmode=require&sslrootcert=FILES/missing.crt", "missing.crt"),
            // The exchange of the password is bound to the certificate.
            ("127.0.0.1", "sslmode=require&channel_binding=require", "tls"),
            ("127.0.0.1", "sslmode=disable&channel_binding=require", "channel binding"),
        ])
        .await;
}

#[tokio::test]
async fn a_file_of_authorities_in_the_settings_makes_certificates_checked() {
    let server = Server::start("server", "").await;
    let trusting = |host, parameters| StoreSettings {
        ca_file: Some(server.files.path().join("ca.crt")),
        ..server.settings(host, parameters)
    };
    assert_eq!(server.reach(&trusting("localhost", "")).await, Ok(true));
    let error = server.reach(&trusting("127.0.0.1", "")).await.unwrap_err();
    assert!(error.contains("another host"), "{error}");
    assert_eq!(server.reach(&trusting("127.0.0.1", "sslmode=require")).await, Ok(true));

    let empty = StoreSettings { ca_file: Some("/dev/null".into()), ..server.settings("localhost", "") };
    let error = server.reach(&empty).await.unwrap_err();
    assert!(error.contains("database.ca_file /dev/null: holds no certificate"), "{error}");
}

#[tokio::test]
async fn a_certificate_that_a_ca_has_signed_is_checked() {
    let server =
        Server::start("server", "hostssl all all 127.0.0.1/32 cert\nhostssl all all ::1/128 cert").await;
    let client = "sslcert=FILES/client.crt&sslkey=FILES/client.key";
    server
        .check(&[
            ("localhost", &format!("sslmode=verify-full&sslrootcert=FILES/ca.crt&{client}"), "tls"),
            ("localhost", "sslmode=require", "certificate"),
            ("localhost", &format!("sslmode=require&{client}&sslcertmode=disable"), "certificate"),
            ("localhost", "sslmode=require&sslcert=FILES/client.crt", "sslcert needs sslkey"),
            ("localhost", &format!("sslmode=verify-ca&sslrootcert=FILES/self.crt&{client}"), "sslrootcert"),
        ])
        .await;
}

#[tokio::test]
async fn an_expired_certificate_is_refused_where_it_is_checked() {
    let server = Server::start("expired", "").await;
    server
        .check(&[
            ("localhost", "sslmode=verify-ca&sslrootcert=FILES/ca.crt", "has expired"),
            ("localhost", "sslmode=require", "tls"),
        ])
        .await;
}

#[tokio::test]
async fn allow_and_prefer_try_the_other_way_where_the_server_refuses_one() {
    let server = Server::start("self", "hostnossl all all all reject").await;
    server
        .check(&[
            ("127.0.0.1", "sslmode=disable", "no encryption"),
            ("127.0.0.1", "sslmode=allow", "tls"),
            ("127.0.0.1", "", "tls"),
        ])
        .await;
    drop(server);
    let server = Server::start("self", "hostssl all all all reject").await;
    server
        .check(&[
            ("127.0.0.1", "sslmode=require", "SSL encryption"),
            ("127.0.0.1", "sslmode=allow", "plain"),
            ("127.0.0.1", "", "plain"),
        ])
        .await;
}

#[tokio::test]
async fn a_server_without_tls_is_reached_unless_tls_is_demanded() {
    let cluster = TestCluster::private_tcp().await;
    let url = cluster.postgres.tcp_url("postgres").unwrap();
    let reach = async |parameters: &str| {
        let config = DatabaseConfig { url: Some(format!("{url}?{parameters}").into()), ..cluster.config() };
        connect(&(&config).into()).await.map(|_| ()).map_err(|error| error.to_string())
    };
    for parameters in ["", "sslmode=allow", "sslmode=prefer", "sslmode=disable"] {
        reach(parameters).await.unwrap();
    }
    let error = reach("sslmode=require").await.unwrap_err();
    assert!(error.contains("does not support TLS"), "{error}");
}
