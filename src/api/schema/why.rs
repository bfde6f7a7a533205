//! The answer to "why".

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::domain::{lane::LaneName, shell::flag, why};

words! {
    /// Where a message stands with a webhook.
    #[serde(rename_all = "snake_case")]
    WhyState of why::State {
        /// The webhook was never owed it.
        NotOwed,
        /// It is owed, and not sent now.
        Waiting,
        /// A worker is sending it.
        InFlight,
        /// The receiver has accepted it.
        Delivered,
        /// It was given up.
        Dead,
        /// An operator has canceled it.
        Canceled,
        /// A later message of its lane took its place.
        Superseded,
        /// Nothing is known of it any more.
        Unknown,
    }
}

words! {
    /// Why it stands there.
    #[serde(rename_all = "snake_case")]
    WhyReason of why::Reason {
        /// `not_owed`: the webhook's filter, as it is now, does not let it through.
        Filter,
        /// `not_owed`: the webhook's types, as they are now, do not name its type.
        Types,
        /// `not_owed`: the webhook was created after the message was published.
        YoungerWebhook,
        /// `waiting`: another message of its partition comes first: `blocked_by`.
        Behind,
        /// `waiting`: an attempt failed, and the next one is due at `next_attempt_at`.
        Backoff,
        /// `waiting`: its lane is halted until an operator acts.
        Halted,
        /// `waiting`: the receiver has asked for nothing to be sent until `next_attempt_at`.
        HeldByReceiver,
        /// `waiting`: the webhook's `rate_limit_per_second`.
        RateLimit,
        /// `waiting`: the webhook has as many lanes in flight as `max_in_flight` permits.
        MaxInFlight,
        /// `waiting`: no worker has a slot for it.
        SlotsBusy,
        /// `waiting`: the webhook is paused.
        Paused,
        /// `waiting`: the topic is paused with the mode `hold`.
        TopicHeld,
        /// `waiting`: the webhook's circuit breaker is open.
        BreakerOpen,
        /// `waiting`: the webhook is disabled.
        Disabled,
        /// `waiting`: the webhook is starting.
        Starting,
        /// `waiting`: sending is switched off.
        NotSending,
        /// `waiting`: no worker lives.
        NoWorker,
        /// `waiting`: the worker that holds its lane is dead or hung; another one takes over.
        Takeover,
        /// `waiting`: its lane has no row.
        NoLane,
        /// `waiting`: the next look of a worker finds it.
        Ready,
        /// `in_flight`: its request is under way, or about to be.
        Request,
        /// `in_flight`: the receiver has accepted it, and that is not written yet.
        OutcomeUnclear,
        /// `delivered`: the receiver has accepted it.
        Accepted,
        /// `delivered`: it was given up or canceled, and then its request was accepted.
        AcceptedLate,
        /// `dead`: it used up its attempts.
        AttemptsExhausted,
        /// `dead`: no request can be made for it, or the webhook takes its answer as final.
        Permanent,
        /// `dead`: it was older than its webhook allows.
        Expired,
        /// `dead`: its webhook was owed more than it allows.
        Overflow,
        /// `dead`: an operator skipped it.
        Skipped,
        /// `dead`: it was deleted before it was delivered.
        MessageMissing,
        /// `unknown`: the attempt log does not know it any more. Most likely it was accepted.
        LogExpired,
    }
}

/// Which partition to explain.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WhyQuery {
    /// The key of the partition; `default` unless given, as for messages.
    #[param(example = "user-42")]
    pub(crate) partition_key: Option<String>,
}

/// What helps. What a field does not apply to is null.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Remedy {
    /// What is to be done, for people.
    pub(crate) text: &'static str,
    /// The HTTP method of the request that does it.
    pub(crate) method: Option<&'static str>,
    /// Its path.
    pub(crate) path: Option<String>,
    /// Its body.
    pub(crate) body: Option<Value>,
    /// The command that does it.
    pub(crate) command: Option<String>,
}

