//! This program as a child of itself. So the pgtopic that is measured is the one that it was built
//! with.

use std::{ffi::OsString, io, thread};

use clap::Parser as _;
use pgtopic::cli::Cli;

use super::{CliError, client::Client};

/// What a child is. This is its first argument.
#[derive(Debug, Clone, Copy)]
pub(super) enum Role {
    /// `pgtopic`, with the following arguments.
    Pgtopic,
    /// The client that sends without a broker.
    Client,
}

impl Role {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pgtopic => "as-pgtopic",
            Self::Client => "as-client",
        }
    }

    fn of(argument: &OsString) -> Option<Self> {
        [Self::Pgtopic, Self::Client].into_iter().find(|role| argument == role.name())
    }

    /// Runs with these arguments. The first one is its name.
    fn run(self, arguments: impl Iterator<Item = OsString>) -> Result<(), CliError> {
        // Only the parent holds the other end of standard input. If the parent is killed, nobody
        // else stops its children.
        thread::spawn(|| {
            let _ = io::copy(&mut io::stdin(), &mut io::sink());
            std::process::exit(1);
        });
        match self {
            Self::Pgtopic => pgtopic::cli::run(Cli::parse_from(arguments)),
            Self::Client => Client::parse_from(arguments).run(),
        }
    }
}

/// Runs as a child to its end, if the arguments of this process ask for that.
pub(super) fn run() -> Option<Result<(), CliError>> {
    let mut arguments = std::env::args_os().skip(1).peekable();
    let role = Role::of(arguments.peek()?)?;
    Some(role.run(arguments))
}
