//! What a command says on standard output.

use std::{
    io::{Write, stdout},
    sync::OnceLock,
};

use super::{FLUSH_LIMIT, Sink, unlocked};

/// Standard output for [`show_line`]. `None` where its thread could not be started.
static SHOWN: OnceLock<Option<Sink>> = OnceLock::new();

/// Prints a line of a command that ends by itself. Every line arrives, so a slow reader holds the
/// command up. A reader that went away (`pgtopic … | head`) is no reason to fail.
pub fn print_line(line: &str) {
    let _ = writeln!(stdout(), "{line}");
}

/// Shows a line of a command that runs on. A reader that is slow, or reads nothing, holds nobody up
/// and loses lines.
pub fn show_line(line: &str) {
    let lost = |lost| format!("  … {lost} lines are not shown …\n").into_bytes();
    let start = || Sink::start("output", unlocked(&stdout())?, lost);
    if let Some(sink) = SHOWN.get_or_init(|| start().ok()) {
        sink.push(format!("{line}\n").into_bytes());
    }
}

/// Waits until all lines are shown, for [`FLUSH_LIMIT`] at most.
pub fn flush_output() {
    if let Some(Some(sink)) = SHOWN.get() {
        sink.flush(FLUSH_LIMIT);
    }
}
