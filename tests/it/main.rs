//! Integration tests: one binary, so that they share one PostgreSQL. What they stand on is `pgtopic_testkit`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![allow(clippy::similar_names, reason = "what a receiver received")]

mod api;
mod attempt_log;
mod bad_rows;
mod cli;
mod clock_steps;
mod embedded;
mod failover;
mod flow;
mod hangs;
mod idempotency;
mod isolation;
mod leftovers;
mod levels;
#[cfg(target_os = "linux")]
mod log_sink;
mod long_transactions;
mod model;
mod news;
mod notification_queue;
mod ordering;
mod plans;
mod pooler;
mod publishing;
mod release;
mod replication;
mod restarts;
mod retries;
mod rights;
mod rules;
mod schema;
mod search_path;
mod serve;
mod settle;
mod stripes;
mod subscribed;
mod time_limits;
mod told;
mod turns;
mod two_phase;
mod unusable_webhooks;
mod waking;
mod webhooks;
