//! `pgtopic completions`: what a shell needs to complete commands and flags.

use clap::Args;
use clap_complete::{Shell, generate};

use crate::telemetry::print_line;

/// Print a script that completes commands and flags in a shell
#[derive(Args)]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    /// Prints the script for the whole command line, which is `cli`.
    pub(super) fn run(self, mut cli: clap::Command) {
        let mut script = Vec::new();
        generate(self.shell, &mut cli, "pgtopic", &mut script);
        print_line(String::from_utf8_lossy(&script).trim_end());
    }
}
