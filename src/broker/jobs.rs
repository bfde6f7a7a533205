//! The use cases of jobs: list, read, cancel; replay or cancel a range; purge.

use std::{future::Future, time::Duration};

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Broker, BrokerError, Conflict};
use crate::{
    domain::{
        attempt::ErrorClass,
        dead_letter::{DeadLetterFilter, Reason},
        job::{BulkOptions, Job, JobFilter, JobKind, Matches, NewJob},
        page::{Items, List, PageRequest},
        range::{MessageRange, Point},
        scope::TopicScope,
        topic::TopicRef,
        violation::Violations,
        webhook_ref::{WebhookNames, WebhookRef},
    },
    store::StoreError,
};

/// How long counting may take that somebody waits for.
const COUNT_LIMIT: Duration = Duration::from_secs(2);

/// What a bulk request leads to.
#[derive(Debug, Clone, PartialEq)]
pub enum Bulk {
    /// A job that does it.
    Job(Box<Job>),
    /// Nothing was done: the request asked what there is.
    DryRun(Matches),
}

/// What becomes of many dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadLetterAction {
    /// They are delivered once more.
    Replay,
    /// They are deleted.
    Discard,
}

impl Broker {
    /// A page of the jobs that the caller may see, newest first.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`] if the filter names a webhook that does not exist.
    pub async fn list_jobs(&self, filter: &JobFilter, page: PageRequest) -> Result<Items<Job>, BrokerError> {
        let page = page.of(List::Jobs)?;
        if let Some(id) = filter.webhook_id {
            self.find_webhook(&id.into()).await?;
        }
        let jobs = self.store.list_jobs(filter, &self.scope, page).await?;
        Ok(Items::full(jobs, page, |job| job.id))
    }

    /// One job.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`] if there is none.
    pub async fn get_job(&self, id: i64) -> Result<Job, BrokerError> {
        let found = self.store.get_job(id).await?;
        let sees = |job: &Job| {
            *self.scope == TopicScope::All
                || job.topic.as_ref().is_some_and(|topic| self.scope.contains(topic))
        };
        found.filter(sees).ok_or_else(|| BrokerError::NotFound(format!("there is no job {id}")))
    }

    /// Asks for the end of a job. What it has done stays done.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`] if there is none, [`BrokerError::Conflict`] if it has ended.
    pub async fn cancel_job(&self, id: i64) -> Result<Job, BrokerError> {
        self.get_job(id).await?;
        if let Some(job) = self.store.cancel_job(id).await? {
            return Ok(job);
        }
        let state = self.get_job(id).await?.state.as_str();
        Err(BrokerError::conflict(Conflict::JobFinished, format!("job {id} has ended: {state}")))
    }

    /// Delivers the messages of a range once more to a webhook, if its types and its filter let them
    /// through.
    ///
    /// # Errors
    /// [`BrokerError::NeedsAll`] if the range names nothing and `all` is false,
    /// [`BrokerError::Invalid`] if a rule is broken, [`BrokerError::NotFound`] if there is no such
    /// webhook, [`BrokerError::TooBroad`] if a dry run takes too long.
    pub async fn replay_webhook(
        &self,
        webhook: &WebhookRef,
        range: &MessageRange,
        options: BulkOptions,
    ) -> Result<Bulk, BrokerError> {
        let webhook = self.find_webhook(webhook).await?;
        let mut violations = check_bulk(range.is_empty(), options)?;
        range.check(&mut violations);
        violations.require(
            range.from.is_some() || options.all,
            "from",
            "must be given: an id of a message, or a time (or give \"all\": true)",
        );
        violations.finish()?;
        let matches = in_time(self.store.count_replayable(webhook.id, range)).await;
        self.bulk(matches, options, self.new_range_job(JobKind::Replay, &webhook, range)).await
    }

