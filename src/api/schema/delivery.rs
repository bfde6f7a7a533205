//! Deliveries and attempts.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::PageQuery;
use crate::domain::{attempt, delivery};

words! {
    /// Where a delivery stands.
    #[serde(rename_all = "snake_case")]
    DeliveryStatus of delivery::DeliveryStatus {
        /// Owed: next in its lane without a failure yet, or waiting behind others.
        Pending,
        /// Owed, and the head of a lane that has failed at least once.
        Retrying,
        /// Owed, in a lane that an operator must start again.
        Halted,
        /// Accepted by the receiver.
        Delivered,
        /// In the dead letters.
        Dead,
    }
}

/// Which deliveries of a webhook are wanted, and which page of them.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeliveriesQuery {
    /// Only deliveries that stand here.
    status: Option<DeliveryStatus>,
    /// Only deliveries of this partition.
    partition_key: Option<String>,
    /// Items on the page at most, 1 to 1000; 100 unless given.
    limit: Option<i64>,
    /// `next` of the page before.
    after: Option<i64>,
}

impl DeliveriesQuery {
    /// What it asks for: the filter, and the page.
    pub(crate) fn into_parts(self) -> (delivery::DeliveryFilter, PageQuery) {
        let Self { status, partition_key, limit, after } = self;
        let filter = delivery::DeliveryFilter { status: status.map(Into::into), partition_key };
        (filter, PageQuery { limit, after })
    }
}

/// One message and what one webhook made of it.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Delivery {
    /// The message.
    message_id: i64,
    /// Its partition key.
    partition_key: String,
    /// Where it stands.
    status: DeliveryStatus,
    /// Requests made for it.
    attempts: i64,
    /// The HTTP status of the last of them, where an answer came.
    last_status_code: Option<i16>,
    /// Why the last of them failed.
    last_error: Option<String>,
    /// When it is tried next, if it is the head of its lane and not in flight.
    next_attempt_at: Option<Timestamp>,
    /// When the message was published.
    created_at: Timestamp,
    /// When it was accepted or became a dead letter.
    settled_at: Option<Timestamp>,
}

impl From<delivery::Delivery> for Delivery {
    fn from(delivery: delivery::Delivery) -> Self {
        let delivery::Delivery {
            message_id,
            partition_key,
            status,
            attempts,
            last_status_code,
            last_error,
            next_attempt_at,
            created_at,
            settled_at,
        } = delivery;
        Self {
            message_id,
            partition_key,
            status: status.into(),
            attempts,
            last_status_code,
            last_error,
            next_attempt_at,
            created_at,
            settled_at,
        }
    }
}

words! {
    /// How a request ended.
    #[serde(rename_all = "lowercase")]
    Outcome of attempt::Outcome {
        /// The receiver answered 2xx.
        Accepted,
        /// Anything else.
        Failed,
        /// The receiver answered 410 Gone.
        Gone,
    }
}

words! {
    /// What kind of failure ended a request.
    #[serde(rename_all = "lowercase")]
    ErrorClass of attempt::ErrorClass {
        /// The host's name did not resolve.
        Dns,
        /// No address could be connected to.
        Connect,
        /// The TLS handshake failed, or the certificate is not trusted.
        Tls,
        /// The address may not be reached.
        Forbidden,
        /// The request took longer than the webhook's timeout.
        Timeout,
        /// The receiver answered with a status outside 2xx.
        Status,
        /// The receiver answered with a redirect, which is never followed.
        Redirect,
        /// The connection broke, or the answer was not HTTP.
        Protocol,
        /// The request could not be built.
        Request,
    }
}

/// A request that was made, from the log.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct AttemptRecord {
    /// 1 is the first.
    attempt: i32,
    /// How it ended.
    outcome: Outcome,
    /// The HTTP status, where an answer came.
    status_code: Option<i16>,
    /// The kind of failure; null where it was accepted.
    error_class: Option<ErrorClass>,
    /// Why it failed.
    error: Option<String>,
    /// From the start of the request to the end of the answer.
    duration_ms: f64,
    /// The first 2 KiB of the answer to a failed attempt.
    response_excerpt: Option<String>,
    /// The worker that made it.
    worker_id: uuid::Uuid,
    /// When it was made.
    attempted_at: Timestamp,
}

impl From<delivery::AttemptRecord> for AttemptRecord {
    fn from(record: delivery::AttemptRecord) -> Self {
        let delivery::AttemptRecord {
            attempt,
            outcome,
            status_code,
            error_class,
            error,
            duration_ms,
            response_excerpt,
            worker_id,
            attempted_at,
        } = record;
        Self {
            attempt,
            outcome: outcome.into(),
            status_code,
            error_class: error_class.map(Into::into),
            error,
            duration_ms,
            response_excerpt,
            worker_id,
            attempted_at,
        }
    }
}
