//! The bodies and queries of deliveries and attempts.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{PageQuery, number::query_integer};
use crate::domain::{attempt, delivery, topic::TopicRef};

words! {
    /// The status of a delivery.
    #[serde(rename_all = "snake_case")]
    DeliveryStatus of delivery::DeliveryStatus {
        /// Owed. It waits behind the head of its lane, or it is the head and no attempt has failed
        /// yet.
        Pending,
        /// Owed. It is the head of a lane that a worker holds.
        InFlight,
        /// Owed. It is the head of its lane, or in the batch at its head, and at least one attempt
        /// failed.
        Retrying,
        /// Owed. Its lane is halted until an operator releases it.
        Halted,
        /// Accepted by the receiver, as the attempt log says. The log keeps attempts for 30 days.
        /// After that the delivery is not shown any more.
        Delivered,
        /// A dead letter.
        Dead,
        /// An operator canceled it. It can be replayed.
        Canceled,
        /// A later message of its lane took its place. It can be replayed.
        Superseded,
    }
}

/// Which deliveries to list, and which page.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeliveriesQuery {
    /// Only deliveries with this status. Over all webhooks, a page goes through the newest
    /// messages, and looks at what became of 1000 of them at most. So if few deliveries have the
    /// status, pages may be empty and still not be the last: follow `next`. The list of one webhook
    /// finds `in_flight`, `retrying` and `halted` sooner: it goes through the lanes.
    status: Option<DeliveryStatus>,
    /// Only deliveries of this partition.
    partition_key: Option<String>,
    /// Only deliveries of messages of this type.
    r#type: Option<String>,
    /// Only deliveries of this topic, by id or name.
    topic: Option<String>,
    /// The most items on the page, 1 to 1000; 100 unless given.
    #[serde(default, deserialize_with = "query_integer")]
    limit: Option<i64>,
    /// `next` of the previous page.
    #[serde(default)]
    after: Option<String>,
}

impl DeliveriesQuery {
    /// The filter, and the page. `topic` reads a topic's id or name.
    pub(crate) fn into_parts<E>(
        self,
        topic: impl Fn(&str) -> Result<TopicRef, E>,
    ) -> Result<(delivery::DeliveryFilter, PageQuery), E> {
        let filter = delivery::DeliveryFilter {
            status: self.status.map(Into::into),
            partition_key: self.partition_key,
            message_type: self.r#type,
            topic: self.topic.as_deref().map(topic).transpose()?,
        };
        Ok((filter, PageQuery { limit: self.limit, after: self.after }))
    }
}

/// The delivery of one message to one webhook.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Delivery {
    /// The id of the webhook.
    webhook_id: i64,
    /// The webhook's name.
    webhook: String,
    /// The topic's name.
    topic: String,
    /// The id of the message.
    message_id: i64,
    /// Its partition key.
    partition_key: String,
    /// Its type.
    r#type: Option<String>,
    /// Its status.
    status: DeliveryStatus,
    /// How many requests were made for it, as the dead letter or the attempt log says.
    attempts: i64,
    /// The HTTP status of the last attempt, if an answer came.
    last_status_code: Option<i16>,
    /// The kind of failure of the last attempt.
    last_error_class: Option<ErrorClass>,
    /// Why the last attempt failed.
    last_error: Option<String>,
    /// When it is tried next. Null unless it is the head of its lane, and the lane is neither
    /// claimed nor halted.
    next_attempt_at: Option<Timestamp>,
    /// When the message was published.
    created_at: Timestamp,
    /// When it was accepted or became a dead letter; null while it is owed.
    settled_at: Option<Timestamp>,
    /// When a replay made it owed once more; null if none did, or if it is not owed any more.
    replayed_at: Option<Timestamp>,
}

