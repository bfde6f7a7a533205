//! The screen Dead letters: what was given up, by group, and what can be done with all that a
//! filter means.

mod filter;

use askama::Template;
use axum::{
    extract::{Path, Query},
    http::Method,
    response::Redirect,
};
use jiff::Timestamp;

use self::filter::{Asked, Part};
use super::{
    actions::Lines,
    failure::Failure,
    frame::{Screen, Section},
    text,
    visitor::Visitor,
};
use crate::{
    broker::{Bulk, DeadLetterAction},
    domain::{
        dead_letter::{DeadLetter, DeadLetterGroup, GROUPED_MAX, Reason},
        job::BulkOptions,
        page::PageRequest,
    },
};

/// How many groups, and how many single ones, are shown.
const SHOWN: usize = 50;
/// The most groups that there are.
const GROUPS_MAX: usize = 1000;

#[derive(Debug, PartialEq, Eq)]
struct Group {
    webhook_id: i64,
    webhook: String,
    reason: String,
    hour: String,
    count: String,
    error: String,
    /// The query string of the filter that means it, if one does.
    query: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
struct Letter {
    message_id: i64,
    webhook: String,
    key: String,
    reason: String,
    attempts: i32,
    error: String,
    age: String,
}

#[derive(Template)]
#[template(path = "dead_letters.html")]
struct View {
    asked: Asked,
    /// What the filter has that is not in the form.
    parts: Vec<Part>,
    reasons: [Reason; Reason::ALL.len()],
    count: String,
    /// How many of each webhook are looked at.
    looked_at: String,
    groups: Vec<Group>,
    letters: Vec<Letter>,
    query: String,
    /// The query string of the page of older ones.
    older: Option<String>,
    filtered: bool,
    may_act: bool,
    /// Whether a topic or a webhook must be chosen before.
    must_choose: bool,
}

#[derive(Template)]
#[template(path = "dead_letters_act.html")]
struct Question {
    verb: &'static str,
    consequence: &'static str,
    danger: bool,
    matches: String,
    /// `dead letter` or `dead letters`.
    letters: String,
    lanes: String,
    /// `lane` or `lanes`.
    lane_word: String,
    halted: i64,
    nothing: bool,
    fields: Vec<(&'static str, String)>,
    query: String,
    lines: Lines,
}

pub(super) async fn show(visitor: Visitor, Query(asked): Query<Asked>) -> Result<Screen, Failure> {
    let reads = [(&Method::GET, "/dead-letter"), (&Method::GET, "/dead-letter/groups")];
    let broker = visitor.broker(&reads)?;
    let filter = asked.filter()?;
    let groups = broker.list_dead_letter_groups(&filter).await?;
    let page = PageRequest { limit: i64::try_from(SHOWN).ok(), after: text::given(&asked.after) };
    let letters = broker.list_dead_letters(&filter, page).await?;
    let now = Timestamp::now();
    // What the groups do not count is not counted.
    let count = groups.iter().map(|group| group.count).sum();
    let may = visitor.may(&Method::POST, "/dead-letter/replay") && count > 0;
    // Whoever sees some topics only must say which ones are meant.
    let says_which = visitor.sees_all() || filter.topic.is_some() || filter.webhook_id.is_some();
    // Of the last hour, not all groups are known then.
    let cut = groups.last().filter(|_| groups.len() >= GROUPS_MAX).map(|group| group.hour);
    let group = |group: &DeadLetterGroup| {
        let asked = Asked::of(group, &groups, &filter).filter(|_| cut != Some(group.hour));
        group_row(group, asked.map(|asked| asked.query()))
    };
    let view = View {
        query: asked.query(),
        older: letters.next.map(|next| asked.query_after(&next.to_string())),
        parts: asked.parts(),
        filtered: !filter.is_empty(),
        asked,
        reasons: Reason::ALL,
        count: text::count(count, groups.len() >= GROUPS_MAX || groups.iter().any(|group| group.capped)),
        looked_at: text::count(GROUPED_MAX, false),
        groups: groups.iter().take(SHOWN).map(group).collect(),
        letters: letters.items.iter().map(|letter| letter_row(letter, now)).collect(),
        may_act: may && says_which,
        must_choose: may && !says_which,
    };
    Screen::live("Dead letters", Section::DeadLetters, &view)
}

/// What a path asks to do: the word, the route of the API, and what follows.
fn action(word: &str) -> Result<(DeadLetterAction, &'static str, &'static str), Failure> {
    match word {
        "replay" => Ok((
            DeadLetterAction::Replay,
            "/dead-letter/replay",
            "Each is delivered once more, with the URL, headers and format of today. Its place is among the messages of \
             its lane that are still owed.",
        )),
        "discard" => Ok((
            DeadLetterAction::Discard,
            "/dead-letter/discard",
            "Each is deleted. Its message is never delivered to that webhook. This cannot be taken back.",
        )),
        _ => Err(Failure::not_found("there is no such action")),
    }
}

/// Says how many are meant, before anything is done.
pub(super) async fn ask(
    visitor: Visitor,
    Path(word): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Screen, Failure> {
    let (act, route, consequence) = action(&word)?;
    let broker = visitor.broker(&[(&Method::POST, route)])?;
    let filter = asked.filter()?;
    let options = BulkOptions { all: filter.is_empty(), dry_run: true, rate_per_second: None };
    let Bulk::DryRun(matches) = broker.bulk_dead_letters(act, &filter, options).await? else {
        unreachable!("this was a dry run");
    };
    let cli = format!("pgtopic dead-letter {word} {}", asked.flags());
    let question = Question {
        verb: if act == DeadLetterAction::Replay { "Replay" } else { "Discard" },
        consequence,
        danger: act == DeadLetterAction::Discard,
        matches: text::count(matches.matches, matches.capped),
        letters: text::plural(matches.matches, "dead letter"),
        lanes: text::count(matches.lanes, matches.capped),
        lane_word: text::plural(matches.lanes, "lane"),
        halted: matches.halted_lanes,
        nothing: matches.matches == 0,
        fields: asked.fields().into_iter().map(|(name, value)| (name, value.to_owned())).collect(),
        query: asked.query(),
        lines: Lines::new(&visitor.api, &Method::POST, route, Some(&asked.body()), cli),
    };
    Screen::still(format!("{} dead letters", question.verb), Section::DeadLetters, &question)
}

pub(super) async fn act(
    visitor: Visitor,
    Path(word): Path<String>,
    // The filter is in the address: in a form, a browser makes CRLF of each line feed of a key.
    Query(asked): Query<Asked>,
    form: String,
) -> Result<Redirect, Failure> {
    let (act, route, _) = action(&word)?;
    // Without a filter, all are meant. So a filter in the wrong place must not be lost.
    if !form.is_empty() {
        return Err(Failure::field("filter", "must be in the address"));
    }
    let filter = asked.filter()?;
    let options = BulkOptions { all: filter.is_empty(), dry_run: false, rate_per_second: None };
    match visitor.broker(&[(&Method::POST, route)])?.bulk_dead_letters(act, &filter, options).await? {
        Bulk::Job(job) => Ok(Redirect::to(&format!("../jobs/{}", job.id))),
        Bulk::DryRun(_) => unreachable!("this was no dry run"),
    }
}

fn group_row(group: &DeadLetterGroup, query: Option<String>) -> Group {
    let how = match (group.status_code, group.error_class) {
        (Some(code), _) => format!(": answered {code}"),
        (None, Some(class)) => format!(": {}", class.as_str()),
        (None, None) => String::new(),
    };
    Group {
        webhook_id: group.webhook_id,
        webhook: format!("{}:{}", group.topic, group.webhook),
        reason: format!("{}{how}", words(group.reason)),
        hour: text::time(group.hour),
        count: text::count(group.count, false),
        error: group.sample_error.as_deref().map(text::line).unwrap_or_default(),
        query,
    }
}

/// A reason as people read it.
fn words(reason: Reason) -> String {
    reason.as_str().replace('_', " ")
}

fn letter_row(letter: &DeadLetter, now: Timestamp) -> Letter {
    Letter {
        message_id: letter.message_id,
        webhook: format!("{}:{}", letter.topic, letter.webhook),
        key: text::line(&letter.partition_key),
        reason: words(letter.reason),
        attempts: letter.attempts,
        error: letter.last_error.as_deref().map(text::line).unwrap_or_default(),
        age: text::age(now, letter.created_at),
    }
}
