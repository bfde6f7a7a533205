//! Answers and tables as text, alike for the model and the server.

use std::fmt::Display;

/// A value that may be null.
pub(crate) fn or_dash<T: Display>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// A lane that was claimed, or read.
pub(crate) struct LaneText {
    pub(crate) name: &'static str,
    pub(crate) webhook: String,
    pub(crate) lane: String,
    /// What is known of the lane.
    pub(crate) fields: Vec<String>,
    /// Ids with marks: r a replay, m missing, s superseded.
    pub(crate) messages: Vec<String>,
}

impl LaneText {
    pub(crate) fn line(&self) -> String {
        let Self { name, webhook, lane, fields, messages } = self;
        format!("{name} {webhook}/{lane} {}: {}", fields.join(" "), messages.join(" "))
    }
}

/// Lines in an order of their own.
pub(crate) fn sorted(lines: impl IntoIterator<Item = String>) -> String {
    let mut lines: Vec<String> = lines.into_iter().collect();
    lines.sort_unstable();
    lines.join("\n")
}