impl From<why::Remedy> for Remedy {
    fn from(remedy: why::Remedy) -> Self {
        let post = |text, path: String, body: Value, command: String| Self {
            text,
            method: Some("POST"),
            path: Some(path),
            body: Some(body).filter(|body| !body.is_null()),
            command: Some(command),
        };
        match remedy {
            why::Remedy::ResumeWebhook(id) => post(
                "Resume the webhook.",
                format!("/webhooks/{id}/resume"),
                Value::Null,
                format!("pgtopic webhooks resume {id}"),
            ),
            why::Remedy::EnableWebhook(id) => post(
                "Repair the receiver, then enable the webhook.",
                format!("/webhooks/{id}/enable"),
                Value::Null,
                format!("pgtopic webhooks enable {id}"),
            ),
            why::Remedy::ResumeTopic(topic) => post(
                "Resume the topic.",
                format!("/topics/{topic}/resume"),
                Value::Null,
                format!("pgtopic topics resume {topic}"),
            ),
            why::Remedy::SwitchSendingOn => post(
                "Switch sending on, unless this is a copy that must not send.",
                "/sending".to_owned(),
                json!({"sending": true}),
                "pgtopic sending on".to_owned(),
            ),
            why::Remedy::StartWorker => Self {
                text: "Start a worker.",
                method: None,
                path: None,
                body: None,
                command: Some("pgtopic worker".to_owned()),
            },
            why::Remedy::RetryLane { webhook_id, lane } => {
                let LaneName { partition_key, message_id } = lane;
                let (body, flag) = if let Some(key) = partition_key {
                    (json!({"partition_key": key}), flag("partition-key", &key))
                } else {
                    let flag = format!("--message-id {}", message_id.unwrap_or_default());
                    (json!({"message_id": message_id}), flag)
                };
                post(
                    "Repair the receiver, then retry the lane now.",
                    format!("/webhooks/{webhook_id}/lanes/retry"),
                    body,
                    format!("pgtopic lanes retry {webhook_id} {flag}"),
                )
            }
            why::Remedy::RaiseRateLimit { webhook_id, per_second } => Self::raise(
                "Raise the webhook's rate limit, if its receiver can take more.",
                webhook_id,
                ("rate_limit_per_second", "--rate-limit-per-second"),
                per_second,
            ),
            why::Remedy::RaiseMaxInFlight { webhook_id, lanes } => Self::raise(
                "Raise the webhook's max_in_flight, if its receiver can take more.",
                webhook_id,
                ("max_in_flight", "--max-in-flight"),
                lanes,
            ),
            why::Remedy::CancelDelivery { webhook_id, message_id } => post(
                "Cancel the delivery, then replay it.",
                format!("/webhooks/{webhook_id}/deliveries/{message_id}/cancel"),
                Value::Null,
                format!("pgtopic deliveries cancel {webhook_id} {message_id}"),
            ),
            why::Remedy::ReplayDeadLetter(id) => post(
                "Replay the dead letter.",
                format!("/dead-letter/{id}/replay"),
                Value::Null,
                format!("pgtopic dead-letter replay {id}"),
            ),
            why::Remedy::ReplayMessage { webhook_id, message_id } => post(
                "Replay the message to the webhook.",
                format!("/webhooks/{webhook_id}/replay"),
                json!({"from": message_id, "to": message_id}),
                format!("pgtopic replay {webhook_id} --from {message_id} --to {message_id}"),
            ),
        }
    }
}

impl Remedy {
    /// A limit of a webhook is to be raised: its field, its flag, and the new value.
    fn raise(
        text: &'static str,
        webhook_id: i64,
        (field, flag): (&str, &str),
        limit: impl Serialize + std::fmt::Display,
    ) -> Self {
        Self {
            text,
            method: Some("PATCH"),
            path: Some(format!("/webhooks/{webhook_id}")),
            command: Some(format!("pgtopic webhooks update {webhook_id} {flag} {limit}")),
            body: Some(json!({field: limit})),
        }
    }
}

/// Where a message stands with one webhook, and why.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct WhyEntry {
    /// The webhook's id.
    webhook_id: i64,
    /// Its name.
    webhook: String,
    /// Where the message stands.
    state: WhyState,
    /// Why; null for `canceled` and `superseded`.
    reason: Option<WhyReason>,
    /// The same for people: what is in the way, and what follows.
    text: String,
    /// The message that must leave the lane first; null unless the reason is `behind`.
    blocked_by: Option<i64>,
    /// Since when; null where that is not known.
    since: Option<Timestamp>,
    /// When it is tried next; null where that is not known.
    next_attempt_at: Option<Timestamp>,
    /// In how many seconds the lane is tried next; null where that cannot be told.
    estimate_seconds: Option<i64>,
    /// The incarnation of the worker that holds its lane.
    worker: Option<uuid::Uuid>,
    /// How many requests were made for it, as far as lane, dead letter and attempt log tell.
    attempts: i64,
    /// The HTTP status of the last attempt, if an answer came.
    last_status_code: Option<i16>,
    /// Why the last attempt failed.
    last_error: Option<String>,
    /// What helps; null if nothing is wrong, or nothing can be done.
    remedy: Option<Remedy>,
}

