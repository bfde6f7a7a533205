//! The filter of the log, from `log.level` or `RUST_LOG`.

use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use crate::{config::LogConfig, domain::spelling};

/// Libraries whose lines at `info` do not help an operator. `log.level` may name them to show more.
const QUIET: &str = "refinery_core=warn,tokio_postgres=warn,rustls_platform_verifier=off";

/// The words for levels.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Why no log can be written.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `log.level`, or `RUST_LOG` in its place, is not a filter.
    #[error("{source_name}: {reason}")]
    Filter {
        /// `log.level` or `RUST_LOG`.
        source_name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

pub(super) fn filter(config: &LogConfig, rust_log: Option<&str>) -> Result<EnvFilter, TelemetryError> {
    let (source_name, text) = match rust_log.filter(|text| !text.is_empty()) {
        Some(text) => ("RUST_LOG", text),
        None => ("log.level", config.level.as_str()),
    };
    let refuse = |reason| TelemetryError::Filter { source_name, reason };
    let tidy = tidy(text).map_err(refuse)?;
    let text = if source_name == "RUST_LOG" { tidy } else { format!("{QUIET},{tidy}") };
    EnvFilter::builder()
        .with_default_directive(LevelFilter::WARN.into())
        .parse(&text)
        .map_err(|error| refuse(error.to_string()))
}

/// Checks every directive, and removes the spaces around it. The library takes a word that it does
/// not know for the name of a module, and shows nothing but that module.
fn tidy(text: &str) -> Result<String, String> {
    let directives: Vec<&str> = text.split(',').map(str::trim).filter(|one| !one.is_empty()).collect();
    let wrong: Vec<String> = directives.iter().filter_map(|directive| fault(directive)).collect();
    if directives.is_empty() {
        return Err(format!("must not be empty; the levels are {}", LEVELS.join(", ")));
    }
    if wrong.is_empty() { Ok(directives.join(",")) } else { Err(wrong.join("; ")) }
}

/// What is wrong with a directive, which is `level`, `target`, `target=level` or
/// `target[span]=level`.
fn fault(directive: &str) -> Option<String> {
    let outside = directive.rfind(']').map_or(0, |at| at + 1);
    let level = match directive[outside..].rsplit_once('=') {
        Some((_, level)) => level,
        // A span without a level.
        None if outside > 0 => return None,
        // A module of ours, or of another crate. No level looks like that.
        None if directive == "pgtopic" || directive.contains("::") => return None,
        None => directive,
    };
    if !level.is_empty() && level.parse::<LevelFilter>().is_ok() {
        return None;
    }
    let advice = match spelling::nearest(level, LEVELS) {
        Some(known) => format!("did you mean {known}?"),
        None => format!("the levels are {}", LEVELS.join(", ")),
    };
    let target = if level == directive { "; a target is written target=level" } else { "" };
    Some(format!("{level:?} is no level: {advice}{target}"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::config::LogFormat;

    fn level(level: &str) -> LogConfig {
        LogConfig { format: LogFormat::Text, level: level.to_owned() }
    }

    #[test]
    fn rust_log_wins() {
        for unset in [None, Some("")] {
            let filter = filter(&level("info"), unset).unwrap().to_string();
            assert!(filter.contains("refinery_core=warn") && filter.ends_with(",info"), "{filter}");
        }
        assert_eq!(filter(&level("info"), Some("debug")).unwrap().to_string(), "debug");
    }

    #[test]
    fn the_setting_may_unmute_a_library() {
        let filter = filter(&level("info,tokio_postgres=debug"), None).unwrap().to_string();
        assert!(
            filter.contains("tokio_postgres=debug") && !filter.contains("tokio_postgres=warn"),
            "{filter}"
        );
    }

    #[rstest]
    #[case("info")]
    #[case("WARN")]
    #[case("off")]
    #[case("3")]
    #[case("pgtopic")]
    #[case("hyper::client")]
    #[case("info,pgtopic::worker=debug")]
    #[case("warn,[attempt{webhook=1}]=debug")]
    #[case("pgtopic[attempt]")]
    fn filters(#[case] text: &str) {
        filter(&level(text), None).unwrap();
    }

    #[test]
    fn spaces_do_not_change_the_meaning() {
        assert_eq!(tidy(" info , pgtopic=debug ,").unwrap(), "info,pgtopic=debug");
    }

    #[rstest]
    #[case("debugg", "did you mean debug?")]
    #[case("pgtopic=debugg", "did you mean debug?")]
    #[case("Inof", "did you mean info?")]
    #[case("info,pgtopic::worker=loud", "the levels are off, error, warn, info, debug, trace")]
    #[case("verbose", "the levels are off")]
    #[case("hyper", "a target is written target=level")]
    #[case("pgtopic=", "\"\" is no level")]
    #[case("[attempt]=high", "\"high\" is no level")]
    #[case("", "must not be empty")]
    #[case(" , ", "must not be empty")]
    #[case("inf,pgtopic=debugg", "\"debugg\" is no level")]
    fn what_is_no_filter_names_where_it_came_from(#[case] text: &str, #[case] reason: &str) {
        let error = filter(&level(text), None).unwrap_err().to_string();
        assert!(error.starts_with("log.level: ") && error.contains(reason), "{error}");
        if !text.is_empty() {
            let error = filter(&level("info"), Some(text)).unwrap_err().to_string();
            assert!(error.starts_with("RUST_LOG: ") && error.contains(reason), "{error}");
        }
    }

    #[test]
    fn what_the_library_refuses_names_where_it_came_from() {
        let error = filter(&level("info"), Some("[a=info")).unwrap_err().to_string();
        assert!(error.starts_with("RUST_LOG: "), "{error}");
    }
}
