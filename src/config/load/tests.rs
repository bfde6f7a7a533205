use ipnet::IpNet;
use rstest::rstest;
use secrecy::ExposeSecret;

use super::*;
use crate::config::LogFormat;

fn environment(pairs: &[(&str, &str)]) -> Sources {
    let environment = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Sources { environment, ..Sources::default() }
}

fn load(pairs: &[(&str, &str)]) -> Result<Config, String> {
    Config::load(&environment(pairs)).map_err(|error| error.to_string())
}

fn file(text: &str) -> (tempfile::NamedTempFile, Sources) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let sources = Sources { file: Some(file.path().to_owned()), ..Sources::default() };
    (file, sources)
}

fn load_file(text: &str) -> Result<Config, String> {
    let (_file, sources) = file(text);
    Config::load(&sources).map_err(|error| error.to_string())
}

fn flag(name: &'static str, key: &'static str, values: &[&str]) -> Flag {
    Flag { name, key, values: values.iter().map(|value| (*value).to_owned()).collect() }
}

#[test]
fn the_compiled_in_defaults_are_those_of_the_documentation() {
    let config = Config::default();
    assert!(config.database.url.is_none() && config.database.listen_url.is_none());
    assert_eq!(config.database.schema, "pgtopic");
    assert_eq!(config.api.bind.to_string(), "127.0.0.1:8000");
    assert!(config.api.tokens.is_empty() && config.delivery.allow_networks.is_empty());
    assert_eq!(config.worker.concurrency, 100);
    assert_eq!(config.delivery.max_retries, 5);
    assert_eq!(config.delivery.backoff_factor.to_string(), "2");
    assert_eq!(config.delivery.max_backoff_seconds, 3600);
    assert_eq!(config.delivery.timeout_seconds, 10);
    assert_eq!(config.log.format, LogFormat::Text);
}

#[test]
fn later_sources_win() {
    let (_file, mut sources) =
        file("[worker]\nconcurrency = 1\nshutdown_seconds = 1\n[api]\nbind = '127.0.0.1:1'");
    sources.environment =
        environment(&[("PGTOPIC_WORKER__CONCURRENCY", "2"), ("PGTOPIC_API__BIND", "127.0.0.1:2")])
            .environment;
    sources.flags = vec![flag("--bind", "api.bind", &["127.0.0.1:3"])];
    let config = Config::load(&sources).unwrap();
    assert_eq!(config.worker.shutdown_seconds, 1, "the file over the defaults");
    assert_eq!(config.worker.concurrency, 2, "the environment over the file");
    assert_eq!(config.api.bind.port(), 3, "flags over the environment");
    assert_eq!(config.database.pool_size, 16, "what nobody sets keeps its default");
}

#[test]
fn aliases_stand_between_the_file_and_the_prefixed_names() {
    let (_file, mut sources) =
        file("[delivery]\nmax_retries = 3\nbackoff_factor = 3.0\n[worker]\nconcurrency = 3");
    sources.environment = environment(&[
        ("DATABASE_URL", "postgresql://alias"),
        ("WORKER_CONCURRENCY", "7"),
        ("MAX_RETRIES", "8"),
        ("BACKOFF_FACTOR", "1.5"),
        ("PGTOPIC_DELIVERY__MAX_RETRIES", "9"),
    ])
    .environment;
    let config = Config::load(&sources).unwrap();
    assert_eq!(config.database.url.unwrap().expose_secret(), "postgresql://alias");
    assert_eq!(config.worker.concurrency, 7);
    assert_eq!(config.delivery.backoff_factor.to_string(), "1.5");
    assert_eq!(config.delivery.max_retries, 9);
}

#[test]
fn an_empty_variable_is_not_set() {
    let config =
        load(&[("DATABASE_URL", ""), ("PGTOPIC_DATABASE__LISTEN_URL", ""), ("MAX_RETRIES", "")]).unwrap();
    assert!(config.database.url.is_none() && config.database.listen_url.is_none());
    assert_eq!(config.delivery.max_retries, 5);
}

