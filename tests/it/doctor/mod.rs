//! `doctor`: each check is made to fail on a real database, names what helps, and that ends the
//! finding.
//!
//! | file | what it tests |
//! |---|---|
//! | `command` | the command, the route, exit codes, `health` |
//! | `lanes` | lanes that do not move, rows that lack another one, webhooks |
//! | `processes` | sending, workers, the leader, settings that differ |
//! | `reach` | how the database is reached: TLS, poolers, LISTEN |
//! | `rights` | roles that may see only a part |
//! | `schema` | version, functions, triggers, indexes, sequences |
//! | `server` | settings of the server, its lock table, its queue, its clock, holders of locks |
//! | `tables` | dead rows, partitions, retention |

mod command;
mod lanes;
mod processes;
mod reach;
mod rights;
mod schema;
mod server;
mod tables;

use std::path::Path;

use pgtopic::{
    broker::{Broker, Expectations},
    domain::doctor::{Check, Finding, Status},
    store::Store,
};
use pgtopic_testkit::{Ended, Process, eventually, quick_delivery};
use tokio_postgres::Client;

/// The use cases on a store. Messages and attempts are kept for 30 days. Loopback is allowed.
fn broker(store: Store) -> Broker {
    let expectations = Expectations { settings: None, messages_days: 30, attempts_days: 30 };
    Broker::new(store, quick_delivery().allow_networks).expecting(expectations)
}

/// What a check says now.
async fn check(broker: &Broker, check: Check) -> Finding {
    let mut report = broker.diagnose(Some(check)).await;
    assert_eq!(report.checks.len(), 1);
    report.checks.remove(0)
}

/// What a check says, which has this status now.
#[track_caller]
fn is(finding: Finding, status: Status) -> Finding {
    assert_eq!(finding.status, status, "{finding:?}");
    finding
}

/// What a check says once it has this status.
async fn becomes(broker: &Broker, of: Check, status: Status) -> Finding {
    eventually(&format!("{of:?} is {status:?}"), async || {
        let finding = check(broker, of).await;
        (finding.status == status).then_some(finding)
    })
    .await
}

/// The SQL that a finding names.
fn sql(finding: &Finding) -> &str {
    finding.remedy.as_ref().and_then(|remedy| remedy.sql.as_deref()).unwrap_or_else(|| panic!("{finding:?}"))
}

/// The command that a finding names.
fn command(finding: &Finding) -> &str {
    let command = finding.remedy.as_ref().and_then(|remedy| remedy.command.as_deref());
    command.unwrap_or_else(|| panic!("{finding:?}"))
}

/// Runs the SQL that a finding names, one statement after another.
async fn apply_sql(client: &Client, finding: &Finding) {
    for statement in sql(finding).split("; ") {
        client.batch_execute(statement).await.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }
}

/// Runs a line of a shell, in which `pgtopic` is the built one.
pub(crate) async fn shell(line: &str, environment: &[(&str, &str)]) -> Ended {
    let folder = Path::new(env!("CARGO_BIN_EXE_pgtopic")).parent().unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
    let environment = [environment, &[("PATH", path.as_str())]].concat();
    Process::of(Path::new("/bin/sh"), &["-c", line], &environment, |_| {}).wait().await
}

/// Runs the command that a finding names, which must succeed.
async fn apply_command(finding: &Finding, environment: &[(&str, &str)]) {
    let ended = shell(command(finding), environment).await;
    assert_eq!(ended.code(), 0, "{}: {}", command(finding), ended.output);
}