    /// Cancels what a webhook is owed, of a range of messages.
    ///
    /// # Errors
    /// As [`Broker::replay_webhook`].
    pub async fn cancel_webhook(
        &self,
        webhook: &WebhookRef,
        range: &MessageRange,
        options: BulkOptions,
    ) -> Result<Bulk, BrokerError> {
        let webhook = self.find_webhook(webhook).await?;
        let mut violations = check_bulk(range.is_empty(), options)?;
        range.check(&mut violations);
        violations.finish()?;
        let matches = in_time(self.store.count_cancelable(webhook.id, range)).await;
        self.bulk(matches, options, self.new_range_job(JobKind::Cancel, &webhook, range)).await
    }

    /// Replays or discards all dead letters that a filter means. Types and filter of the webhooks do
    /// not count.
    ///
    /// # Errors
    /// [`BrokerError::NeedsAll`] if the filter names nothing and `all` is false,
    /// [`BrokerError::Invalid`] if a rule is broken, [`BrokerError::NotFound`] if the filter names a
    /// topic or a webhook that does not exist, [`BrokerError::NotPermitted`] if the caller may use
    /// some topics only and the filter names none, [`BrokerError::TooBroad`] if a dry run takes too
    /// long.
    pub async fn bulk_dead_letters(
        &self,
        action: DeadLetterAction,
        filter: &DeadLetterFilter,
        options: BulkOptions,
    ) -> Result<Bulk, BrokerError> {
        check_bulk(filter.is_empty(), options)?.finish()?;
        filter.check()?;
        let of_webhook = match filter.webhook_id {
            Some(id) => Some(self.find_webhook(&id.into()).await?),
            None => None,
        };
        let topic_id = match (&filter.topic, &of_webhook) {
            (Some(topic), _) => Some(self.find_topic(topic).await?),
            (None, webhook) => webhook.as_ref().map(|webhook| webhook.topic_id),
        };
        if topic_id.is_none() && *self.scope != TopicScope::All {
            let text = "the token is for some topics only: the filter must name a topic or a webhook";
            return Err(BrokerError::NotPermitted(text.to_owned()));
        }
        let json = dead_letters_json(filter);
        let count = self.store.count_job_dead_letters(topic_id, filter.webhook_id, &json);
        let matches = in_time(count).await;
        let kind = match action {
            DeadLetterAction::Replay => JobKind::DeadLetterReplay,
            DeadLetterAction::Discard => JobKind::DeadLetterDiscard,
        };
        let new = NewJob { topic_id, webhook_id: filter.webhook_id, filter: json, ..self.new_job(kind) };
        self.bulk(matches, options, new).await
    }

    /// Deletes what is past its retention, now.
    ///
    /// # Errors
    /// [`BrokerError::Invalid`] if the rate is out of its range.
    pub async fn purge(&self, rate_per_second: Option<f64>) -> Result<Job, BrokerError> {
        check_bulk(false, BulkOptions { rate_per_second, ..BulkOptions::default() })?.finish()?;
        let new = NewJob { rate_limit_per_second: rate_per_second, ..self.new_job(JobKind::Purge) };
        Ok(self.store.create_job(&new).await?)
    }

    /// Answers a dry run, or makes the job. A count that took too long does not keep the job from
    /// being made: then nobody knows how much there is to do.
    async fn bulk(
        &self,
        matches: Result<Matches, BrokerError>,
        options: BulkOptions,
        new: NewJob,
    ) -> Result<Bulk, BrokerError> {
        if options.dry_run {
            return matches.map(Bulk::DryRun);
        }
        let matches = match matches {
            Ok(matches) => Some(matches),
            Err(BrokerError::TooBroad) => None,
            Err(error) => return Err(error),
        };
        let new = NewJob { matches, rate_limit_per_second: options.rate_per_second, ..new };
        Ok(Bulk::Job(Box::new(self.store.create_job(&new).await?)))
    }

