//! Connection strings in their surroundings.

use secrecy::ExposeSecret as _;

use super::{
    tls::{Check, SslMode},
    *,
};

fn around(variables: &[(&str, &str)]) -> Surroundings {
    Surroundings {
        variables: variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        home: None,
        user: Some("me".to_owned()),
    }
}

fn resolve(text: &str, variables: &[(&str, &str)]) -> Result<Conninfo, ConninfoError> {
    Conninfo::resolve(text, &around(variables), None)
}

fn tcp(name: &str, port: u16) -> Server {
    Server { place: Place::Tcp { name: name.to_owned(), address: name.parse().ok() }, port }
}

#[test]
fn what_stands_in_the_text_wins_over_the_environment() {
    let variables = [
        ("PGHOST", "elsewhere"),
        ("PGPORT", "6000"),
        ("PGUSER", "other"),
        ("PGPASSWORD", "p"),
        ("PGDATABASE", "d"),
        ("PGSSLMODE", "disable"),
        ("PGAPPNAME", "name"),
        ("PGTARGETSESSIONATTRS", "primary"),
    ];
    let found = resolve("postgresql://app@db/orders?sslmode=require", &variables).unwrap();
    assert_eq!(found.servers, [tcp("db", 6000)]);
    assert_eq!((found.user.as_str(), found.dbname.as_str()), ("app", "orders"));
    assert_eq!(found.password.unwrap().expose_secret(), "p");
    assert_eq!((found.tls.mode, found.target), (SslMode::Require, TargetSession::Primary));
    assert_eq!(found.application_name, "name");

    let found = resolve("", &variables).unwrap();
    assert_eq!(found.servers, [tcp("elsewhere", 6000)]);
    assert_eq!(
        (found.user.as_str(), found.dbname.as_str(), found.tls.mode),
        ("other", "d", SslMode::Disable)
    );
}

#[test]
fn what_is_not_said_is_as_libpq_has_it() {
    let found = resolve("postgresql://db", &[]).unwrap();
    assert_eq!(found.servers, [tcp("db", 5432)]);
    assert_eq!((found.user.as_str(), found.dbname.as_str()), ("me", "me"));
    assert_eq!((found.tls.mode, found.tls.check), (SslMode::Prefer, Check::Nothing));
    assert_eq!((found.target, found.channel_binding), (TargetSession::Any, ChannelBinding::Prefer));
    assert_eq!(found.connect_timeout, CONNECT_TIMEOUT);
    assert!(found.password.is_none() && !found.shuffle);
}

#[test]
fn hosts_ports_and_addresses_go_together() {
    let servers = |text: &str| resolve(text, &[]).map(|found| found.servers);
    assert_eq!(servers("postgresql://a,b:6000/x").unwrap(), [tcp("a", 5432), tcp("b", 6000)]);
    assert_eq!(servers("host=a,b port=6000").unwrap(), [tcp("a", 6000), tcp("b", 6000)]);
    assert_eq!(servers("postgresql://[::1]:7000/x").unwrap(), [tcp("::1", 7000)]);
    let socket = Server { place: Place::Socket("/run/pg".into()), port: 5432 };
    assert_eq!(servers("postgresql://%2Frun%2Fpg/x").unwrap(), std::slice::from_ref(&socket));
    assert_eq!(servers("host=/run/pg dbname=x").unwrap(), [socket]);
    let addressed = Place::Tcp { name: "db".to_owned(), address: Some("10.0.0.1".parse().unwrap()) };
    assert_eq!(servers("host=db hostaddr=10.0.0.1").unwrap(), [Server { place: addressed, port: 5432 }]);
    assert_eq!(servers("hostaddr=10.0.0.1 dbname=x").unwrap(), [tcp("10.0.0.1", 5432)]);
    for text in
        ["host=a,b port=1,2,3", "host=a,b hostaddr=10.0.0.1", "host=a port=0", "host=a port=x", "hostaddr=a"]
    {
        assert!(servers(text).is_err(), "{text}");
    }
}

