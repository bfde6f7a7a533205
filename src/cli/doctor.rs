//! `pgtopic doctor`: what is wrong, and what helps.

use std::fmt::Write as _;

use clap::Args;

use super::{CliError, flags::CommonFlags, operate::OperatorFlags, table::escape, words::word};
use crate::{
    api::schema,
    domain::doctor::{Check, Finding, Remedy, Report, Status},
};

/// How many things that a check has found are shown to people.
const ITEMS_SHOWN: usize = 5;
/// What stands before them.
const INDENT: &str = "                             ";

/// Find what is wrong with the database, the schema and the processes, and what helps
///
/// Each line says ok, warn, fail or skipped, the check, what was seen, and what helps. Nothing is
/// changed. The exit code is 0 if nothing fails; 1 if a check fails, or with --strict warns; 3 if
/// the database cannot be reached; 4 if the schema does not fit this version.
#[derive(Args)]
pub(super) struct Doctor {
    /// Make only this check
    #[arg(long, value_name = "NAME", value_parser = word(Check::ALL, Check::as_str, Check::parse), hide_possible_values = true)]
    check: Option<Check>,
    /// Fail also if a check only warns
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    operator: OperatorFlags,
}

impl Doctor {
    pub(super) async fn run(self, common: &CommonFlags) -> Result<(), CliError> {
        // The schema may be missing, and the database away: the checks say so.
        let (operator, _) = self.operator.prepare(common, &[])?;
        let report = operator.broker.diagnose(self.check).await;
        let outcome = outcome(&report, self.strict);
        let text = text(&report);
        operator.print(&schema::DoctorReport::from(report), text)?;
        outcome
    }
}

/// What the exit code says of a report.
fn outcome(report: &Report, strict: bool) -> Result<(), CliError> {
    let fails = |check| report.of(check).is_some_and(|finding| finding.status == Status::Fail);
    let bad = |status| report.checks.iter().filter(|finding| finding.status == status).count();
    match report.result() {
        _ if report.database.is_none() && fails(Check::Connection) => {
            Err(CliError::Unreachable("the database cannot be reached".to_owned()))
        }
        _ if fails(Check::Schema) => Err(CliError::Schema("the schema does not fit this pgtopic".to_owned())),
        Some(Status::Fail) => Err(CliError::Failed(format!("checks that fail: {}", bad(Status::Fail)))),
        Some(Status::Warn) if strict => {
            Err(CliError::Failed(format!("checks that warn: {}", bad(Status::Warn))))
        }
        _ => Ok(()),
    }
}

fn text(report: &Report) -> String {
    report.checks.iter().fold(String::new(), |mut text, finding| {
        write_finding(&mut text, finding);
        text
    })
}

/// One line; below it what was found, if that is more than one thing.
fn write_finding(text: &mut String, finding: &Finding) {
    let Finding { check, status, seen, remedy, items } = finding;
    let _ = write!(text, "{:<7}  {:<18}  {}", status.as_str(), check.as_str(), escape(seen));
    if let Some(remedy) = remedy {
        let _ = write!(text, " → {}", remedy.text);
        write_to_copy(text, remedy);
    }
    text.push('\n');
    if items.len() < 2 {
        return;
    }
    for item in items.iter().take(ITEMS_SHOWN) {
        let _ = write!(text, "{INDENT}- {}", escape(&item.text));
        if let Some(remedy) = &item.remedy {
            text.push_str(" →");
            write_to_copy(text, remedy);
        }
        text.push('\n');
    }
    if items.len() > ITEMS_SHOWN {
        let _ = writeln!(text, "{INDENT}… --json shows {} of them", items.len());
    }
}

/// What is to be copied. It is as long as it is.
fn write_to_copy(text: &mut String, remedy: &Remedy) {
    if let Some(sql) = &remedy.sql {
        let _ = write!(text, " {};", escape(sql));
    }
    if let Some(command) = &remedy.command {
        let _ = write!(text, " {}", escape(command));
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::doctor::Item;

    fn report(database: Option<&str>, checks: Vec<Finding>) -> Report {
        Report { checked_at: Timestamp::UNIX_EPOCH, database: database.map(str::to_owned), checks }
    }

    fn bad(check: Check, status: Status) -> Finding {
        Finding::bad(check, status, "seen", Remedy::new("Do it.").sql("SELECT 1"))
    }

    #[test]
    fn the_exit_code_says_how_bad_it_is() {
        let code = |database, checks, strict| {
            outcome(&report(database, checks), strict).map_or_else(|error| error.exit_code(), |()| 0.into())
        };
        let code = |database, checks, strict| format!("{:?}", code(database, checks, strict));
        let expected = |code: u8| format!("{:?}", std::process::ExitCode::from(code));
        assert_eq!(code(Some("a"), vec![Finding::ok(Check::Tls, "")], true), expected(0));
        assert_eq!(code(Some("a"), vec![Finding::skipped(Check::Tls, "", None)], true), expected(0));
        assert_eq!(code(Some("a"), vec![bad(Check::Tls, Status::Warn)], false), expected(0));
        assert_eq!(code(Some("a"), vec![bad(Check::Tls, Status::Warn)], true), expected(1));
        assert_eq!(code(Some("a"), vec![bad(Check::Connection, Status::Fail)], false), expected(1));
        assert_eq!(code(None, vec![bad(Check::Connection, Status::Fail)], false), expected(3));
        assert_eq!(code(Some("a"), vec![bad(Check::Schema, Status::Fail)], false), expected(4));
    }

    #[test]
    fn a_finding_is_one_line_and_each_of_several_things_has_one_below_it() {
        let mut text = String::new();
        write_finding(&mut text, &bad(Check::Tls, Status::Warn));
        assert_eq!(text, "warn     tls                 seen → Do it. SELECT 1;\n");
        text.clear();
        let item = Item::with("thing", Remedy::new("Do it.").command("pgtopic why 1"));
        write_finding(&mut text, &bad(Check::Tls, Status::Warn).listing([item.clone(), item]));
        assert_eq!(text.lines().count(), 3);
        assert_eq!(text.lines().last().unwrap().trim(), "- thing → pgtopic why 1");
    }
}
