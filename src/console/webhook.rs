//! The screen of a webhook: how it is, what it owes by lane, and what can be done.

use askama::Template;
use axum::{extract::Path, http::Method, response::Redirect};
use jiff::Timestamp;

use super::{
    actions::{Action, Lines},
    failure::Failure,
    frame::{Screen, Section},
    lanes::{self, LaneRow, reference},
    text::{self, Badge},
    visitor::{ApiAddress, Visitor},
};
use crate::domain::{health::HealthState, lane::LaneFilter, page::PageRequest, webhook::Webhook};

/// How many lanes are shown.
const LANES_SHOWN: i64 = 20;

/// A name and what it is.
#[derive(Debug, PartialEq, Eq)]
struct Fact {
    name: &'static str,
    value: String,
}

#[derive(Template)]
#[template(path = "webhook.html")]
struct View {
    badge: Badge,
    said: String,
    since: Option<String>,
    topic: String,
    id: i64,
    health: Vec<Fact>,
    lanes: Vec<LaneRow>,
    more_lanes: bool,
    /// How many lanes are halted, and how many wait.
    halted: i64,
    waiting: i64,
}

#[derive(Template)]
#[template(path = "webhook_still.html")]
struct Still {
    actions: Vec<Action>,
    policy: Vec<Fact>,
}

pub(super) async fn show(visitor: Visitor, Path(named): Path<String>) -> Result<Screen, Failure> {
    let reads = [(&Method::GET, "/webhooks/{webhook}"), (&Method::GET, "/webhooks/{webhook}/lanes")];
    let broker = visitor.broker(&reads)?;
    let reference = reference(&named)?;
    let webhook = broker.get_webhook(&reference).await?;
    let page = PageRequest { limit: Some(LANES_SHOWN), after: None };
    let lanes = broker.list_lanes(&reference, &LaneFilter::default(), page).await?;
    let now = Timestamp::now();
    let health = &webhook.health;
    let reason = health.reason.as_deref().map(|reason| format!(": {}", text::line(reason)));
    let view = View {
        badge: Badge::of_webhook(health.state),
        said: format!("{}{}.", meaning(health.state), reason.unwrap_or_default()),
        since: health.since.map(|at| text::age(now, at)),
        topic: webhook.topic.clone(),
        id: webhook.id,
        health: how_it_is(&webhook, now),
        lanes: lanes.items.iter().map(|lane| lanes::row(lane, now)).collect(),
        more_lanes: lanes.next.is_some(),
        halted: health.backlog.unwrap_or_default().lanes.halted,
        waiting: health.backlog.unwrap_or_default().lanes.waiting,
    };
    let screen =
        Screen::live(format!("Webhook {}:{}", webhook.topic, webhook.name), Section::Webhooks, &view)?;
    let may = visitor.may(&Method::POST, "/webhooks/{webhook}/pause");
    let actions = if may { actions(&webhook, &visitor.api) } else { Vec::new() };
    screen.with(&Still { actions, policy: policy(&webhook) })
}

pub(super) async fn act(
    visitor: Visitor,
    Path((named, action)): Path<(String, String)>,
) -> Result<Redirect, Failure> {
    let reference = reference(&named)?;
    match action.as_str() {
        "pause" => {
            let broker = visitor.broker(&[(&Method::POST, "/webhooks/{webhook}/pause")])?;
            broker.pause_webhook(&reference).await?;
        }
        "resume" => {
            let broker = visitor.broker(&[(&Method::POST, "/webhooks/{webhook}/resume")])?;
            broker.resume_webhook(&reference).await?;
        }
        "enable" => {
            let broker = visitor.broker(&[(&Method::POST, "/webhooks/{webhook}/enable")])?;
            broker.enable_webhook(&reference).await?;
        }
        _ => return Err(Failure::not_found("there is no such action")),
    }
    Ok(Redirect::to(&format!("../{named}")))
}

/// What a state means.
fn meaning(state: HealthState) -> &'static str {
    match state {
        HealthState::Active => "Messages are sent as they come",
        HealthState::Starting => "Its backlog is being filled. Nothing is sent yet",
        HealthState::Paused => "Nothing is sent until it is resumed",
        HealthState::Holding => "Its receiver asked for a pause",
        HealthState::Failing => "Every request fails",
        HealthState::Open => "Its receiver is down. Nothing is sent but a probe now and then",
        HealthState::Disabled => "Nothing is sent until it is enabled",
    }
}

/// The lines that pause, resume or enable a webhook.
pub(super) fn lines(api: &ApiAddress, id: i64, verb: &str) -> Lines {
    let path = format!("/webhooks/{id}/{verb}");
    Lines::new(api, &Method::POST, &path, None, format!("pgtopic webhooks {verb} {id}"))
}

