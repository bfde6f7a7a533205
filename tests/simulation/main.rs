//! A model of PostgreSQL and of our SQL functions, under a deterministic scheduler.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod conformity;
mod functions;
mod postgres;
#[cfg(test)]
mod puppets;
mod random;
mod schedule;
#[cfg(test)]
mod world;
