//! The progress while measuring: one line on standard error, if it is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// The line.
pub(super) struct Progress(ProgressBar);

impl Progress {
    pub(super) fn start() -> Self {
        let bar = ProgressBar::no_length();
        bar.set_style(
            ProgressStyle::with_template("{spinner} {prefix}: {msg} {wide_bar} {elapsed_precise}")
                .unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(bar)
    }

    /// What is being measured.
    pub(super) fn scenario(&self, name: &str) {
        self.0.set_prefix(name.to_owned());
    }

    /// A new step with this much to do.
    pub(super) fn step(&self, what: String, length: u64) {
        self.0.set_length(length);
        self.0.set_position(0);
        self.0.set_message(what);
    }

    /// How much of the step is done.
    pub(super) fn done(&self, position: u64) {
        self.0.set_position(position);
    }

    /// Shows nothing while something else is printed.
    pub(super) fn aside(&self, print: impl FnOnce()) {
        self.0.suspend(print);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
