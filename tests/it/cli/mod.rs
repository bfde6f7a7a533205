//! The command line. The tests run whole processes.
//!
//! | file | what it tests |
//! |---|---|
//! | `commands` | help, settings, errors in one line, exit codes |
//! | `drain` | waiting until nothing is owed |
//! | `embedded` | the PostgreSQL that `dev` starts |
//! | `figures` | figures and workers |
//! | `jobs` | commands that make jobs, and watch them |
//! | `given_up` | lanes, deliveries and dead letters |
//! | `log_sink` | standard error that is slow, full or gone |
//! | `operators` | commands of operators: JSON as of the API, questions, exit codes |
//! | `policies` | the policy of a webhook |
//! | `publish` | one message from everywhere, many from NDJSON |
//! | `serve` | `dev` and `serve` from start to stop |

mod commands;
mod drain;
mod embedded;
mod figures;
mod given_up;
mod jobs;
#[cfg(target_os = "linux")]
mod log_sink;
mod operators;
mod policies;
mod publish;
mod serve;
