//! What a command says on standard output.

use std::io::{Write, stdout};

/// Prints a line. A reader that went away (`pgtopic … | head`) is no reason to fail.
pub(super) fn print_line(line: &str) {
    let _ = writeln!(stdout(), "{line}");
}