#[test]
fn values_that_cannot_be_used_are_named_with_where_they_stand() {
    for (text, variables, says) in [
        ("host=a sslmode=SECRET", &[][..], "sslmode: must be disable"),
        ("host=a", &[("PGSSLMODE", "SECRET")], "sslmode (from PGSSLMODE): must be"),
        ("host=a port=SECRET", &[], "port: must be a number"),
        ("host=a connect_timeout=SECRET", &[], "connect_timeout: must be a whole number"),
        ("host=a target_session_attrs=SECRET", &[], "prefer-standby"),
        ("host=a channel_binding=SECRET", &[], "channel_binding: must be"),
        ("host=a client_encoding=SECRET", &[], "client_encoding is not supported: pgtopic speaks UTF8"),
        ("host=a gssencmode=require", &[], "gssencmode=disable"),
        ("host=a service=SECRET", &[], "service files are not read"),
        ("dbname=a", &[("PGSERVICE", "SECRET")], "service (from PGSERVICE) is not supported"),
        ("host=a sslpassword=SECRET", &[], "openssl pkey"),
        ("host=a sslcrl=SECRET", &[], "revocation"),
        ("host=a require_auth=SECRET", &[], "channel_binding=require"),
        ("host=a sslcert=SECRET", &[], "sslcert needs sslkey"),
        ("host=a sslnegotiation=direct", &[], "needs sslmode=require"),
        ("host=a ssl_max_protocol_version=TLSv1.1", &[], "TLSv1.2"),
    ] {
        let said = resolve(text, variables).expect_err(text).to_string();
        assert!(said.contains(says) && !said.contains("SECRET"), "{text}: {said}");
    }
}

#[test]
fn what_means_what_is_done_anyway_is_taken() {
    let text =
        "host=a client_encoding=UTF8 gssencmode=disable sslcompression=0 krbsrvname=postgres replication=off";
    resolve(text, &[("PGGSSENCMODE", "prefer"), ("PGCLIENTENCODING", "auto")]).unwrap();
    // The text says where the database is.
    resolve("host=a", &[("PGSERVICE", "x")]).unwrap();
    // There is no TLS on a socket.
    let found = resolve("host=/run/pg sslmode=verify-ca", &[("PGSSLROOTCERT", "/nowhere")]).unwrap();
    assert_eq!(found.tls, Tls::NONE);
}

#[test]
fn a_password_file_is_asked_by_the_host_as_it_was_given() {
    let asked = |text: &str| {
        let found = resolve(text, &[]).unwrap();
        found.entry(&found.servers[0]).host.to_owned()
    };
    assert_eq!(asked("host=db hostaddr=10.0.0.1"), "db");
    assert_eq!(asked("hostaddr=10.0.0.1 dbname=x"), "10.0.0.1");
    assert_eq!(asked("host=/var/run/postgresql"), "localhost");
    assert_eq!(asked("host=/run/other"), "/run/other");
}

#[test]
fn files_in_the_home_directory_are_used_if_they_are_there() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join(".postgresql");
    std::fs::create_dir(&directory).unwrap();
    let surroundings = Surroundings { home: Some(home.path().to_owned()), ..around(&[]) };
    let tls = || Conninfo::resolve("host=db sslmode=require", &surroundings, None).unwrap().tls;
    assert_eq!((tls().check, tls().client), (Check::Nothing, None));
    for name in ["root.crt", "postgresql.crt", "postgresql.key"] {
        std::fs::write(directory.join(name), "").unwrap();
    }
    assert_eq!(tls().check, Check::Signer(tls::Roots::File(directory.join("root.crt"))));
    assert_eq!(tls().client, Some((directory.join("postgresql.crt"), directory.join("postgresql.key"))));
    let found = Conninfo::resolve("host=db sslcertmode=disable", &surroundings, None).unwrap();
    assert_eq!(found.tls.client, None);
    assert_eq!(found.passfile, Some(home.path().join(".pgpass")));
}

#[test]
fn the_environment_alone_may_name_the_database() {
    assert!(around(&[("PGHOST", "db")]).names_a_database());
    assert!(!around(&[("PGPORT", "5432"), ("PGHOST", "")]).names_a_database());
}
