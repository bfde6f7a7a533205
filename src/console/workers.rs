//! The screen Workers: which processes send, and whether they live.

use askama::Template;
use axum::http::Method;
use jiff::Timestamp;

use super::{
    actions::Lines,
    failure::Failure,
    frame::{Screen, Section},
    text::{self, Badge},
    visitor::Visitor,
};
use crate::domain::{
    sending::NotSending,
    worker::{Worker, WorkerState},
};

#[derive(Debug, PartialEq, Eq)]
struct Row {
    /// The beginning of its id, as attempts show it.
    id: String,
    name: String,
    badge: Badge,
    leader: bool,
    version: String,
    since: String,
    heartbeat: String,
    in_flight: i32,
    slots: i32,
    lanes: String,
    wake: &'static str,
    topics: String,
    trouble: Option<String>,
}

#[derive(Template)]
#[template(path = "workers.html")]
struct View {
    rows: Vec<Row>,
    sending: Badge,
    said: String,
    switch_on: Option<Lines>,
}

pub(super) async fn show(visitor: Visitor) -> Result<Screen, Failure> {
    let broker = visitor.broker(&[(&Method::GET, "/workers"), (&Method::GET, "/sending")])?;
    let workers = broker.list_workers().await?.items;
    let (status, not_sending) = broker.get_sending().await?;
    let now = Timestamp::now();
    let why = match not_sending {
        None => "Messages are sent.",
        Some(NotSending::SwitchedOff) => "Nothing is sent: sending was switched off.",
        Some(NotSending::Copy) => "Nothing is sent: this database is a copy of another one.",
        Some(NotSending::StartPaused) => {
            "Nothing is sent: worker.start_paused is set, and nobody has switched sending on."
        }
    };
    let reason =
        status.reason.as_deref().map(|reason| format!(" {}", text::line(reason))).unwrap_or_default();
    let view = View {
        rows: workers.iter().map(|worker| row(worker, now)).collect(),
        sending: if not_sending.is_none() { Badge::good("sending") } else { Badge::bad("not sending") },
        said: format!("{why}{reason}"),
        switch_on: not_sending.map(|_| {
            let body = serde_json::json!({"sending": true});
            Lines::new(&visitor.api, &Method::POST, "/sending", Some(&body), "pgtopic sending on")
        }),
    };
    Screen::live("Workers", Section::Workers, &view)
}

fn row(worker: &Worker, now: Timestamp) -> Row {
    Row {
        id: text::worker(worker.id),
        name: text::line(&worker.name),
        badge: match worker.state {
            WorkerState::Live => Badge::good("live"),
            WorkerState::Stopping => Badge::calm("stopping"),
            WorkerState::Stale => Badge::bad("stale"),
        },
        leader: worker.leader,
        version: text::line(&worker.version),
        since: text::age(now, worker.started_at),
        heartbeat: text::age(now, worker.heartbeat_at),
        in_flight: worker.in_flight,
        slots: worker.slots,
        lanes: text::count(worker.lanes.into(), false),
        wake: worker.wake_mode.as_str(),
        topics: worker.topics.as_ref().map_or_else(|| "all".to_owned(), |topics| topics.join(", ")),
        trouble: worker.trouble.as_deref().map(text::line),
    }
}
