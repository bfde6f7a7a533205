//! The words of pgtopic as types, and its pure rules. Nothing in here does I/O.

pub mod attempt;
pub mod lane;
pub mod message;
pub mod retry;
pub mod topic;
pub mod webhook;
