//! A model of PostgreSQL and of our SQL functions, under a deterministic scheduler. Conformity holds
//! it to the real server.
//!
//! 1. [`schedule`] runs tasks one poll at a time, in an order that follows from a seed, and with a
//!    virtual clock.
//! 2. [`postgres`] is a model of the server: row versions, snapshots, row locks, advisory locks,
//!    savepoints, sequences, NOTIFY, prepared transactions, and crashes that lose asynchronous
//!    commits.
//! 3. READ COMMITTED and REPEATABLE READ behave as in PostgreSQL; SERIALIZABLE behaves as REPEATABLE
//!    READ, and scripts use it in one session only.
//! 4. [`functions`] holds our SQL functions in Rust, a file each, with the same names.
//! 5. Each SQL statement inside a function is a step with its own snapshot, and so is each row that
//!    it locks or changes: other sessions may come between.
//! 6. Each guard of the protocol can be taken out of the model ([`functions::guards`]).
//! 7. [`conformity`] runs random scripts of three sessions on the real server and on the model, and
//!    compares answers, errors, who waits, notifications and tables after each step.
//! 8. Sessions also stop between the statements of the real functions, so that what happens inside
//!    them is compared, too.
//! 9. Each guard is also taken out of the real functions, and conformity must notice: `GUARDS.md` says
//!    how fast.
//! 10. Not modelled: plans, bloat, what held snapshots cost, the pooler, TLS, the HTTP pool, memory.
//!     Filters, payloads, headers, jobs other than backfills, and the audit log are left out, too.
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `SIMULATION_SEED` | the first seed of scripts | fixed seeds, then new ones; printed |
//! | `SIMULATION_SCRIPTS` | how many scripts of each kind | a few |
//! | `SIMULATION_MINUTES` | how long the long run takes | 10 |
//!
//! ```sh
//! cargo test --test simulation
//! SIMULATION_MINUTES=60 cargo test --test simulation -- --ignored --nocapture long_run
//! cargo test --release --test simulation -- --ignored --nocapture measure_steps
//! ```

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![allow(clippy::similar_names, reason = "what is owed and who is the owner")]

mod conformity;
mod functions;
mod postgres;
mod puppets;
mod random;
mod schedule;
#[cfg(test)]
mod world;
