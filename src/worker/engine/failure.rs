//! A statement that failed, as far as the engine must know.

use std::fmt;

/// A statement that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What it did.
    pub effect: Effect,
    /// Why it failed, in one line.
    pub text: String,
}

/// What a statement did that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing, for certain.
    Nothing,
    /// It is not known whether it was executed.
    Unknown,
    /// Nothing: the worker is not registered any more, and must start over.
    NotRegistered,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why the engine cannot go on: a statement that claims or writes may have been executed or not.
/// All that this incarnation holds is released, and the next one reads it anew.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Lost(pub Failure);