impl From<why::Entry> for WhyEntry {
    fn from(entry: why::Entry) -> Self {
        let why::Entry {
            webhook_id,
            webhook,
            verdict,
            text,
            blocked_by,
            since,
            next_attempt_at,
            estimate_seconds,
            worker,
            attempts,
            last_status_code,
            last_error,
            remedy,
        } = entry;
        Self {
            webhook_id,
            webhook,
            state: verdict.state().into(),
            reason: verdict.reason().map(Into::into),
            text,
            blocked_by,
            since,
            next_attempt_at,
            estimate_seconds,
            worker,
            attempts,
            last_status_code,
            last_error,
            remedy: remedy.map(Into::into),
        }
    }
}

/// Why a message is where it is.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct MessageWhy {
    /// The message.
    message_id: i64,
    /// Its topic's name.
    topic: String,
    /// Its partition key.
    partition_key: String,
    /// When it was published.
    created_at: Timestamp,
    /// One entry for each webhook of the topic, by rising id; at most 1000.
    webhooks: Vec<WhyEntry>,
}

impl From<why::MessageWhy> for MessageWhy {
    fn from(why: why::MessageWhy) -> Self {
        let why::MessageWhy { message_id, topic, partition_key, created_at, webhooks, ordered: _ } = why;
        let webhooks = webhooks.into_iter().map(Into::into).collect();
        Self { message_id, topic, partition_key, created_at, webhooks }
    }
}

/// A transaction that publishes to the partition now: it holds the partition's lock, so others that
/// publish to it wait. It may publish to another partition that shares the lock.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct WhyPublisher {
    /// The process of PostgreSQL; null for a prepared transaction.
    pid: Option<i32>,
    /// Its role.
    user: Option<String>,
    /// Its application; for a prepared transaction its gid.
    application_name: Option<String>,
    /// When the transaction began, or was prepared.
    since: Option<Timestamp>,
}

impl From<why::Publisher> for WhyPublisher {
    fn from(publisher: why::Publisher) -> Self {
        let why::Publisher { pid, user, application_name, since } = publisher;
        Self { pid, user, application_name, since }
    }
}

/// Why a partition does not move.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct PartitionWhy {
    /// Its topic's name.
    topic: String,
    /// Its key.
    partition_key: String,
    /// The oldest transaction that publishes to it now; null if none does.
    publisher: Option<WhyPublisher>,
    /// The entry of the head, for each webhook that is owed something of the partition, by rising
    /// id; at most 1000.
    webhooks: Vec<WhyEntry>,
}

impl From<why::PartitionWhy> for PartitionWhy {
    fn from(why: why::PartitionWhy) -> Self {
        let why::PartitionWhy { topic, partition_key, publisher, webhooks } = why;
        Self {
            topic,
            partition_key,
            publisher: publisher.map(Into::into),
            webhooks: webhooks.into_iter().map(Into::into).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_is_a_request_that_there_is() {
        let document = crate::api::openapi();
        for remedy in why::tests::remedies().into_iter().map(Remedy::from) {
            let (Some(method), Some(path)) = (remedy.method, &remedy.path) else { continue };
            let fits = |template: &String| {
                let (template, path) = (template.split('/'), path.split('/'));
                template.clone().count() == path.clone().count()
                    && template
                        .zip(path)
                        .all(|(expected, part)| expected == part || expected.starts_with('{'))
            };
            let paths = document["paths"].as_object().unwrap();
            let operation = paths
                .iter()
                .filter(|(template, _)| fits(template))
                .find_map(|(_, operations)| operations.as_object().unwrap().get(&method.to_lowercase()));
            let operation = operation.unwrap_or_else(|| panic!("there is no {method} {path}"));
            let schema = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].as_str();
            let schema =
                schema.map(|path| &document["components"]["schemas"][path.rsplit('/').next().unwrap()]);
            for field in remedy.body.iter().flat_map(|body| body.as_object().unwrap().keys()) {
                assert!(
                    schema.is_some_and(|schema| schema["properties"][field].is_object()),
                    "{path}: no {field}"
                );
            }
        }
    }
}