impl From<delivery::Delivery> for Delivery {
    fn from(delivery: delivery::Delivery) -> Self {
        let delivery::Delivery {
            webhook_id,
            webhook,
            topic,
            message_id,
            partition_key,
            message_type,
            status,
            attempts,
            last_status_code,
            last_error_class,
            last_error,
            next_attempt_at,
            created_at,
            settled_at,
            replayed_at,
        } = delivery;
        Self {
            webhook_id,
            webhook,
            topic,
            message_id,
            partition_key,
            r#type: message_type,
            status: status.into(),
            attempts,
            last_status_code,
            last_error_class: last_error_class.map(Into::into),
            last_error,
            next_attempt_at,
            created_at,
            settled_at,
            replayed_at,
        }
    }
}

words! {
    /// How an attempt ended.
    #[serde(rename_all = "lowercase")]
    Outcome of attempt::Outcome {
        /// The receiver answered 2xx.
        Accepted,
        /// Every other answer, or no whole answer.
        Failed,
        /// The receiver answered 410 Gone: the webhook is disabled, and its backlog is kept.
        Gone,
    }
}

words! {
    /// The kind of failure that ended an attempt.
    #[serde(rename_all = "lowercase")]
    ErrorClass of attempt::ErrorClass {
        /// The host's name did not resolve.
        Dns,
        /// No TCP connection could be made to any address.
        Connect,
        /// The TLS handshake failed, or the certificate is not trusted.
        Tls,
        /// The address guard refused the address: it is not public, and `delivery.allow_networks`
        /// does not contain it.
        Forbidden,
        /// The request took longer than the webhook's timeout, the answer's body included.
        Timeout,
        /// The receiver answered with a status outside 2xx and 3xx.
        Status,
        /// The receiver answered with a redirect, which is never followed.
        Redirect,
        /// The connection broke, or the answer was not HTTP.
        Protocol,
        /// No request could be made from the webhook's settings and the messages. Nothing was sent.
        Request,
    }
}

/// The messages of one request: from the first to the last.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct AttemptBatch {
    /// The id of the first message.
    first: i64,
    /// The id of the last message.
    last: i64,
}

/// An attempt, as the attempt log holds it.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct AttemptRecord {
    /// Its number; 1 is the first.
    attempt: i32,
    /// Whether it only asked whether a failing receiver answers again.
    probe: bool,
    /// Whether the request carried replays.
    replay: bool,
    /// The batch that was sent; null if the request carried one message.
    batch: Option<AttemptBatch>,
    /// How it ended.
    outcome: Outcome,
    /// The HTTP status, if an answer came.
    status_code: Option<i16>,
    /// The kind of failure; null if it was accepted.
    error_class: Option<ErrorClass>,
    /// Why it failed; null if it was accepted.
    error: Option<String>,
    /// How long it took, in milliseconds.
    duration_ms: f64,
    /// For how many seconds the answer asked to wait (`Retry-After`); null if it did not.
    retry_after_seconds: Option<i32>,
    /// The first 2 KiB of the answer's body, if the attempt failed. A receiver may repeat a part of
    /// the payload there: so it is null for a token that may not see payloads.
    response_excerpt: Option<String>,
    /// The incarnation of the worker that made it.
    worker_id: uuid::Uuid,
    /// When it began.
    attempted_at: Timestamp,
}

impl From<delivery::AttemptRecord> for AttemptRecord {
    fn from(record: delivery::AttemptRecord) -> Self {
        let delivery::AttemptRecord {
            attempt,
            batch,
            outcome,
            status_code,
            error_class,
            error,
            duration_ms,
            retry_after_seconds,
            response_excerpt,
            worker_id,
            attempted_at,
            probe,
            replay,
        } = record;
        Self {
            attempt,
            probe,
            replay,
            batch: batch.map(|(first, last)| AttemptBatch { first, last }),
            outcome: outcome.into(),
            status_code,
            error_class: error_class.map(Into::into),
            error,
            duration_ms,
            retry_after_seconds,
            response_excerpt,
            worker_id,
            attempted_at,
        }
    }
}

impl AttemptRecord {
    /// The same, for somebody who may not see payloads.
    pub(crate) fn without_payload(self) -> Self {
        Self { response_excerpt: None, ..self }
    }
}
