//! What every handler gets.

use std::{sync::Arc, time::Duration};

use super::{
    access::{Hosts, Tokens},
    body_limit::{BodyLimit, PATIENCE},
    config_error::ApiConfigError,
    connection_limit::ConnectionLimit,
    exposition::Exposition,
};
use crate::{
    broker::Broker,
    config::{ApiConfig, PerWebhook},
    telemetry::{metrics::Metrics, traces::Traces},
};

/// How long a client may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// What every handler gets. Clones are cheap.
#[derive(Clone)]
pub struct ApiState {
    /// Handlers ask [`Caller`](super::caller::Caller) for it, except those of probes.
    pub(super) broker: Broker,
    pub(super) tokens: Arc<Tokens>,
    pub(super) hosts: Arc<Hosts>,
    pub(super) max_body_bytes: usize,
    pub(super) body_timeout: Duration,
    pub(super) bodies: Arc<BodyLimit>,
    pub(super) connections: ConnectionLimit,
    pub(super) exposition: Arc<Exposition>,
    pub(super) traces: Traces,
}

impl ApiState {
    /// Reads the tokens and the limits of the settings.
    ///
    /// # Errors
    /// [`ApiConfigError`] for the first setting that cannot be used.
    pub fn new(broker: Broker, config: &ApiConfig) -> Result<Self, ApiConfigError> {
        let tokens = Arc::new(Tokens::new(&config.tokens)?.with_metrics_open(config.metrics_open));
        let hosts = Arc::new(Hosts::new(config)?);
        let connections = ConnectionLimit::of(config.max_connections, super::connection_limit::RESERVE);
        let max_body_bytes = config.max_body_bytes;
        let bodies = Arc::new(BodyLimit::new(max_body_bytes, config.max_bodies_bytes, PATIENCE));
        let exposition = Arc::new(Exposition::new(Metrics::off(), broker.clone(), PerWebhook::Auto));
        Ok(Self {
            broker,
            tokens,
            hosts,
            max_body_bytes,
            body_timeout: BODY_TIMEOUT,
            bodies,
            connections,
            exposition,
            traces: Traces::off(),
        })
    }

    /// The same, with the metrics of this process.
    #[must_use]
    pub fn with_metrics(self, exposition: Arc<Exposition>) -> Self {
        Self { exposition, ..self }
    }

    /// The same, and requests that publish are traced.
    #[must_use]
    pub fn with_traces(self, traces: Traces) -> Self {
        Self { traces, ..self }
    }

    /// The same, with as many connections as the limit of open files permits beside what the rest
    /// of the process needs: `reserved` descriptors. A limit in the settings wins.
    #[must_use]
    pub fn beside(mut self, config: &ApiConfig, reserved: usize) -> Self {
        self.connections = ConnectionLimit::of(config.max_connections, reserved);
        self
    }
}
