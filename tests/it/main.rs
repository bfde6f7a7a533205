//! Integration tests: one binary, so that they share one PostgreSQL. See `support`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod cli;
mod embedded;
mod support;
