//! Traces: spans of what is published over HTTP and of what is sent, by OpenTelemetry.
//!
//! | span | kind | parent |
//! |---|---|---|
//! | `send {topic}` | producer | the `traceparent` of the request that publishes |
//! | `process {topic}` | consumer | the `traceparent` of the message |
//! | `POST` | client | `process {topic}`; the receiver gets its context as `traceparent` |
//!
//! The standard variables `OTEL_*` switch traces on. Off, there is neither exporter nor span. The
//! spans are made here directly, without the crate `tracing`: its spans are those of the log.
//!
//! Attributes follow the semantic conventions of OpenTelemetry. No key, no payload and no path of a
//! URL is in them.

mod exporter;
mod settings;
mod spans;

use std::{borrow::Cow, collections::HashMap, fmt, sync::Arc, time::Duration};

use opentelemetry::{
    Context, KeyValue,
    propagation::TextMapPropagator as _,
    trace::{SpanContext, SpanKind, TraceContextExt as _, Tracer as _, TracerProvider as _},
};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    runtime,
    trace::{SdkTracer, SdkTracerProvider, Span, span_processor_with_async_runtime::BatchSpanProcessor},
};

use self::exporter::Exporter;
pub use self::settings::TracesError;
pub(crate) use self::spans::{DeliverySpan, Outgoing, PublishSpan};

/// How long the end of a process waits for spans that are not exported yet, at most.
const FLUSH_LIMIT: Duration = Duration::from_secs(3);

/// The traces of this process. Clones are cheap, and share everything.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<Inner>>);

struct Inner {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl Traces {
    /// No traces.
    pub fn off() -> Self {
        Self(None)
    }

    /// Traces as the standard variables of this process say. It needs a Tokio runtime.
    ///
    /// # Errors
    /// [`TracesError`] if a variable cannot be used.
    pub fn of_process() -> Result<Self, TracesError> {
        if !settings::is_on(|name| std::env::var(name).ok())? {
            return Ok(Self::off());
        }
        let mut resource = Resource::builder();
        if std::env::var_os("OTEL_SERVICE_NAME").is_none_or(|name| name.is_empty()) {
            resource = resource.with_service_name("pgtopic");
        }
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let processor = BatchSpanProcessor::builder(Exporter::new()?, runtime::Tokio).build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .with_resource(resource.with_attribute(version).build())
            .build();
        tracing::info!("traces are exported");
        Ok(Self(Some(Arc::new(Inner { tracer: provider.tracer("pgtopic"), provider }))))
    }

    /// Exports what waits, for 3 s at most.
    pub async fn close(&self) {
        let Some(inner) = self.0.clone() else { return };
        // It blocks its thread. If the collector hangs, the process does not wait for it.
        let closing = tokio::task::spawn_blocking(move || inner.provider.shutdown());
        if tokio::time::timeout(FLUSH_LIMIT, closing).await.is_err() {
            tracing::warn!("the last spans could not be exported in time, and are lost");
        }
    }

    fn start(
        &self,
        name: impl Into<Cow<'static, str>>,
        kind: SpanKind,
        parent: &Context,
        attributes: Vec<KeyValue>,
    ) -> Option<Span> {
        let tracer = &self.0.as_ref()?.tracer;
        let builder = tracer.span_builder(name).with_kind(kind).with_attributes(attributes);
        Some(tracer.build_with_context(builder, parent))
    }
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traces").field("on", &self.0.is_some()).finish_non_exhaustive()
    }
}

/// The context of these headers; an empty one if they hold none.
fn context(headers: &HashMap<String, String>) -> Context {
    TraceContextPropagator::new().extract_with_context(&Context::new(), headers)
}

/// A context as the header `traceparent`.
fn traceparent(context: &SpanContext) -> String {
    format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), context.trace_flags().to_u8() & 1)
}

/// The context in which a span is the parent.
fn within(span: &SpanContext) -> Context {
    Context::new().with_remote_span_context(span.clone())
}