#[rstest]
#[case::nothing_said("", "auto", false)]
#[case::a_direct_connection_beside_it("postgresql://direct", "auto", true)]
#[case::a_direct_connection_without_a_pooler("postgresql://direct", "none", false)]
#[case::a_pooler("postgresql://direct", "transaction", true)]
fn a_second_connection_means_that_the_first_goes_through_a_pooler(
    #[case] listen_url: &str,
    #[case] pooler: &str,
    #[case] is_pooled: bool,
) {
    let pairs = [("PGTOPIC_DATABASE__LISTEN_URL", listen_url), ("PGTOPIC_DATABASE__POOLER", pooler)];
    assert_eq!(load(&pairs).unwrap().database.is_pooled(), is_pooled);
}

#[test]
fn a_transaction_pooler_needs_a_direct_connection_beside_it() {
    let error = load(&[("PGTOPIC_DATABASE__POOLER", "transaction")]).unwrap_err();
    assert!(error.contains("database.listen_url") && error.contains("PGTOPIC_DATABASE__POOLER"), "{error}");
    let error = load(&[("PGTOPIC_DATABASE__POOLER", "session")]).unwrap_err();
    assert!(error.contains("auto, none or transaction"), "{error}");
}

#[test]
fn text_from_the_environment_stays_text() {
    let config =
        load(&[("PGTOPIC_DATABASE__SCHEMA", "007"), ("PGTOPIC_API__TOKENS", "admin:1,read:true")]).unwrap();
    assert_eq!(config.database.schema, "007");
    let tokens: Vec<_> = config.api.tokens.iter().map(ExposeSecret::expose_secret).collect();
    assert_eq!(tokens, ["admin:1", "read:true"]);
}

#[test]
fn lists_are_comma_separated_in_the_environment_and_repeated_as_flags() {
    let expected: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
    let config = load(&[("PGTOPIC_DELIVERY__ALLOW_NETWORKS", "10.0.0.0/8, ::1/128")]).unwrap();
    assert_eq!(config.delivery.allow_networks, expected);

    let flags = vec![flag("--allow-network", "delivery.allow_networks", &["10.0.0.0/8", "::1/128"])];
    let config = Config::load(&Sources { flags, ..Sources::default() }).unwrap();
    assert_eq!(config.delivery.allow_networks, expected);

    let config = load_file("[delivery]\nallow_networks = ['10.0.0.0/8', '::1/128']").unwrap();
    assert_eq!(config.delivery.allow_networks, expected);
    assert!(load(&[("PGTOPIC_DELIVERY__ALLOW_NETWORKS", "")]).unwrap().delivery.allow_networks.is_empty());
}

