//! Recorders of the crate `metrics-exporter-prometheus`, and the keys of series.

use std::time::Duration;

use metrics::{Key, Label, Level, Metadata, Recorder as _, SharedString};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};
use metrics_util::MetricKindMask;

use super::table::{ALL, Kind, Metric, Source, Unit};

/// What the crate wants to know of each use of a metric. Nothing reads it.
pub(super) static METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

/// A recorder in which the metrics of `source` are described. A counter or histogram that has not
/// changed for `idle` is forgotten.
///
/// # Panics
/// Never: no metric has an empty list of buckets.
pub(super) fn recorder(source: Source, idle: Option<Duration>) -> PrometheusRecorder {
    let of_source = || ALL.iter().filter(|metric| metric.source == source);
    let mut builder =
        PrometheusBuilder::new().idle_timeout(MetricKindMask::COUNTER | MetricKindMask::HISTOGRAM, idle);
    for metric in of_source() {
        if let Kind::Histogram(buckets) = metric.kind {
            let name = Matcher::Full(metric.name.to_owned());
            builder = builder.set_buckets_for_metric(name, buckets).expect("there are buckets");
        }
    }
    let recorder = builder.build_recorder();
    for metric in of_source() {
        let unit = match metric.unit {
            Unit::Count => metrics::Unit::Count,
            Unit::Seconds => metrics::Unit::Seconds,
            // The crate knows no ratio. It writes no units.
            Unit::Ratio => metrics::Unit::Percent,
        };
        let (name, unit, help) = (metric.name.into(), Some(unit), metric.help.into());
        match metric.kind {
            Kind::Counter => recorder.describe_counter(name, unit, help),
            Kind::Gauge => recorder.describe_gauge(name, unit, help),
            Kind::Histogram(_) => recorder.describe_histogram(name, unit, help),
        }
    }
    recorder
}

/// The key of a series: the values of the metric's labels, in their order. `None` leaves a label
/// out.
pub(super) fn key(metric: &Metric, values: impl IntoIterator<Item = Option<SharedString>>) -> Key {
    let labels = metric.labels.iter().zip(values);
    let labels: Vec<Label> = labels.filter_map(|(label, value)| Some(Label::new(*label, value?))).collect();
    Key::from_parts(metric.name, labels)
}

/// The same for texts that are never left out.
pub(super) fn series(metric: &Metric, values: &[&str]) -> Key {
    debug_assert_eq!(metric.labels.len(), values.len(), "{}", metric.name);
    key(metric, values.iter().map(|value| Some(SharedString::from((*value).to_owned()))))
}

/// A number as Prometheus has it.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub(super) fn number(count: usize) -> f64 {
    count as f64
}
