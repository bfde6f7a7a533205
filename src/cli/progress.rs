//! How far a long command has come, on a terminal.

use std::io::{IsTerminal, stderr};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar on standard error, drawn by this template. It is hidden if standard error is no terminal.
/// Without a length nobody knows when it ends.
pub(super) fn bar(template: &str, length: Option<u64>) -> ProgressBar {
    let target =
        if stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template(template).expect("the template is right");
    ProgressBar::with_draw_target(length, target).with_style(style)
}

/// A bar that counts messages, and bytes of a file whose length is known.
pub(super) struct Progress(ProgressBar);

impl Progress {
    pub(super) fn new(bytes: Option<u64>) -> Self {
        let template = match bytes {
            Some(_) => "{wide_bar} {bytes}/{total_bytes}  {msg}  {eta} left",
            None => "{spinner} {bytes}  {msg}  {elapsed}",
        };
        Self(bar(template, bytes))
    }

    /// So many bytes were read, and so many messages were published.
    pub(super) fn set(&self, bytes: u64, messages: u64) {
        self.0.set_position(bytes);
        self.0.set_message(format!("{messages} messages"));
    }

    /// Removes the bar.
    pub(super) fn finish(&self) {
        self.0.finish_and_clear();
    }
}
