//! Why a command failed, and its exit code.

use std::{fmt, process::ExitCode};

use crate::{config::ConfigError, embedded::EmbeddedError, store::StoreError, telemetry::TelemetryError};

/// Why a command failed. It is shown as one line; wrong settings are shown as one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CliError {
    /// It failed while running; exit code 1.
    Failed(String),
    /// Flags or settings are wrong; exit code 2.
    Usage(String),
    /// Settings are wrong, each for its own reason; exit code 2.
    Settings(Vec<String>),
    /// The database cannot be reached; exit code 3.
    Unreachable(String),
    /// The schema does not fit this binary; exit code 4.
    Schema(String),
}

impl CliError {
    /// The documented exit code.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Failed(_) => 1,
            Self::Usage(_) | Self::Settings(_) => 2,
            Self::Unreachable(_) => 3,
            Self::Schema(_) => 4,
        })
    }
}

impl std::error::Error for CliError {}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(text) | Self::Usage(text) | Self::Unreachable(text) | Self::Schema(text) => {
                f.write_str(&one_line(text))
            }
            Self::Settings(problems) => {
                f.write_str(&problems.iter().map(|problem| one_line(problem)).collect::<Vec<_>>().join("\n"))
            }
        }
    }
}

/// Messages of PostgreSQL and of the operating system may have several lines.
fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self::Settings(error.problems)
    }
}

impl From<TelemetryError> for CliError {
    fn from(error: TelemetryError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<EmbeddedError> for CliError {
    fn from(error: EmbeddedError) -> Self {
        match error {
            EmbeddedError::WrongBinaries(_) => Self::Usage(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        let text = error.to_string();
        match error {
            StoreError::InvalidUrl(_) | StoreError::InvalidSchema(_) | StoreError::Tls(_) => {
                Self::Usage(text)
            }
            StoreError::Connect(_) => Self::Unreachable(text),
            StoreError::SchemaMismatch(_) | StoreError::Unsuitable(_) => Self::Schema(text),
            _ => Self::Failed(text),
        }
    }
}
