//! The screen Dead letters: what was given up, by group, and what can be done with all that a
//! filter means.

use askama::Template;
use axum::{
    extract::{Path, Query},
    http::Method,
    response::Redirect,
};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value};

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
        attempt::ErrorClass,
        dead_letter::{DeadLetter, DeadLetterFilter, DeadLetterGroup, GROUPED_MAX, Reason},
        job::BulkOptions,
        page::PageRequest,
        shell::quote,
        topic::TopicRef,
    },
};

/// How many groups, and how many single ones, are shown.
const SHOWN: usize = 50;
/// The most groups that there are.
const GROUPS_MAX: usize = 1000;

/// The filter, as the address has it. An empty field excludes nothing.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Asked {
    topic: String,
    webhook_id: String,
    partition_key: String,
    r#type: String,
    reason: String,
    error_class: String,
    status_code: String,
    since: String,
    until: String,
}

impl Asked {
    /// The fields that exclude something.
    fn fields(&self) -> Vec<(&'static str, &str)> {
        let all = [
            ("topic", &self.topic),
            ("webhook_id", &self.webhook_id),
            ("partition_key", &self.partition_key),
            ("type", &self.r#type),
            ("reason", &self.reason),
            ("error_class", &self.error_class),
            ("status_code", &self.status_code),
            ("since", &self.since),
            ("until", &self.until),
        ];
        all.into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name, value.as_str()))
            .collect()
    }

    fn filter(&self) -> Result<DeadLetterFilter, Failure> {
        let text = |value: &str| Some(value.to_owned()).filter(|value| !value.is_empty());
        Ok(DeadLetterFilter {
            topic: read("topic", &self.topic, TopicRef::parse)?,
            webhook_id: read("webhook_id", &self.webhook_id, |id| id.parse().ok())?,
            partition_key: text(&self.partition_key),
            message_type: text(&self.r#type),
            reason: read("reason", &self.reason, Reason::parse)?,
            error_class: read("error_class", &self.error_class, ErrorClass::parse)?,
            status_code: read("status_code", &self.status_code, |code| code.parse().ok())?,
            since: read("since", &self.since, |time| time.parse().ok())?,
            until: read("until", &self.until, |time| time.parse().ok())?,
        })
    }

    /// As a query string.
    fn query(&self) -> String {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(self.fields()).finish()
    }

    /// As the body of a request of the API.
    fn body(&self) -> Value {
        let value = |name, text: &str| match name {
            "webhook_id" | "status_code" => text.parse::<i64>().map_or(Value::Null, Value::from),
            _ => Value::from(text),
        };
        let fields = self.fields();
        if fields.is_empty() {
            return serde_json::json!({"all": true});
        }
        Value::Object(
            fields.iter().map(|(name, text)| ((*name).to_owned(), value(*name, text))).collect::<Map<_, _>>(),
        )
    }

    /// As flags of a command.
    fn flags(&self) -> String {
        let fields = self.fields();
        if fields.is_empty() {
            return "--all".to_owned();
        }
        // A value that begins with `-` must not be taken for a flag.
        let flag = |(name, text): &(&str, &str)| format!("--{}={}", name.replace('_', "-"), quote(text));
        fields.iter().map(flag).collect::<Vec<_>>().join(" ")
    }

    /// The filter of a group.
    fn of(group: &DeadLetterGroup) -> Self {
        let until = group.hour.checked_add(SignedDuration::from_hours(1)).unwrap_or(Timestamp::MAX);
        Self {
            webhook_id: group.webhook_id.to_string(),
            reason: group.reason.as_str().to_owned(),
            error_class: group.error_class.map(|class| class.as_str().to_owned()).unwrap_or_default(),
            status_code: group.status_code.map(|code| code.to_string()).unwrap_or_default(),
            since: group.hour.to_string(),
            until: until.to_string(),
            ..Self::default()
        }
    }
}

/// Reads a field that may be empty.
fn read<T>(field: &str, text: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    parse(text).map(Some).ok_or_else(|| Failure::field(field, &format!("must not be {text:?}")))
}

#[derive(Debug, PartialEq, Eq)]
struct Group {
    webhook_id: i64,
    webhook: String,
    reason: String,
    hour: String,
    count: String,
    error: String,
    query: String,
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
    reasons: [Reason; Reason::ALL.len()],
    count: String,
    /// How many of each webhook are looked at.
    looked_at: String,
    groups: Vec<Group>,
    letters: Vec<Letter>,
    query: String,
    filtered: bool,
    may_act: bool,
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
    let page = PageRequest { limit: i64::try_from(SHOWN).ok(), after: None };
    let letters = broker.list_dead_letters(&filter, page).await?;
    let now = Timestamp::now();
    // What the groups do not count is not counted.
    let count = groups.iter().map(|group| group.count).sum();
    let view = View {
        query: asked.query(),
        filtered: !filter.is_empty(),
        asked,
        reasons: Reason::ALL,
        count: text::count(count, groups.len() >= GROUPS_MAX || groups.iter().any(|group| group.capped)),
        looked_at: text::count(GROUPED_MAX, false),
        groups: groups.iter().take(SHOWN).map(group_row).collect(),
        letters: letters.items.iter().map(|letter| letter_row(letter, now)).collect(),
        may_act: visitor.may(&Method::POST, "/dead-letter/replay") && count > 0,
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
        return Err(Failure::not_found("there is nothing to count"));
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
        Bulk::DryRun(_) => Ok(Redirect::to("../dead-letters")),
    }
}

fn group_row(group: &DeadLetterGroup) -> Group {
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
        query: Asked::of(group).query(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_the_same_in_address_body_and_command() {
        let asked = Asked {
            webhook_id: "7".to_owned(),
            partition_key: "-a'; touch x".to_owned(),
            reason: "attempts_exhausted".to_owned(),
            ..Asked::default()
        };
        assert_eq!(asked.query(), "webhook_id=7&partition_key=-a%27%3B+touch+x&reason=attempts_exhausted");
        let body = serde_json::json!({
            "webhook_id": 7, "partition_key": "-a'; touch x", "reason": "attempts_exhausted",
        });
        assert_eq!(asked.body(), body);
        let flags = r"--webhook-id=7 --partition-key='-a'\''; touch x' --reason=attempts_exhausted";
        assert_eq!(asked.flags(), flags);
        let filter = asked.filter().unwrap();
        assert_eq!((filter.webhook_id, filter.reason), (Some(7), Some(Reason::AttemptsExhausted)));
        assert_eq!(
            (Asked::default().body(), Asked::default().flags()),
            (serde_json::json!({"all": true}), "--all".to_owned())
        );
    }

    #[test]
    fn what_no_dead_letter_can_have_is_refused() {
        for asked in [
            Asked { reason: "x".to_owned(), ..Asked::default() },
            Asked { webhook_id: "x".to_owned(), ..Asked::default() },
            Asked { since: "yesterday".to_owned(), ..Asked::default() },
            Asked { topic: "a b".to_owned(), ..Asked::default() },
        ] {
            assert!(asked.filter().is_err(), "{asked:?}");
        }
    }
}
