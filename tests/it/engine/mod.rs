//! The engine: claims, reads, settles, wake-ups, and rows that stand in their way.
//!
//! | file | what holds |
//! |---|---|
//! | `attempt_log` | a log of attempts that cannot be written costs its own rows alone |
//! | `bad_rows` | a row that cannot be read costs its lane alone |
//! | `clock_steps` | steps of the database's clock |
//! | `isolation` | a row that cannot be written costs its lane alone |
//! | `leftovers` | deleted messages and webhooks, retention |
//! | `news` | lanes that ran dry and are held |
//! | `plans` | plans that are kept while tables change behind them |
//! | `settle` | one call of settle, and one that removes idle lanes |
//! | `time_limits` | how long statements may wait and run |
//! | `told` | what a notification tells, and what it must not |
//! | `turns` | more lanes than slots |
//! | `waking` | how soon workers look, with and without notifications |

mod attempt_log;
mod bad_rows;
mod clock_steps;
mod isolation;
mod leftovers;
mod news;
mod plans;
mod settle;
mod time_limits;
mod told;
mod turns;
mod waking;
