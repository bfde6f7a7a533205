//! The screen Health: what `doctor` says, the worst first, and what helps.
//!
//! The checks cost the database more than a screen may cost again and again. So this screen stays
//! as it is, until somebody checks again.

use askama::Template;
use axum::http::Method;

use super::{
    actions::Lines,
    failure::Failure,
    frame::{Screen, Section},
    text::{self, Badge},
    visitor::Visitor,
};
use crate::domain::doctor::{self, Finding, Remedy, Report, Status};

/// What a check says.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    check: String,
    badge: Badge,
    seen: String,
    remedy: Option<Remedy>,
    items: Vec<Item>,
}

/// One of the things that a check has found.
#[derive(Debug, PartialEq, Eq)]
struct Item {
    text: String,
    remedy: Option<Remedy>,
}

#[derive(Template)]
#[template(path = "health.html")]
struct View {
    badge: Badge,
    said: String,
    checked: String,
    database: Option<String>,
    rows: Vec<Row>,
    fine: Vec<Row>,
    lines: Lines,
}

pub(super) async fn show(visitor: Visitor) -> Result<Screen, Failure> {
    let report = visitor.broker(&[(&Method::GET, "/doctor")])?.diagnose(None).await;
    let lines = Lines::new(&visitor.api, &Method::GET, "/doctor", None, "pgtopic doctor");
    Screen::still("Health", Section::Health, &view(&report, lines))
}

/// The worst comes first. Among equals, the order is that of the checks.
fn view(report: &Report, lines: Lines) -> View {
    let mut findings: Vec<&Finding> = report.checks.iter().collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.status));
    let (fine, rows): (Vec<&Finding>, Vec<&Finding>) =
        findings.into_iter().partition(|finding| finding.status == Status::Ok);
    let count = |status| rows.iter().filter(|finding| finding.status == status).count();
    let (fails, warns, skipped) = (count(Status::Fail), count(Status::Warn), count(Status::Skipped));
    View {
        badge: badge(report.result().unwrap_or(Status::Skipped)),
        said: format!("{fails} failed, {warns} to look at, {skipped} skipped, {} fine.", fine.len()),
        checked: text::time(report.checked_at),
        database: report.database.as_deref().map(text::line),
        rows: rows.into_iter().map(row).collect(),
        fine: fine.into_iter().map(row).collect(),
        lines,
    }
}

fn badge(status: Status) -> Badge {
    match status {
        Status::Ok => Badge::good("ok"),
        Status::Skipped => Badge::calm("skipped"),
        Status::Warn => Badge::warn("warn"),
        Status::Fail => Badge::bad("fail"),
    }
}

fn row(finding: &Finding) -> Row {
    let item = |item: &doctor::Item| Item {
        text: text::whole_line(&item.text),
        remedy: item.remedy.as_ref().map(shown),
    };
    Row {
        check: finding.check.as_str().replace('_', " "),
        badge: badge(finding.status),
        seen: text::whole_line(&finding.seen),
        remedy: finding.remedy.as_ref().map(shown),
        items: finding.items.iter().filter(|item| !is_said(finding, item)).map(item).collect(),
    }
}

/// Whether what was seen tells this item already, with the same remedy.
fn is_said(finding: &Finding, item: &doctor::Item) -> bool {
    finding.seen.contains(&item.text) && (item.remedy.is_none() || item.remedy == finding.remedy)
}

fn shown(remedy: &Remedy) -> Remedy {
    Remedy { text: text::whole_line(&remedy.text), ..remedy.clone() }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::doctor::Check;

    #[test]
    fn the_worst_comes_first_and_what_is_well_is_apart() {
        let finding = |check, status| Finding { status, ..Finding::ok(check, "seen") };
        let report = Report {
            checked_at: Timestamp::UNIX_EPOCH,
            database: None,
            checks: vec![
                finding(Check::Connection, Status::Ok),
                finding(Check::Tls, Status::Skipped),
                finding(Check::LockTable, Status::Warn),
                finding(Check::Workers, Status::Fail),
            ],
        };
        let lines = Lines { curl: None, cli: String::new() };
        let view = view(&report, lines);
        let checks: Vec<&str> = view.rows.iter().map(|row| row.check.as_str()).collect();
        assert_eq!(checks, ["workers", "lock table", "tls"]);
        assert_eq!((view.fine.len(), view.badge.word), (1, "fail"));
        assert_eq!(view.said, "1 failed, 1 to look at, 1 skipped, 1 fine.");
    }

    #[test]
    fn what_was_seen_is_not_said_twice() {
        let remedy = |text: &str| Some(Remedy { text: text.to_owned(), ..Remedy::default() });
        let item = |text: &str, cure| doctor::Item { text: text.to_owned(), remedy: remedy(cure) };
        let finding = Finding {
            status: Status::Fail,
            remedy: remedy("retry a"),
            items: vec![
                item("a is halted", "retry a"),
                item("b is halted", "retry b"),
                item("a", "look at a"),
            ],
            ..Finding::ok(Check::HaltedLanes, "2 lanes; a is halted")
        };
        let texts: Vec<String> = row(&finding).items.into_iter().map(|item| item.text).collect();
        assert_eq!(texts, ["b is halted", "a"]);
    }
}
