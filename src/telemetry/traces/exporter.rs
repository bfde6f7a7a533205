//! The exporter: OTLP over HTTP. A failure is a line of the log, at most one in ten seconds. It never
//! holds up a delivery: spans wait in a queue, and those for which there is no room are lost.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use hyper_rustls::HttpsConnectorBuilder;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_otlp::{SpanExporter as Otlp, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{SpanData, SpanExporter},
};
use rustls_platform_verifier::ConfigVerifierExt as _;

use super::settings::TracesError;
use crate::telemetry::LogThrottle;

/// How long one request to the collector may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// An exporter that logs its failures.
#[derive(Debug)]
pub(super) struct Exporter {
    otlp: Otlp,
    failed: Mutex<LogThrottle>,
}

impl Exporter {
    /// An exporter to where the standard variables say.
    pub(super) fn new() -> Result<Self, TracesError> {
        let failed = |error: &dyn std::fmt::Display| TracesError::Exporter(error.to_string());
        let tls = rustls::ClientConfig::with_platform_verifier().map_err(|error| failed(&error))?;
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        let client = HyperClient::new(connector, TIMEOUT, None);
        let otlp = Otlp::builder().with_http().with_http_client(client).build();
        Ok(Self { otlp: otlp.map_err(|error| failed(&error))?, failed: Mutex::new(LogThrottle::new()) })
    }
}

impl SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let exported = self.otlp.export(batch).await;
        if let Err(error) = &exported {
            let left_out = self.failed.lock().unwrap_or_else(PoisonError::into_inner).say(Instant::now());
            if let Some(left_out) = left_out {
                tracing::warn!(%error, spans, left_out, "spans could not be exported, and are lost");
            }
        }
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.otlp.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.otlp.set_resource(resource);
    }
}
