use ipnet::IpNet;
use rstest::rstest;
use secrecy::ExposeSecret;

use super::*;
use crate::config::LogFormat;

fn environment(pairs: &[(&str, &str)]) -> Sources {
    let variables = pairs.iter().map(|(name, value)| (name.into(), value.into()));
    Sources { environment: Environment::new(variables, None), ..Sources::default() }
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
    let retention = config.retention;
    assert_eq!((retention.messages_days, retention.attempts_days, retention.dead_letters_days), (30, 30, 0));
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
    assert_eq!(config.api.bind.to_string(), "127.0.0.1:3", "flags over the environment");
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

/// The file's value stays, whatever the kind of the setting.
#[test]
fn an_empty_variable_is_not_set() {
    let (_file, mut sources) = file(
        "[database]\nurl = 'postgresql://file'\n[worker]\nconcurrency = 7\n[delivery]\nmax_retries = 8\n\
         backoff_factor = 3.0\nallow_networks = ['10.0.0.0/8']\n[log]\nformat = 'json'",
    );
    sources.environment = environment(&[
        ("DATABASE_URL", ""),
        ("PGTOPIC_DATABASE__URL", ""),
        ("WORKER_CONCURRENCY", ""),
        ("PGTOPIC_WORKER__CONCURRENCY", ""),
        ("MAX_RETRIES", ""),
        ("PGTOPIC_DELIVERY__BACKOFF_FACTOR", ""),
        ("PGTOPIC_DELIVERY__ALLOW_NETWORKS", ""),
        ("PGTOPIC_DATABASE__MIGRATE", ""),
        ("PGTOPIC_LOG__FORMAT", ""),
        ("PGTOPIC_NO__SETTING", ""),
    ])
    .environment;
    let config = Config::load(&sources).unwrap();
    assert_eq!(config.database.url.unwrap().expose_secret(), "postgresql://file");
    assert_eq!((config.worker.concurrency, config.delivery.max_retries), (7, 8));
    assert_eq!(config.delivery.backoff_factor.to_string(), "3");
    assert_eq!(config.delivery.allow_networks.len(), 1);
    assert_eq!(config.log.format, LogFormat::Json);
}

#[test]
fn the_environment_wins_over_dot_env_and_dot_env_over_the_file() {
    let dot_env = tempfile::NamedTempFile::new().unwrap();
    let text = "PGTOPIC_DATABASE__URL=postgresql://dot\nWORKER_CONCURRENCY=2\nMAX_RETRIES=2\nPGTOPIC_LOG__FORMAT=json\n";
    std::fs::write(dot_env.path(), text).unwrap();
    let (_file, mut sources) = file("[worker]\nconcurrency = 1\n[delivery]\nmax_retries = 1");
    let process =
        [("DATABASE_URL", "postgresql://process"), ("MAX_RETRIES", "3"), ("PGTOPIC_LOG__FORMAT", "")];
    let process = process.map(|(name, value)| (name.into(), value.into()));
    sources.environment = Environment::new(process, Some(dot_env.path()));
    let config = Config::load(&sources).unwrap();
    assert_eq!(config.database.url.unwrap().expose_secret(), "postgresql://process", "by whatever name");
    assert_eq!((config.worker.concurrency, config.delivery.max_retries), (2, 3));
    assert_eq!(config.log.format, LogFormat::Json, "an empty variable hides nothing");

    std::fs::write(dot_env.path(), "PGTOPIC_WORKER__CONCURENCY=2\nMAX_RETRIES=0\n").unwrap();
    let sources = Sources { environment: Environment::new([], Some(dot_env.path())), ..Sources::default() };
    let error = Config::load(&sources).unwrap_err().to_string();
    assert!(
        error.contains("PGTOPIC_WORKER__CONCURENCY of .env: did you mean PGTOPIC_WORKER__CONCURRENCY?"),
        "{error}"
    );
    assert!(error.contains("not 0 (from the variable MAX_RETRIES of .env)"), "{error}");
}

#[test]
fn every_problem_is_told_at_once() {
    let (_file, mut sources) = file(
        "[worker]\nconcurrency = 'many'\nshutdown_seconds = -1\ncolour = 1\n\
         [delivery]\nbackoff_factor = 'x'\nallow_networks = ['10.0.0.0/8', 'a', '10.0.0.0/33']\n\
         [api]\nbind = 'localhost'\n[log]\nformat = 'xml'",
    );
    sources.environment =
        environment(&[("MAX_RETRIES", "0"), ("PGTOPIC_DATABASE__POOL_SIZE", "1")]).environment;
    sources.flags = vec![flag("--schema", "database.schema", &["x"])];
    let problems = Config::load(&sources).unwrap_err().problems;
    let keys = [
        "worker.concurrency: ",
        "worker.shutdown_seconds: ",
        "unknown setting worker.colour ",
        "delivery.backoff_factor: ",
        "not a, 10.0.0.0/33",
        "api.bind: must be address:port",
        "log.format: ",
        "delivery.max_retries must be 1 to 1000",
        "database.pool_size must be 2 to 1000",
    ];
    for key in keys {
        let lines = problems.iter().filter(|problem| problem.contains(key)).count();
        assert_eq!(lines, 1, "{key}: {problems:#?}");
    }
    assert_eq!(problems.len(), keys.len(), "{problems:#?}");
}

#[test]
fn a_file_that_cannot_be_parsed_hides_no_other_problem() {
    let (_file, mut sources) = file("[worker\n");
    sources.environment = environment(&[("MAX_RETRIES", "0"), ("WORKER_CONCURRENCY", "x")]).environment;
    assert_eq!(Config::load(&sources).unwrap_err().problems.len(), 3);
}

#[test]
fn what_stands_in_for_a_wrong_value_is_the_default() {
    let reading = Config::read(&environment(&[("WORKER_CONCURRENCY", "x"), ("MAX_RETRIES", "9")]));
    assert_eq!(reading.problems.len(), 1);
    assert_eq!((reading.config.worker.concurrency, reading.config.delivery.max_retries), (100, 9));
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
    assert!(load(&[("PGTOPIC_DELIVERY__ALLOW_NETWORKS", ",")]).unwrap().delivery.allow_networks.is_empty());
}

#[rstest]
#[case::variable(load(&[("PGTOPIC_WORKER__CONCURENCY", "1")]),
    &["worker.concurency in the environment variable PGTOPIC_WORKER__CONCURENCY: did you mean PGTOPIC_WORKER__CONCURRENCY?"])]
