//! The answer to "doctor": what is wrong with the database, the schema and the processes, and what
//! helps.
//!
//! The store reads facts. The functions here judge them: no I/O, no clock. Each file holds the facts
//! and the judgements of one group of checks.
//!
//! | file | checks |
//! |---|---|
//! | `finding` | what a check says, and the names of all checks |
//! | `reach` | `connection`, `tls`, `pooler`, `listen`, `clock` |
//! | `server` | `settings`, `lock_table`, `notification_queue` |
//! | `schema` | `privileges`, `schema`, `functions`, `triggers`, `indexes`, `sequences` |
//! | `processes` | `sending`, `workers`, `leader`, `processes` |
//! | `lanes` | `halted_lanes`, `waiting_lanes`, `lane_rows` |
//! | `webhooks` | `webhooks` |
//! | `holders` | `publishers`, `foreign_locks`, `snapshots` |
//! | `tables` | `dead_tuples`, `attempt_partitions`, `retention`, `disk` |
//! | `words` | numbers and times for people |

mod finding;
mod holders;
mod lanes;
mod processes;
mod reach;
mod schema;
mod server;
mod tables;
mod webhooks;
mod words;

pub use self::{
    finding::*, holders::*, lanes::*, processes::*, reach::*, schema::*, server::*, tables::*, webhooks::*,
};
