//! What is told of a request that publishes: metrics and a span.

use axum::http::HeaderMap;

use super::{error::ApiError, state::ApiState};
use crate::{
    broker::{BrokerError, Conflict},
    domain::{
        message::{NewMessage, Published, PublishedBatch},
        metrics::PublishResult,
        topic::TopicRef,
    },
    telemetry::{metrics::Metrics, traces::PublishSpan},
};

/// A request that publishes.
pub(super) struct Publishing {
    metrics: Metrics,
    span: PublishSpan,
}

impl Publishing {
    /// It begins. `headers` are those of the request.
    pub(super) fn begin(state: &ApiState, headers: &HeaderMap) -> Self {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let span = state.traces.publish(header("traceparent"), header("tracestate"));
        Self { metrics: state.exposition.metrics().clone(), span }
    }

    /// Gives a message the context of the request.
    pub(super) fn mark(&self, message: impl Into<NewMessage>) -> NewMessage {
        let mut message = message.into();
        self.span.mark(&mut message.headers);
        message
    }

    /// It has published one message, or has failed.
    pub(super) fn ended(self, topic: &TopicRef, outcome: &Result<Published, ApiError>) {
        match outcome {
            Ok(published) => {
                let result =
                    if published.repeated { PublishResult::Repeated } else { PublishResult::Published };
                self.metrics.publish_ended(&published.topic, result);
                self.span.published(&published.topic, Some(published.id), None);
            }
            Err(error) => self.failed(topic, error),
        }
    }

    /// It has published a batch, or has failed.
    pub(super) fn batch_ended(self, topic: &TopicRef, outcome: &Result<PublishedBatch, ApiError>) {
        match outcome {
            Ok(published) => {
                self.metrics.publish_ended(&published.topic, PublishResult::Published);
                self.span.published(&published.topic, None, Some(published.ids.len()));
            }
            Err(error) => self.failed(topic, error),
        }
    }

    /// It has failed. The topic is named only if it exists for certain: clients may ask for any number
    /// of others.
    fn failed(self, topic: &TopicRef, error: &ApiError) {
        let exists = matches!(
            error,
            ApiError::Broker(BrokerError::Conflict { kind: Conflict::Paused, .. } | BrokerError::TooLarge(_))
        );
        let topic = topic.name().filter(|_| exists).unwrap_or_default();
        let status = error.status().0;
        let result = if status.is_server_error() { PublishResult::Failed } else { PublishResult::Refused };
        self.metrics.publish_ended(topic, result);
        self.span.failed(status.as_u16());
    }
}
