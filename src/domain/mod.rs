//! The words of pgtopic as types, and its pure rules. Nothing here does I/O. Nothing here knows
//! HTTP, SQL or OpenAPI.

pub mod attempt;
pub mod batch;
pub mod breaker;
pub mod change;
pub mod dead_letter;
pub mod delivery;
pub mod drain;
pub mod headers;
pub mod health;
pub mod job;
pub mod key;
pub mod known_targets;
pub mod lane;
pub mod latency;
pub mod message;
pub mod message_type;
pub mod operation;
pub mod page;
pub mod policy;
pub mod range;
pub mod retry;
pub mod scope;
pub mod sending;
pub mod shell;
pub mod spelling;
pub mod stats;
pub mod tail;
pub mod target;
pub mod topic;
pub mod violation;
pub mod webhook;
pub mod webhook_ref;
pub mod why;
mod words;
pub mod worker;
pub mod worker_health;
