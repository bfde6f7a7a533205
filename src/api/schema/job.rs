//! The bodies and queries of jobs, and of bulk requests that lead to jobs.

use std::fmt;

use jiff::Timestamp;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, Visitor},
};
use serde_json::value::RawValue;

use super::{
    ErrorClass, PageQuery, Reason,
    number::{Whole, query_integer},
};
use crate::domain::{dead_letter::DeadLetterFilter, job, range, topic::TopicRef};

words! {
    /// What a job does.
    #[serde(rename_all = "snake_case")]
    JobKind of job::JobKind {
        /// Delivers messages of a range once more.
        Replay,
        /// Delivers dead letters once more.
        DeadLetterReplay,
        /// Deletes dead letters.
        DeadLetterDiscard,
        /// Cancels deliveries that are owed.
        Cancel,
        /// Makes earlier messages owed to a new webhook.
        Backfill,
        /// Deletes what is past its retention.
        Purge,
        /// Makes lanes due at once.
        LanesRetry,
    }
}

words! {
    /// How far a job is.
    #[serde(rename_all = "snake_case")]
    JobState of job::JobState {
        /// It was not begun.
        Queued,
        /// The leader works on it.
        Running,
        /// It is to end after the step that is under way.
        Canceling,
        /// It has done everything.
        Succeeded,
        /// It has ended early; its error says why.
        Failed,
        /// It was canceled; what was done before stays done.
        Canceled,
    }
}

/// Which jobs to list, and which page.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct JobsQuery {
    /// Only jobs of this kind.
    kind: Option<JobKind>,
    /// Only jobs in this state.
    state: Option<JobState>,
    /// Only jobs about this webhook.
    #[serde(default, deserialize_with = "query_integer")]
    webhook_id: Option<i64>,
    /// The most items on the page, 1 to 1000; 100 unless given.
    #[serde(default, deserialize_with = "query_integer")]
    limit: Option<i64>,
    /// `next` of the previous page.
    #[serde(default)]
    after: Option<String>,
}

impl JobsQuery {
    /// The filter, and the page.
    pub(crate) fn into_parts(self) -> (job::JobFilter, PageQuery) {
        let Self { kind, state, webhook_id, limit, after } = self;
        let filter = job::JobFilter { kind: kind.map(Into::into), state: state.map(Into::into), webhook_id };
        (filter, PageQuery { limit, after })
    }
}

/// What a job has left out.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Skipped {
    /// How many were still owed.
    already_owed: i64,
    /// How many were gone.
    gone: i64,
    /// How many the types and the filter of the webhook keep out.
    filtered: i64,
}

/// A long operation, which the leader does in steps.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Job {
    /// Its id.
    id: i64,
    /// What it does.
    kind: JobKind,
    /// How far it is.
    state: JobState,
    /// The webhook that it is about; null if it is about none, or about several.
    webhook_id: Option<i64>,
    /// The name of the topic that it is about; null if it is about none, or about several.
    topic: Option<String>,
    /// What it was asked to do, as in the request.
    #[schema(value_type = Object)]
    filter: Box<RawValue>,
    /// How many messages or rows it was to deal with, counted when it was made; null if unknown.
    total: Option<i64>,
    /// Whether there may be more than `total` says.
    total_capped: bool,
    /// How many it has dealt with.
    done: i64,
    /// How many it has left out.
    skipped: Skipped,
    /// How many it dealt with a second, since it began; null before that.
    rate_per_second: Option<f64>,
    /// How many it may deal with a second; null is no limit.
    rate_limit_per_second: Option<f64>,
    /// Why it has failed.
    error: Option<String>,
    /// What its next step waits for; null if it waits for nothing.
    waits_for: Option<String>,
    /// Who asked for it.
    created_by: String,
    /// When it was made.
    created_at: Timestamp,
    /// When it began.
    started_at: Option<Timestamp>,
    /// When its last step was written.
    updated_at: Option<Timestamp>,
    /// When it ended.
    finished_at: Option<Timestamp>,
}

impl From<job::Job> for Job {
    fn from(job: job::Job) -> Self {
        let job::Job {
            id,
            kind,
            state,
            webhook_id,
            topic,
            filter,
            total,
            total_capped,
            done,
            already_owed,
            gone,
            filtered,
            rate_per_second,
            rate_limit_per_second,
            error,
            waits_for,
            created_by,
            created_at,
            started_at,
            updated_at,
            finished_at,
        } = job;
        Self {
            id,
            kind: kind.into(),
            state: state.into(),
            webhook_id,
            topic,
            filter: RawValue::from_string(filter).unwrap_or_default(),
            total,
            total_capped,
            done,
            skipped: Skipped { already_owed, gone, filtered },
            rate_per_second,
            rate_limit_per_second,
            error,
            waits_for,
            created_by,
            created_at,
            started_at,
            updated_at,
            finished_at,
        }
    }
}

