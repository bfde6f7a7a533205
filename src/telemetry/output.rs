//! What a command writes to standard output.

use std::{
    io::{Write, stdout},
    sync::OnceLock,
};

use super::{FLUSH_LIMIT, Sink, unlocked};

/// Standard output for [`show_line`]. `None` if its thread could not be started.
static SHOWN: OnceLock<Option<Sink>> = OnceLock::new();

/// Prints a line of a command that ends by itself. Every line arrives, so a slow reader holds up
/// the command. If the reader has gone (`pgtopic … | head`), that is not an error.
pub fn print_line(line: &str) {
    let _ = try_print_line(line);
}

/// The same for a command that goes on as long as somebody reads.
///
/// # Errors
/// The reader has gone, or the line cannot be written.
pub fn try_print_line(line: &str) -> std::io::Result<()> {
    writeln!(stdout(), "{line}")
}

/// Shows a line of a command that keeps running. A slow reader does not hold up the command. It
/// loses lines.
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
