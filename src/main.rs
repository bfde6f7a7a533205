//! The entry point: parses the command line and runs the command. If the command fails, a line on
//! standard error says why. Each wrong setting has a line of its own.

use std::{
    io::{IsTerminal, stderr},
    process::ExitCode,
};

use clap::Parser;
use pgtopic::{cli::Cli, telemetry};

fn main() -> ExitCode {
    // Dropped last: it writes the log lines that still wait.
    let _log = telemetry::flush_at_end();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Written by the log's thread: a pipe that nobody reads must not hold up the exit.
        Err(usage) if usage.use_stderr() && !stderr().is_terminal() => {
            telemetry::say(usage.render().to_string().trim_end());
            return ExitCode::from(2);
        }
        // Help goes to standard output, an error to a terminal in colours.
        Err(shown) => shown.exit(),
    };
    match pgtopic::cli::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            for line in error.lines() {
                telemetry::say(&line);
            }
            error.exit_code()
        }
    }
}