/// What can be done, and what follows.
fn actions(webhook: &Webhook, api: &ApiAddress) -> Vec<Action> {
    let backlog = webhook.health.backlog.unwrap_or_default();
    let owed = text::count(backlog.owed, backlog.owed_capped);
    let id = webhook.id;
    let action = |label, verb: &str, consequence: String| Action {
        label,
        href: format!("webhooks/{id}/{verb}"),
        consequence,
        danger: verb == "pause",
        lines: lines(api, id, verb),
    };
    let mut actions = Vec::new();
    if webhook.paused {
        let said = format!("Sending goes on: {owed} owed, and what comes.");
        actions.push(action("Resume", "resume", said));
    } else {
        let said = format!(
            "Requests in flight finish. Nothing more is sent. New messages are owed: the backlog grows from {owed}, and \
             nothing is lost."
        );
        actions.push(action("Pause", "pause", said));
    }
    match webhook.health.state {
        HealthState::Disabled => {
            let said = format!("Sending begins again at once: {owed} owed.");
            actions.push(action("Enable", "enable", said));
        }
        HealthState::Open => {
            let said = format!(
                "Closes the breaker: {owed} owed are sent at once. If the receiver is still down, attempts are used up."
            );
            actions.push(action("Close breaker", "enable", said));
        }
        _ => {}
    }
    actions
}

fn how_it_is(webhook: &Webhook, now: Timestamp) -> Vec<Fact> {
    let health = &webhook.health;
    let backlog = health.backlog.unwrap_or_default();
    let lanes = backlog.lanes;
    let ago = |at| format!("{} ago", text::age(now, at));
    let failure = health.last.last_failure_at.map(|at| {
        let error = health.last.last_error.as_deref().map(text::line).unwrap_or_default();
        format!("{}: {error}", ago(at))
    });
    let fact = |name, value| Fact { name, value };
    let mut facts = vec![
        fact("Owed", text::count(backlog.owed, backlog.owed_capped)),
        fact("Oldest owed", backlog.oldest_owed_at.map_or_else(|| "–".to_owned(), |at| text::age(now, at))),
        fact("In flight", health.in_flight.to_string()),
        fact(
            "Lanes",
            format!(
                "{} ready, {} claimed, {} waiting, {} halted",
                lanes.ready, lanes.claimed, lanes.waiting, lanes.halted
            ),
        ),
        fact("Dead letters", text::count(backlog.dead_letters, backlog.dead_letters_capped)),
        fact("Last success", health.last.last_success_at.map_or_else(|| "none seen".to_owned(), ago)),
        fact("Last failure", failure.unwrap_or_else(|| "none seen".to_owned())),
    ];
    if let Some(probe) = health.breaker.next_probe_at {
        facts.push(fact("Next probe", format!("in {}", text::until(now, probe))));
    }
    if let Some(hold) = health.hold_until {
        facts.push(fact("Held for", text::until(now, hold)));
    }
    facts
}

fn policy(webhook: &Webhook) -> Vec<Fact> {
    let fact = |name, value| Fact { name, value };
    let default = || "as the settings say".to_owned();
    let number = |value: Option<i32>| value.map_or_else(default, |value| value.to_string());
    let retries = match &webhook.retry_schedule {
        Some(schedule) => {
            let seconds: Vec<String> = schedule.iter().map(ToString::to_string).collect();
            format!("after {} s", seconds.join(", "))
        }
        None => webhook.backoff_factor.map_or_else(default, |factor| format!("back-off factor {factor}")),
    };
    vec![
        fact("URL", text::line(&webhook.url)),
        fact("Types", webhook.types.as_ref().map_or_else(|| "all".to_owned(), |types| types.join(", "))),
        fact("Filter", webhook.filter.as_deref().map_or_else(|| "none".to_owned(), text::line)),
        fact("Format", webhook.format.as_str().to_owned()),
        fact("Messages a request", webhook.batch_size.to_string()),
        fact("Attempts in all", number(webhook.max_retries)),
        fact("Retries", retries),
        fact("Timeout in seconds", number(webhook.timeout_seconds)),
        fact("When exhausted", webhook.on_exhausted.as_str().to_owned()),
        fact("Breaker", webhook.breaker.as_str().to_owned()),
        fact(
            "Lanes in flight",
            webhook.max_in_flight.map_or_else(|| "no limit".to_owned(), |most| most.to_string()),
        ),
        fact(
            "Requests a second",
            webhook.rate_limit_per_second.map_or_else(|| "no limit".to_owned(), |most| most.to_string()),
        ),
        fact(
            "Own headers",
            if webhook.header_names.is_empty() { "none".to_owned() } else { webhook.header_names.join(", ") },
        ),
    ]
}