#[rstest]
#[case::variable(load(&[("PGTOPIC_WORKER__CONCURENCY", "1")]), &["worker.concurency", "PGTOPIC_WORKER__CONCURENCY"])]
#[case::one_underscore(load(&[("PGTOPIC_WORKER_CONCURRENCY", "1")]), &["worker_concurrency"])]
#[case::key(load_file("[worker]\nconcurency = 1"), &["unknown setting worker.concurency in /"])]
#[case::section(load_file("[workers]\nconcurrency = 1"), &["workers.concurrency"])]
#[case::empty_section(load_file("[workers]"), &["unknown setting workers in "])]
#[case::not_a_section(load_file("worker = 1"), &["unknown setting worker in "])]
fn unknown_settings_are_errors_that_name_key_and_source(
    #[case] loaded: Result<Config, String>,
    #[case] needles: &[&str],
) {
    let error = loaded.unwrap_err();
    assert!(needles.iter().all(|needle| error.contains(needle)), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
}

#[test]
fn an_empty_section_and_the_links_of_kubernetes_are_fine() {
    load_file("[worker]\n").unwrap();
    load(&[
        ("PGTOPIC_SERVICE_HOST", "10.0.0.1"),
        ("PGTOPIC_SERVICE_PORT_HTTP", "8000"),
        ("PGTOPIC_PORT", "tcp://10.0.0.1:8000"),
        ("PGTOPIC_PORT_8000_TCP_ADDR", "10.0.0.1"),
    ])
    .unwrap();
}

#[rstest]
#[case("PGTOPIC_WORKER__CONCURRENCY", "many", "worker.concurrency")]
#[case("MAX_RETRIES", "1.5", "delivery.max_retries")]
#[case("MAX_RETRIES", "-1", "delivery.max_retries")]
#[case("PGTOPIC_API__BIND", "localhost:8000", "api.bind")]
#[case("PGTOPIC_LOG__FORMAT", "xml", "log.format")]
#[case("PGTOPIC_DELIVERY__ALLOW_NETWORKS", "10.0.0.0/33", "delivery.allow_networks")]
fn a_value_of_the_wrong_kind_is_an_error_that_names_key_and_source(
    #[case] name: &str,
    #[case] value: &str,
    #[case] key: &str,
) {
    let error = load(&[(name, value)]).unwrap_err();
    assert!(error.contains(key) && error.contains(name), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
}

#[rstest]
#[case("PGTOPIC_DATABASE__POOL_SIZE", &["1", "1001"], &["2", "1000"], "2 to 1000")]
#[case("PGTOPIC_API__MAX_BODY_BYTES", &["1023", "1073741825"], &["1024", "1073741824"], "1024 to 1073741824")]
#[case("PGTOPIC_WORKER__CONCURRENCY", &["0", "10001"], &["1", "10000"], "1 to 10000")]
#[case("PGTOPIC_WORKER__SHUTDOWN_SECONDS", &["3601"], &["0", "3600"], "0 to 3600")]
#[case("PGTOPIC_DELIVERY__MAX_RETRIES", &["0", "1001"], &["1", "1000"], "1 to 1000")]
#[case("PGTOPIC_DELIVERY__BACKOFF_FACTOR", &["0.9", "100.1", "NaN", "inf"], &["1", "100"], "1 to 100")]
#[case("PGTOPIC_DELIVERY__MAX_BACKOFF_SECONDS", &["0", "2592001"], &["1", "2592000"], "1 to 2592000")]
#[case("PGTOPIC_DELIVERY__TIMEOUT_SECONDS", &["0", "601"], &["1", "600"], "1 to 600")]
fn ranges_are_checked(
    #[case] name: &str,
    #[case] refused: &[&str],
    #[case] accepted: &[&str],
    #[case] rule: &str,
) {
    for value in refused {
        let error = load(&[(name, value)]).unwrap_err();
        assert!(error.contains(rule) && error.contains(value) && error.contains(name), "{error}");
    }
    for value in accepted {
        load(&[(name, value)]).unwrap();
    }
}

#[test]
fn secrets_appear_neither_in_debug_nor_in_errors() {
    let config =
        load(&[("DATABASE_URL", "postgresql://a:hunter2@b"), ("PGTOPIC_API__TOKENS", "admin:hunter2")]);
    assert!(!format!("{:?}", config.unwrap()).contains("hunter2"));
    for text in [
        "[database]\nurl = 'postgresql://a:hunter2@b",
        "[database]\nurl = postgresql://a:hunter2@b",
        "[database]\nurl = ['hunter2']",
        "[database]\nurl = { hunter = 'hunter2' }",
        "[database]\nurl = 'x'\nurl = 'hunter2'",
        "[api]\ntokens = [['hunter2']]",
        "[api]\ntokens = { token = 'hunter2' }",
    ] {
        let error = load_file(text).unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let sources = Sources { file: Some("no/such/file.toml".into()), ..Sources::default() };
    let error = Config::load(&sources).unwrap_err().to_string();
    assert!(error.contains("no/such/file.toml"), "{error}");
}