/// What a bulk request would deal with. Nothing was done.
#[derive(Serialize, utoipa::ToSchema)]
#[expect(clippy::struct_field_names, reason = "clients know it by this name")]
pub(crate) struct Matches {
    /// How many messages or dead letters, up to 100,000.
    matches: i64,
    /// Whether there are more than `matches` says.
    capped: bool,
    /// In how many lanes.
    lanes: i64,
    /// How many of these lanes are halted.
    halted_lanes: i64,
    /// Some of their ids.
    sample_ids: Vec<i64>,
}

impl From<job::Matches> for Matches {
    fn from(matches: job::Matches) -> Self {
        let job::Matches { matches, capped, lanes, halted_lanes, sample_ids } = matches;
        Self { matches, capped, lanes, halted_lanes, sample_ids }
    }
}

/// Which messages to deliver once more.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReplayRequest {
    /// The first message: its id, or the time from which on messages were created. Needed unless
    /// `all` is true.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    from: Option<Point>,
    /// The last message: its id, or the time before which messages were created. Up to now unless
    /// given.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    to: Option<Point>,
    /// Only messages of this partition.
    #[serde(default)]
    partition_key: Option<String>,
    /// Only messages of this type.
    #[serde(default)]
    r#type: Option<String>,
    /// Only messages that are dead letters of the webhook.
    #[serde(default)]
    only_failed: bool,
    /// Whether every message of the topic is meant, if no range is given.
    #[serde(default)]
    all: bool,
    /// Whether to count only. Then nothing is done.
    #[serde(default)]
    dry_run: bool,
    /// How many messages to deal with a second; 0.001 to 1000000. No limit unless given.
    #[serde(default)]
    rate_per_second: Option<f64>,
}

