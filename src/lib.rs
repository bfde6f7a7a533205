//! pgtopic: an ordered topic broker and webhook sender that lives inside PostgreSQL.
//!
//! An application publishes with one `INSERT` in its own transaction, or with one HTTP `POST`. A
//! trigger fans each message out: it inserts one delivery for each webhook of the topic. Workers
//! send the messages of each partition to each webhook strictly in order, and at least once,
//! whatever crashes.
//!
//! | module | what it holds |
//! |---|---|
//! | [`domain`] | the words as types, and the pure rules; no I/O |
//! | [`store`] | the only module that speaks to PostgreSQL; its statements are in `sql/` |
//! | [`delivery`] | one HTTP request: body, headers, signature, address guard, client |
//! | [`worker`] | claim, send, settle, wake-up, takeover |
//! | [`background`] | what one worker, the leader, does for all: retention, jobs |
//! | [`broker`] | the use cases; the HTTP API calls these and nothing below |
//! | [`api`] | the HTTP API |
//! | [`console`] | the pages for operators |
//! | [`cli`] | the command line |
//! | [`config`] | settings |
//! | [`demo`] | the traffic and the receiver of `dev --demo` |
//! | [`embedded`] | a PostgreSQL of our own, for `dev` and for tests |
//! | [`telemetry`] | the log, and the output of commands |
//!
//! Imports point one way: `cli` → `console` → `api` → `broker` → `store`, `delivery` → `domain`; `worker` →
//! `background`, `store`, `delivery` → `domain`.

pub mod api;
pub mod background;
pub mod broker;
pub mod cli;
pub mod config;
pub mod console;
pub mod delivery;
pub mod demo;
pub mod domain;
pub mod embedded;
pub mod store;
pub mod telemetry;
pub mod worker;
