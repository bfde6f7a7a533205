//! The entry: parse, run, one line on standard error if it failed.

use std::{
    io::{IsTerminal, stderr},
    process::ExitCode,
};

use clap::Parser;
use pgtopic::{cli::Cli, telemetry};

fn main() -> ExitCode {
    // Dropped last, when everything is said.
    let _log = telemetry::flush_at_end();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // A pipe that nobody reads would hold up the exit.
        Err(usage) if usage.use_stderr() && !stderr().is_terminal() => {
            telemetry::say(usage.render().to_string().trim_end());
            return ExitCode::from(2);
        }
        // Help, or an error in colours.
        Err(shown) => shown.exit(),
    };
    match pgtopic::cli::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            telemetry::say(&format!("pgtopic: {error}"));
            error.exit_code()
        }
    }
}
