//! The words of pgtopic as types, and its pure rules. Nothing in here does I/O.

use serde::{Deserialize, Deserializer};

pub mod attempt;
pub mod dead_letter;
pub mod delivery;
pub mod headers;
pub mod lane;
pub mod message;
pub mod new_message;
pub mod new_topic;
pub mod new_webhook;
pub mod page;
pub mod retry;
pub mod topic;
pub mod violation;
pub mod webhook;

/// Tells a field that is null (`Some(None)`) from one that is left out (`None`, by `#[serde(default)]`).
#[expect(clippy::option_option, reason = "three cases: left out, null, a value")]
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(field: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(field).map(Some)
}