impl ReplayRequest {
    /// The range, and the rest.
    pub(crate) fn into_parts(self) -> (range::MessageRange, job::BulkOptions) {
        let Self { from, to, partition_key, r#type, only_failed, all, dry_run, rate_per_second } = self;
        let (from, to) = (from.map(Into::into), to.map(Into::into));
        let range = range::MessageRange { from, to, partition_key, message_type: r#type, only_failed };
        (range, job::BulkOptions { all, dry_run, rate_per_second })
    }
}

/// Which messages not to deliver any more.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CancelRequest {
    /// The first message: its id, or the time from which on messages were created.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    from: Option<Point>,
    /// The last message: its id, or the time before which messages were created.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    to: Option<Point>,
    /// Only messages of this partition.
    #[serde(default)]
    partition_key: Option<String>,
    /// Only messages of this type.
    #[serde(default)]
    r#type: Option<String>,
    /// Whether everything that is owed is meant, if nothing else is given.
    #[serde(default)]
    all: bool,
    /// Whether to count only. Then nothing is done.
    #[serde(default)]
    dry_run: bool,
    /// How many messages to deal with a second; 0.001 to 1000000. No limit unless given.
    #[serde(default)]
    rate_per_second: Option<f64>,
}

impl CancelRequest {
    /// The range, and the rest.
    pub(crate) fn into_parts(self) -> (range::MessageRange, job::BulkOptions) {
        let Self { from, to, partition_key, r#type, all, dry_run, rate_per_second } = self;
        let (from, to) = (from.map(Into::into), to.map(Into::into));
        let range = range::MessageRange { from, to, partition_key, message_type: r#type, only_failed: false };
        (range, job::BulkOptions { all, dry_run, rate_per_second })
    }
}

/// Which dead letters to replay or to discard.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeadLettersRequest {
    /// Only dead letters of this topic, by id or name.
    #[serde(default)]
    topic: Option<String>,
    /// Only dead letters of this webhook.
    #[serde(default)]
    #[schema(value_type = Option<i64>)]
    webhook_id: Option<Whole<i64>>,
    /// Only dead letters of this partition.
    #[serde(default)]
    partition_key: Option<String>,
    /// Only dead letters of messages of this type.
    #[serde(default)]
    r#type: Option<String>,
    /// Only dead letters with this reason. Without it, those that were canceled or superseded are
    /// left out.
    #[serde(default)]
    reason: Option<Reason>,
    /// Only dead letters whose last attempt failed in this way.
    #[serde(default)]
    error_class: Option<ErrorClass>,
    /// Only dead letters whose last attempt was answered with this HTTP status.
    #[serde(default)]
    #[schema(value_type = Option<i64>)]
    status_code: Option<Whole<i64>>,
    /// Only dead letters that were given up at this time or later.
    #[serde(default)]
    since: Option<Timestamp>,
    /// Only dead letters that were given up before this time.
    #[serde(default)]
    until: Option<Timestamp>,
    /// Whether all dead letters are meant, if nothing else is given.
    #[serde(default)]
    all: bool,
    /// Whether to count only. Then nothing is done.
    #[serde(default)]
    dry_run: bool,
    /// How many dead letters to deal with a second; 0.001 to 1000000. No limit unless given.
    #[serde(default)]
    rate_per_second: Option<f64>,
}

impl DeadLettersRequest {
    /// The filter, and the rest. `topic` reads a topic's id or name.
    pub(crate) fn into_parts<E>(
        self,
        topic: impl Fn(&str) -> Result<TopicRef, E>,
    ) -> Result<(DeadLetterFilter, job::BulkOptions), E> {
        let filter = DeadLetterFilter {
            topic: self.topic.as_deref().map(topic).transpose()?,
            webhook_id: self.webhook_id.map(|id| id.0),
            partition_key: self.partition_key,
            message_type: self.r#type,
            reason: self.reason.map(Into::into),
            error_class: self.error_class.map(Into::into),
            status_code: self.status_code.map(|code| code.0),
            since: self.since,
            until: self.until,
        };
        let Self { all, dry_run, rate_per_second, .. } = self;
        Ok((filter, job::BulkOptions { all, dry_run, rate_per_second }))
    }
}

/// How to delete what is past its retention.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PurgeRequest {
    /// How many rows to delete a second; 0.001 to 1000000. No limit unless given.
    #[serde(default)]
    pub(crate) rate_per_second: Option<f64>,
}

/// A place in the messages: the id of a message, or a time (RFC 3339).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Point(range::Point);

impl From<Point> for range::Point {
    fn from(point: Point) -> Self {
        point.0
    }
}

/// Where a new webhook begins: `now`, `beginning`, the id of a message, or a time (RFC 3339).
#[derive(Debug, Clone, Copy)]
pub(crate) struct StartFrom(range::StartFrom);

impl From<StartFrom> for range::StartFrom {
    fn from(start: StartFrom) -> Self {
        start.0
    }
}

/// Reads an id or a time. A number is an id, and so is a text of digits.
pub(crate) fn parse_point(text: &str) -> Option<range::Point> {
    let id = text.parse().ok().map(range::Point::Id);
    id.or_else(|| text.parse().ok().map(range::Point::Time))
}

/// Reads where a new webhook begins.
pub(crate) fn parse_start(text: &str) -> Option<range::StartFrom> {
    match text {
        "now" => Some(range::StartFrom::Now),
        "beginning" => Some(range::StartFrom::Beginning),
        text => parse_point(text).map(range::StartFrom::At),
    }
}

/// Reads a text or an integer, which means the same as its digits.
struct PlaceVisitor<T> {
    rule: &'static str,
    parse: fn(&str) -> Option<T>,
}

impl<T> Visitor<'_> for PlaceVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rule)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).ok_or_else(|| E::custom(format_args!("must be {}", self.rule)))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}

impl<'de> Deserialize<'de> for Point {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        let rule = "the id of a message, or a time such as 2026-11-24T00:00:00Z";
        value.deserialize_any(PlaceVisitor { rule, parse: parse_point }).map(Self)
    }
}

impl<'de> Deserialize<'de> for StartFrom {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        let rule = "now, beginning, the id of a message, or a time such as 2026-11-24T00:00:00Z";
        value.deserialize_any(PlaceVisitor { rule, parse: parse_start }).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_an_id_or_a_time() {
        let read = |json: &str| serde_json::from_str::<Point>(json).map(|point| point.0).ok();
        assert_eq!(read("7"), Some(range::Point::Id(7)));
        assert_eq!(read("\"7\""), Some(range::Point::Id(7)));
        assert!(matches!(read("\"2026-11-24T00:00:00+01:00\""), Some(range::Point::Time(_))));
        for bad in ["\"now\"", "\"yesterday\"", "\"2026-11-24\"", "true", "7.5", "{}", "99999999999999999999"]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
        let start = |json: &str| serde_json::from_str::<StartFrom>(json).map(|start| start.0).ok();
        assert_eq!(start("\"beginning\""), Some(range::StartFrom::Beginning));
        assert_eq!(start("\"now\""), Some(range::StartFrom::Now));
        assert_eq!(start("5"), Some(range::StartFrom::At(range::Point::Id(5))));
    }
}
