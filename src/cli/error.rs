//! Why a command failed, and its exit code.

use std::{fmt, process::ExitCode};

use axum::http::StatusCode;
use serde_json::Value;

use crate::{
    api::{Problem, bare_problem_json},
    broker::BrokerError,
    config::ConfigError,
    embedded::EmbeddedError,
    store::StoreError,
    telemetry::TelemetryError,
};

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
    /// A use case failed; exit code 3 if the database does not serve, else 1.
    Refused {
        /// The reason in words.
        detail: String,
        /// The problem that the API would answer, as JSON.
        problem: String,
        /// Whether the database does not serve.
        is_unavailable: bool,
    },
    /// The schema does not fit this binary; exit code 4.
    Schema(String),
    /// The same error, shown as a problem (RFC 9457).
    Problem(Box<Self>),
}

impl CliError {
    /// The documented exit code.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Failed(_) | Self::Refused { is_unavailable: false, .. } => ExitCode::from(1),
            Self::Usage(_) | Self::Settings(_) => ExitCode::from(2),
            Self::Unreachable(_) | Self::Refused { is_unavailable: true, .. } => ExitCode::from(3),
            Self::Schema(_) => ExitCode::from(4),
            Self::Problem(error) => error.exit_code(),
        }
    }
}

impl CliError {
    /// The problem that the API would answer. An error that the API cannot have gets the status
    /// that comes nearest.
    fn problem(&self) -> String {
        let bare = |status| bare_problem_json(status, &self.to_string());
        match self {
            Self::Refused { problem, .. } => problem.clone(),
            Self::Failed(_) => bare(StatusCode::INTERNAL_SERVER_ERROR),
            Self::Usage(_) | Self::Settings(_) => bare(StatusCode::BAD_REQUEST),
            Self::Unreachable(_) | Self::Schema(_) => bare(StatusCode::SERVICE_UNAVAILABLE),
            Self::Problem(error) => error.problem(),
        }
    }

    /// The same error at a line of the input.
    #[must_use]
    pub(super) fn at_line(self, line: u64) -> Self {
        let detail = format!("line {line}: {self}");
        self.explained(&detail).with("line", line)
    }

    /// The same error, with a further sentence.
    #[must_use]
    pub(super) fn and(self, text: &str) -> Self {
        let detail = format!("{self}; {text}");
        self.explained(&detail)
    }

    /// The same error, with a further member of its problem.
    #[must_use]
    pub(super) fn with(self, member: &str, value: impl Into<Value>) -> Self {
        let mut problem: Value = serde_json::from_str(&self.problem()).unwrap_or_default();
        problem[member] = value.into();
        Self::Refused {
            detail: self.to_string(),
            problem: problem.to_string(),
            is_unavailable: matches!(self, Self::Unreachable(_) | Self::Refused { is_unavailable: true, .. }),
        }
    }

    /// The same error with another reason.
    fn explained(self, detail: &str) -> Self {
        match self.with("detail", detail) {
            Self::Refused { problem, is_unavailable, .. } => {
                Self::Refused { detail: detail.to_owned(), problem, is_unavailable }
            }
            other => other,
        }
    }

    /// The lines for standard error.
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Problem(error) => vec![error.problem()],
            other => other.to_string().lines().map(|line| format!("pgtopic: {line}")).collect(),
        }
    }
}

impl std::error::Error for CliError {}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(text) | Self::Usage(text) | Self::Unreachable(text) | Self::Schema(text) => {
                f.write_str(&one_line(text))
            }
            Self::Refused { detail, .. } => f.write_str(&one_line(detail)),
            Self::Problem(error) => error.fmt(f),
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

impl From<BrokerError> for CliError {
    fn from(error: BrokerError) -> Self {
        // Nobody else would log the cause.
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        let is_unavailable = matches!(error, BrokerError::Unavailable(_) | BrokerError::NotReady(_));
        let Problem { detail, json } = error.into();
        Self::Refused { detail: format!("{detail}{cause}"), is_unavailable, problem: json }
    }
}

impl From<Problem> for CliError {
    fn from(Problem { detail, json }: Problem) -> Self {
        Self::Refused { detail, problem: json, is_unavailable: false }
    }
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
            StoreError::SchemaMismatch(_) | StoreError::Unsuitable(_) => Self::Schema(text),
            error if error.is_unavailable() => Self::Unreachable(text),
            _ => Self::Failed(text),
        }
    }
}
