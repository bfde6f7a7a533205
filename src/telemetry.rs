//! Logs: text or JSON on standard error, so that standard output belongs to what a command prints.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use crate::config::{LogConfig, LogFormat};

/// Libraries that report at `info` what is no news to an operator. `log.level` may name them to hear more.
const QUIET: &str = "refinery_core=warn,tokio_postgres=warn";

/// Why no log can be written.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `log.level`, or `RUST_LOG` in its place, is not a filter.
    #[error("{source_name}: {reason}")]
    Filter {
        /// `log.level` or `RUST_LOG`.
        source_name: &'static str,
        /// What the parser says.
        reason: String,
    },
}

/// Starts logging for the whole process. `rust_log` is the variable `RUST_LOG`; it wins over `log.level`.
///
/// A second call changes nothing.
pub fn start(config: &LogConfig, rust_log: Option<&str>) -> Result<(), TelemetryError> {
    let filter = filter(config, rust_log)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    // Fails only where somebody else logs already, as in tests.
    let _ = match config.format {
        LogFormat::Text => builder.with_ansi(stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
    };
    Ok(())
}

fn filter(config: &LogConfig, rust_log: Option<&str>) -> Result<EnvFilter, TelemetryError> {
    let (source_name, text) = match rust_log.filter(|text| !text.is_empty()) {
        Some(text) => ("RUST_LOG", text.to_owned()),
        None => ("log.level", format!("{QUIET},{}", config.level)),
    };
    EnvFilter::builder()
        .with_default_directive(LevelFilter::WARN.into())
        .parse(&text)
        .map_err(|error| TelemetryError::Filter { source_name, reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_filter_that_is_none_names_where_it_came_from() {
        let error = filter(&level("info,pgtopic=loud"), None).unwrap_err().to_string();
        assert!(error.starts_with("log.level: "), "{error}");
        let error = filter(&level("info"), Some("a=b=c")).unwrap_err().to_string();
        assert!(error.starts_with("RUST_LOG: "), "{error}");
    }
}