#[case::another_section(load(&[("PGTOPIC_WORKER__MAX_RETRIES", "1")]), &["did you mean PGTOPIC_DELIVERY__MAX_RETRIES?"])]
#[case::key(load_file("[worker]\nconcurency = 1"), &["unknown setting worker.concurency in /", "did you mean worker.concurrency?"])]
#[case::hyphens(load_file("[delivery]\nmax-retries = 1"), &["did you mean delivery.max_retries?"])]
#[case::section(load_file("[workers]\nconcurrency = 1"), &["workers.concurrency", "did you mean worker.concurrency?"])]
#[case::no_section(load_file("concurrency = 1"), &["unknown setting concurrency", "did you mean worker.concurrency?"])]
#[case::empty_section(load_file("[workers]"), &["unknown setting workers in "])]
#[case::not_a_section(load_file("worker = 1"), &["unknown setting worker in ", "it is a section, write [worker]"])]
#[case::nothing_alike(load_file("[sky]\ncolour = 'blue'"), &["unknown setting sky.colour in "])]
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
    // Services called pgtopic, pgtopic-api, pgtopic--api and pgtopic-worker--a.
    load(&[
        ("PGTOPIC_SERVICE_HOST", "10.0.0.1"),
        ("PGTOPIC_SERVICE_PORT_HTTP", "8000"),
        ("PGTOPIC_PORT", "tcp://10.0.0.1:8000"),
        ("PGTOPIC_PORT_8000_TCP_ADDR", "10.0.0.1"),
        ("PGTOPIC_API_SERVICE_PORT", "8000"),
        ("PGTOPIC_API_PORT_8000_TCP", "tcp://10.0.0.1:8000"),
        ("PGTOPIC__API_SERVICE_HOST", "10.0.0.1"),
        ("PGTOPIC_WORKER__A_PORT_8000_TCP_PROTO", "tcp"),
    ])
    .unwrap();
}

#[test]
fn one_underscore_is_no_setting_but_is_told() {
    let reading =
        Config::read(&environment(&[("PGTOPIC_WORKER_CONCURRENCY", "5"), ("PGTOPIC_VERSION", "5")]));
    assert_eq!(reading.problems, [""; 0]);
    assert_eq!(reading.config.worker.concurrency, 100);
    let told =
        "the variable PGTOPIC_WORKER_CONCURRENCY is no setting: did you mean PGTOPIC_WORKER__CONCURRENCY?";
    assert_eq!(reading.warnings, [told]);
}

#[rstest]
#[case("PGTOPIC_WORKER__CONCURRENCY", "many", "worker.concurrency")]
#[case("MAX_RETRIES", "1.5", "delivery.max_retries")]
#[case("MAX_RETRIES", "-1", "delivery.max_retries")]
#[case("PGTOPIC_API__BIND", "localhost", "api.bind")]
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
#[case("PGTOPIC_API__MAX_BODIES_BYTES", &["1023", "1099511627777"], &["1024", "1099511627776"], "1024 to 1099511627776")]
#[case("PGTOPIC_WORKER__CONCURRENCY", &["0", "10001"], &["1", "10000"], "1 to 10000")]
#[case("PGTOPIC_WORKER__SHUTDOWN_SECONDS", &["3601"], &["0", "3600"], "0 to 3600")]
#[case("PGTOPIC_DELIVERY__MAX_RETRIES", &["0", "1001"], &["1", "1000"], "1 to 1000")]
#[case("PGTOPIC_DELIVERY__BACKOFF_FACTOR", &["0.9", "100.1", "NaN", "inf"], &["1", "100"], "1 to 100")]
#[case("PGTOPIC_DELIVERY__MAX_BACKOFF_SECONDS", &["0", "2592001"], &["1", "2592000"], "1 to 2592000")]
#[case("PGTOPIC_DELIVERY__TIMEOUT_SECONDS", &["0", "601"], &["1", "600"], "1 to 600")]
#[case("PGTOPIC_RETENTION__MESSAGES_DAYS", &["36601"], &["0", "36600"], "0 to 36600")]
#[case("PGTOPIC_RETENTION__ATTEMPTS_DAYS", &["36601"], &["0", "36600"], "0 to 36600")]
#[case("PGTOPIC_RETENTION__DEAD_LETTERS_DAYS", &["36601"], &["0", "36600"], "0 to 36600")]
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
