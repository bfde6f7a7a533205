//! Reads and checks all settings of a command before it does anything. Every wrong setting is told
//! at once.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::CliError;
use crate::{
    api,
    config::{Config, Environment, Flag, Reading, Sources},
    delivery, store, telemetry,
};

/// How long the name of an address to listen on may take to be resolved.
pub(super) const RESOLVE_LIMIT: Duration = Duration::from_secs(5);

/// The settings of a command while they are checked.
pub(super) struct Settings {
    config: Config,
    rust_log: Option<String>,
    problems: Vec<String>,
    warnings: Vec<String>,
}

impl Settings {
    /// Reads all sources. Checks what concerns every command.
    pub(super) fn read(file: Option<PathBuf>, flags: Vec<Flag>) -> Self {
        let sources = Sources { file, environment: Environment::of_process(), flags };
        let Reading { config, mut problems, warnings } = Config::read(&sources);
        let rust_log = sources.environment.get("RUST_LOG").map(str::to_owned);
        problems
            .extend(telemetry::check(&config.log, rust_log.as_deref()).err().map(|error| error.to_string()));
        problems.extend(api::check_access(&config.api).iter().map(ToString::to_string));
        let ca_file = config.delivery.ca_file.as_deref().map(delivery::check_ca_file);
        problems.extend(ca_file.and_then(Result::err).map(|error| error.to_string()));
        Self { config, rust_log, problems, warnings }
    }

    /// Checks where the database is. It does not connect.
    pub(super) fn with_database(mut self) -> Self {
        for error in store::check_settings(&self.config.database) {
            let problem = error.to_string();
            // The cause may be one for several settings.
            if !self.problems.contains(&problem) {
                self.problems.push(problem);
            }
        }
        self
    }

    /// Resolves `api.bind`, and checks that nobody is let in without a token.
    ///
    /// # Errors
    /// As [`Settings::accept`].
    pub(super) async fn accept_listening(mut self) -> Result<(Accepted, SocketAddr), CliError> {
        match self.address().await {
            Ok(address) => Ok((self.accept()?, address)),
            Err(problem) => {
                self.problems.push(problem);
                Err(CliError::Settings(self.problems))
            }
        }
    }

    async fn address(&self) -> Result<SocketAddr, String> {
        let bind = &self.config.api.bind;
        let failed = |reason: String| format!("api.bind: cannot resolve {bind}: {reason}");
        let address = tokio::time::timeout(RESOLVE_LIMIT, bind.resolve())
            .await
            .map_err(|_| failed(format!("no answer within {} s", RESOLVE_LIMIT.as_secs())))?
            .map_err(|error| failed(error.to_string()))?;
        api::check_bind(&self.config.api, address).map_err(|error| error.to_string())?;
        Ok(address)
    }

    /// The settings, if all of them can be used.
    ///
    /// # Errors
    /// [`CliError::Settings`] with every problem.
    pub(super) fn accept(self) -> Result<Accepted, CliError> {
        let Self { config, rust_log, problems, warnings } = self;
        if problems.is_empty() {
            Ok(Accepted { config, rust_log, warnings })
        } else {
            Err(CliError::Settings(problems))
        }
    }
}

/// Settings that can be used.
pub(super) struct Accepted {
    pub(super) config: Config,
    rust_log: Option<String>,
    warnings: Vec<String>,
}

impl Accepted {
    /// Logs only warnings and errors, unless the settings name a level that is not the default.
    pub(super) fn quiet(mut self) -> Self {
        if self.config.log.level == Config::default().log.level {
            "warn".clone_into(&mut self.config.log.level);
        }
        self
    }

    /// Starts logging as the settings say.
    pub(super) fn start_logging(self) -> Result<Config, CliError> {
        telemetry::start(&self.config.log, self.rust_log.as_deref())?;
        for warning in self.warnings {
            tracing::warn!("{warning}");
        }
        Ok(self.config)
    }
}