    /// A job that the caller asks for, about nothing yet.
    pub(super) fn new_job(&self, kind: JobKind) -> NewJob {
        NewJob {
            kind,
            topic_id: None,
            webhook_id: None,
            filter: "{}".to_owned(),
            range: MessageRange::default(),
            matches: None,
            rate_limit_per_second: None,
            created_by: self.actor.to_string(),
        }
    }

    /// A job about a range of messages of a webhook.
    fn new_range_job(&self, kind: JobKind, webhook: &WebhookNames, range: &MessageRange) -> NewJob {
        NewJob {
            topic_id: Some(webhook.topic_id),
            webhook_id: Some(webhook.id),
            filter: range_json(range),
            range: range.clone(),
            ..self.new_job(kind)
        }
    }
}

/// Checks what every bulk request must keep. Returns its broken rules.
///
/// # Errors
/// [`BrokerError::NeedsAll`] if it names nothing and `all` is false.
fn check_bulk(names_nothing: bool, options: BulkOptions) -> Result<Violations, BrokerError> {
    if names_nothing && !options.all {
        let text = "the request names nothing: give a filter, or \"all\": true (--all)";
        return Err(BrokerError::NeedsAll(text.to_owned()));
    }
    let mut violations = Violations::default();
    options.check(&mut violations);
    Ok(violations)
}

/// Counts, for two seconds at most.
async fn in_time(count: impl Future<Output = Result<Matches, StoreError>>) -> Result<Matches, BrokerError> {
    Ok(tokio::time::timeout(COUNT_LIMIT, count).await.map_err(|_| BrokerError::TooBroad)??)
}

/// A JSON object of the fields that are not null.
pub(super) fn object(fields: impl IntoIterator<Item = (&'static str, Value)>) -> String {
    let named = fields.into_iter().filter(|(_, value)| !value.is_null());
    Value::Object(named.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>()).to_string()
}

/// A time in JSON.
fn time_json(time: Timestamp) -> Value {
    json!(time.to_string())
}

/// The range as a request writes it.
fn range_json(range: &MessageRange) -> String {
    let point = |point: Option<Point>| match point {
        None => Value::Null,
        Some(Point::Id(id)) => json!(id),
        Some(Point::Time(time)) => time_json(time),
    };
    object([
        ("from", point(range.from)),
        ("to", point(range.to)),
        ("partition_key", json!(range.partition_key)),
        ("type", json!(range.message_type)),
        ("only_failed", if range.only_failed { json!(true) } else { Value::Null }),
    ])
}

/// The filter as a request writes it.
fn dead_letters_json(filter: &DeadLetterFilter) -> String {
    let topic = filter.topic.as_ref().map(|topic| match topic {
        TopicRef::Id(id) => id.to_string(),
        TopicRef::Name(name) => name.clone(),
    });
    object([
        ("topic", json!(topic)),
        ("webhook_id", json!(filter.webhook_id)),
        ("partition_key", json!(filter.partition_key)),
        ("type", json!(filter.message_type)),
        ("reason", json!(filter.reason.map(Reason::as_str))),
        ("error_class", json!(filter.error_class.map(ErrorClass::as_str))),
        ("status_code", json!(filter.status_code)),
        ("since", filter.since.map_or(Value::Null, time_json)),
        ("until", filter.until.map_or(Value::Null, time_json)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_shows_its_range_as_it_was_asked_for() {
        let time = Point::Time("2026-11-24T00:00:00Z".parse().unwrap());
        let range = MessageRange {
            from: Some(Point::Id(7)),
            to: Some(time),
            partition_key: Some("a".to_owned()),
            message_type: None,
            only_failed: true,
        };
        let json = r#"{"from":7,"only_failed":true,"partition_key":"a","to":"2026-11-24T00:00:00Z"}"#;
        assert_eq!(range_json(&range), json);
        assert_eq!(range_json(&MessageRange::default()), "{}");
    }
}
