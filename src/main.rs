//! The entry: parse, run, one line on standard error if it failed.

use std::process::ExitCode;

use clap::Parser;
use pgtopic::cli::Cli;

fn main() -> ExitCode {
    match pgtopic::cli::run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pgtopic: {error}");
            error.exit_code()
        }
    }
}
