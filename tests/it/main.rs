//! Integration tests. They are one binary, so they share one PostgreSQL. `pgtopic_testkit` has
//! their tools.
//!
//! Each folder is an area. Its `mod.rs` says what each of its files tests.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![allow(clippy::similar_names, reason = "what a receiver received")]

mod api;
mod background;
mod cli;
mod console;
mod database;
mod delivery;
mod doctor;
mod documents;
mod engine;
mod failover;
mod ordering;
mod publishing;
mod schema;
