//! Integration tests: one binary, so that they share one PostgreSQL. What they stand on is
//! `pgtopic_testkit`.
//!
//! A folder is an area; its `mod.rs` says what each of its files is about.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![allow(clippy::similar_names, reason = "what a receiver received")]

mod api;
mod background;
mod cli;
mod database;
mod delivery;
mod documents;
mod engine;
mod failover;
mod ordering;
mod publishing;
mod schema;
