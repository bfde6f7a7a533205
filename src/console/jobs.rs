//! The screens Jobs and Job: what runs in the background, and how far it is.

use askama::Template;
use axum::{
    extract::{Path, Query},
    http::Method,
    response::Redirect,
};
use jiff::Timestamp;
use serde::Deserialize;

use super::{
    actions::{Action, Actions, Lines},
    failure::Failure,
    frame::{Screen, Section},
    text::{self, Badge},
    visitor::Visitor,
};
use crate::domain::{
    job::{Job, JobFilter, JobState},
    page::PageRequest,
};

/// The filter of the list.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[serde(default)]
    state: String,
    #[serde(default)]
    after: String,
}

#[derive(Debug, PartialEq, Eq)]
struct Row {
    id: i64,
    kind: &'static str,
    badge: Badge,
    about: String,
    webhook_id: Option<i64>,
    done: String,
    total: String,
    /// Done and total, for a bar.
    bar: Option<(i64, i64)>,
    rate: String,
    said: String,
    by: String,
    created: String,
}

#[derive(Template)]
#[template(path = "jobs.html")]
struct List {
    rows: Vec<Row>,
    state: String,
    states: [JobState; JobState::ALL.len()],
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "job.html")]
struct One {
    row: Row,
    filter: String,
    left_out: [(&'static str, i64); 3],
    created: String,
    finished: Option<String>,
}

pub(super) async fn show(visitor: Visitor, Query(asked): Query<Asked>) -> Result<Screen, Failure> {
    let broker = visitor.broker(&[(&Method::GET, "/jobs")])?;
    let state = match asked.state.as_str() {
        "" => None,
        word => Some(JobState::parse(word).ok_or_else(|| Failure::field("state", "is no state of a job"))?),
    };
    let filter = JobFilter { state, ..JobFilter::default() };
    let page = PageRequest { limit: Some(50), after: text::given(&asked.after) };
    let jobs = broker.list_jobs(&filter, page).await?;
    let now = Timestamp::now();
    let view = List {
        rows: jobs.items.iter().map(|job| row(job, now)).collect(),
        state: asked.state,
        states: JobState::ALL,
        next: jobs.next.map(|next| next.to_string()),
    };
    Screen::live("Jobs", Section::Jobs, &view)
}

pub(super) async fn show_one(visitor: Visitor, Path(id): Path<i64>) -> Result<Screen, Failure> {
    let broker = visitor.broker(&[(&Method::GET, "/jobs/{id}")])?;
    let job = broker.get_job(id).await?;
    let view = One {
        row: row(&job, Timestamp::now()),
        filter: text::line(&job.filter),
        left_out: [("Still owed", job.already_owed), ("Gone", job.gone), ("Filtered", job.filtered)],
        created: text::time(job.created_at),
        finished: job.finished_at.map(text::time),
    };
    let screen = Screen::live(format!("Job {id}"), Section::Jobs, &view)?;
    let ended = matches!(job.state, JobState::Succeeded | JobState::Failed | JobState::Canceled);
    if ended || !visitor.may(&Method::POST, "/jobs/{id}/cancel") {
        return Ok(screen);
    }
    let path = format!("/jobs/{id}/cancel");
    let cancel = Action {
        label: "Cancel",
        href: format!("jobs/{id}/cancel"),
        consequence: "Ends the job after the step that is under way. What it has done stays done.".to_owned(),
        danger: true,
        lines: Lines::new(&visitor.api, &Method::POST, &path, None, format!("pgtopic jobs cancel {id}")),
    };
    screen.with(&Actions { actions: vec![cancel] })
}

pub(super) async fn cancel(visitor: Visitor, Path(id): Path<i64>) -> Result<Redirect, Failure> {
    visitor.broker(&[(&Method::POST, "/jobs/{id}/cancel")])?.cancel_job(id).await?;
    Ok(Redirect::to(&format!("../{id}")))
}

fn row(job: &Job, now: Timestamp) -> Row {
    let badge = match job.state {
        JobState::Queued => Badge::calm("queued"),
        JobState::Running => Badge::good("running"),
        JobState::Canceling => Badge::warn("canceling"),
        JobState::Succeeded => Badge::calm("succeeded"),
        JobState::Failed => Badge::bad("failed"),
        JobState::Canceled => Badge::calm("canceled"),
    };
    let waits = job.waits_for.as_deref().map(|waits| format!("waits for {waits}"));
    Row {
        id: job.id,
        kind: job.kind.as_str(),
        badge,
        about: job.topic.clone().unwrap_or_else(|| "all topics".to_owned()),
        webhook_id: job.webhook_id,
        done: text::count(job.done, false),
        total: job.total.map_or_else(|| "unknown".to_owned(), |total| text::count(total, job.total_capped)),
        bar: job.total.filter(|total| *total > 0).map(|total| (job.done.min(total), total)),
        rate: job.rate_per_second.map_or_else(|| "–".to_owned(), text::rate),
        said: job.error.as_deref().or(waits.as_deref()).map(text::line).unwrap_or_default(),
        by: text::line(&job.created_by),
        created: text::age(now, job.created_at),
    }
}
