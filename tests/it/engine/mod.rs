//! The engine: claims, reads, settles, looks, and rows that make one of these fail.
//!
//! | file | what it tests |
//! |---|---|
//! | `attempt_log` | an attempt log that cannot be written costs only its own rows |
//! | `bad_rows` | a row that cannot be read holds up only its own lane |
//! | `clock_steps` | steps of the database's clock |
//! | `idle_lanes` | idle lanes that are held, and tail reads |
//! | `isolation` | a row that cannot be written holds up only its own lane |
//! | `leftovers` | deleted messages and webhooks, retention |
//! | `notifications` | what a notification says, and what a worker does with it |
//! | `plans` | query plans that are kept while tables grow |
//! | `settle` | one call of `settle`, and one call of `remove_idle_lanes` |
//! | `time_limits` | how long statements may wait and run |
//! | `turns` | more lanes than slots |
//! | `waking` | how soon workers look, with and without notifications |

mod attempt_log;
mod bad_rows;
mod clock_steps;
mod idle_lanes;
mod isolation;
mod leftovers;
mod notifications;
mod plans;
mod settle;
mod time_limits;
mod turns;
mod waking;
