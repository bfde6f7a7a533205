use std::time::Duration;

use jiff::Timestamp;

use super::*;
use crate::domain::{
    attempt::{AttemptResult, ErrorClass, Outcome},
    dead_letter::Reason,
    gauges::Gauges,
    health::{Backlog, HealthState},
    metrics::{ConnectionUses, PoolConnections, PublishResult, WakeupSource},
    stats::{Figures, WebhookFigures},
};

/// The metrics of the design, with their labels.
const DESIGN: &str = "publish_requests_total{topic,result} messages_inserted_total \
     attempts_total{topic,webhook,outcome,error} deliveries_settled_total{topic,webhook,result} \
     request_duration_seconds{topic,outcome} delivery_latency_seconds{topic} connections_total{reused} \
     deliveries_owed{topic,webhook} oldest_owed_age_seconds{topic,webhook} lanes{topic,webhook,state} \
     dead_letters{topic,webhook} webhook_state{topic,webhook,state} claim_duration_seconds \
     settle_duration_seconds settle_batch_size wakeups_total{source} takeovers_total stale_settles_total slots \
     slots_in_use workers{state} jobs{kind,state} pool_connections{state} notification_queue_usage_ratio \
     oldest_snapshot_age_seconds oldest_publisher_age_seconds table_dead_tuples{table} log_lines_dropped_total";

/// What is there beside them.
const BESIDE: &str = "background_run_age_seconds{piece,result} build_info{version}";

#[test]
fn the_metrics_are_those_of_the_design() {
    let shown = |metric: &Metric| {
        let name = metric.name.strip_prefix("pgtopic_").unwrap();
        if metric.labels.is_empty() {
            name.to_owned()
        } else {
            format!("{name}{{{}}}", metric.labels.join(","))
        }
    };
    let mut here: Vec<String> = ALL.iter().map(shown).collect();
    let mut expected: Vec<&str> = DESIGN.split_whitespace().chain(BESIDE.split_whitespace()).collect();
    here.sort_unstable();
    expected.sort_unstable();
    assert_eq!(here, expected);
}

#[test]
fn names_say_their_unit_and_labels_are_bounded() {
    for Metric { name, kind, unit, labels, help, .. } in ALL {
        assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
        assert_eq!(name.ends_with("_seconds"), *unit == Unit::Seconds, "{name}");
        assert_eq!(name.ends_with("_ratio"), *unit == Unit::Ratio, "{name}");
        assert!(help.ends_with('.') && help.len() < 200, "{name}: {help}");
        assert!(labels.iter().all(|label| LABELS.contains(label)), "{name}: {labels:?}");
        let webhook = labels.iter().position(|label| *label == "webhook");
        assert!(webhook.is_none_or(|at| at == 1 && labels[0] == "topic"), "{name}: {labels:?}");
        if let Kind::Histogram(buckets) = kind {
            assert!(buckets.is_sorted_by(|a, b| a < b), "{name}");
        }
    }
}

/// The table of `docs/operations.md`.
#[test]
fn the_table_of_the_documentation_is_this_one() {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md"));
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| `pgtopic_")).collect();
    let row = |metric: &Metric| {
        let Metric { name, kind, labels, source, help, .. } = metric;
        let labels = if labels.is_empty() { String::new() } else { format!(" `{}`", labels.join("`, `")) };
        format!("| `{name}` | {kind} |{labels} | {source} | {help} |")
    };
    let expected: Vec<String> = ALL.iter().map(row).collect();
    assert_eq!(rows, expected, "the table should be:\n{}\n", expected.join("\n"));
}

fn result(outcome: Outcome, error_class: Option<ErrorClass>) -> AttemptResult {
    AttemptResult {
        outcome,
        status_code: None,
        error_class,
        error: None,
        duration: Duration::from_millis(20),
        response_excerpt: None,
        retry_after: None,
    }
}

fn has(text: &str, line: &str) {
    assert!(text.lines().any(|other| other == line), "no {line} in {text}");
}

#[test]
fn what_is_reported_is_counted() {
    let metrics = Metrics::new(PerWebhook::Auto);
    let series = WebhookSeries::new("orders", "bill\"ing");
    let at = Timestamp::from_second(100).unwrap();
    let early = Timestamp::from_second(98).unwrap();
    metrics.request_ended(&series, &result(Outcome::Accepted, None), at, &[early, at]);
    metrics.request_ended(&series, &result(Outcome::Failed, Some(ErrorClass::Dns)), at, &[]);
    metrics.settled(&series, 2, &[Reason::Expired]);
    metrics.publish_ended("orders", PublishResult::Repeated);
    metrics.claimed(Duration::from_millis(2));
    metrics.settle_ended(3, Duration::from_millis(2));
    metrics.settles_stale(2);
    metrics.woke(WakeupSource::Sweep);
    metrics.took_over();
    metrics.set_slots(100);
    metrics.set_slots_in_use(7);
    metrics.watch_pool(|| PoolConnections { in_use: 1, idle: 2 });
    metrics.watch_pool(|| PoolConnections { in_use: 3, idle: 4 });
    metrics.watch_client(|| ConnectionUses { new: 5, reused: 6 });
    let text = metrics.render();
    for line in [
        r#"pgtopic_attempts_total{topic="orders",webhook="bill\"ing",outcome="accepted",error=""} 1"#,
        r#"pgtopic_attempts_total{topic="orders",webhook="bill\"ing",outcome="failed",error="dns"} 1"#,
        r#"pgtopic_deliveries_settled_total{topic="orders",webhook="bill\"ing",result="delivered"} 2"#,
        r#"pgtopic_deliveries_settled_total{topic="orders",webhook="bill\"ing",result="expired"} 1"#,
        r#"pgtopic_request_duration_seconds_bucket{topic="orders",outcome="accepted",le="0.01"} 0"#,
        r#"pgtopic_request_duration_seconds_bucket{topic="orders",outcome="accepted",le="0.025"} 1"#,
        r#"pgtopic_delivery_latency_seconds_bucket{topic="orders",le="1"} 1"#,
        r#"pgtopic_delivery_latency_seconds_bucket{topic="orders",le="5"} 2"#,
        r#"pgtopic_publish_requests_total{topic="orders",result="repeated"} 1"#,
        "pgtopic_claim_duration_seconds_count 1",
        r#"pgtopic_settle_batch_size_bucket{le="2"} 0"#,
        r#"pgtopic_settle_batch_size_bucket{le="5"} 1"#,
        "pgtopic_stale_settles_total 2",
        "pgtopic_takeovers_total 1",
        r#"pgtopic_wakeups_total{source="sweep"} 1"#,
        r#"pgtopic_wakeups_total{source="poll"} 0"#,
        "pgtopic_slots 100",
        "pgtopic_slots_in_use 7",
        r#"pgtopic_pool_connections{state="in_use"} 4"#,
        r#"pgtopic_pool_connections{state="idle"} 6"#,
        r#"pgtopic_connections_total{reused="false"} 5"#,
        r#"pgtopic_connections_total{reused="true"} 6"#,
    ] {
        has(&text, line);
    }
    assert_eq!(Metrics::off().render(), "");
}

#[test]
fn above_a_thousand_webhooks_a_topic_is_one() {
    let metrics = Metrics::new(PerWebhook::Auto);
    for (known, webhook) in [(1000, "a"), (1001, "b"), (1001, "c")] {
        metrics.know_webhooks(known);
        metrics.settled(&WebhookSeries::new("orders", webhook), 1, &[]);
    }
    let text = metrics.render();
    has(&text, r#"pgtopic_deliveries_settled_total{topic="orders",webhook="a",result="delivered"} 1"#);
    has(&text, r#"pgtopic_deliveries_settled_total{topic="orders",result="delivered"} 2"#);
    assert!(!text.contains(r#"webhook="b""#), "{text}");
}

/// A webhook that is removed leaves nothing. What does not belong to a webhook stays. What comes back
/// counts, although its keys were kept.
#[test]
fn what_does_not_change_is_forgotten() {
    let metrics = Metrics::with_idle(PerWebhook::On, Duration::from_millis(50));
    let series = WebhookSeries::new("orders", "billing");
    let accepted = result(Outcome::Accepted, None);
    metrics.request_ended(&series, &accepted, Timestamp::UNIX_EPOCH, &[Timestamp::UNIX_EPOCH]);
    assert!(metrics.render().contains("billing"));
    let begun = std::time::Instant::now();
    while metrics.render().contains("orders") {
        assert!(begun.elapsed() < Duration::from_secs(20), "{}", metrics.render());
        std::thread::sleep(Duration::from_millis(20));
    }
    has(&metrics.render(), "pgtopic_takeovers_total 0");
    metrics.request_ended(&series, &accepted, Timestamp::UNIX_EPOCH, &[]);
    has(
        &metrics.render(),
        r#"pgtopic_attempts_total{topic="orders",webhook="billing",outcome="accepted",error=""} 1"#,
    );
}

#[test]
fn gauges_of_webhooks_are_added_up_where_webhooks_have_no_names() {
    let webhook = |webhook: &str, second: i64, state| WebhookFigures {
        webhook_id: 1,
        webhook: webhook.to_owned(),
        topic: "orders".to_owned(),
        state,
        figures: Figures {
            backlog: Backlog {
                owed: second,
                oldest_owed_at: Timestamp::from_second(second).ok(),
                dead_letters: 1,
                ..Backlog::default()
            },
            ..Figures::default()
        },
    };
    let gauges = Gauges {
        read_at: Timestamp::from_second(100).unwrap(),
        webhooks: vec![webhook("a", 90, HealthState::Active), webhook("b", 40, HealthState::Failing)],
        workers: Vec::new(),
        values: Vec::new(),
    };
    let named = render_gauges(&gauges, PerWebhook::Auto);
    for line in [
        r#"pgtopic_deliveries_owed{topic="orders",webhook="a"} 90"#,
        r#"pgtopic_oldest_owed_age_seconds{topic="orders",webhook="b"} 60"#,
        r#"pgtopic_webhook_state{topic="orders",webhook="b",state="failing"} 1"#,
        r#"pgtopic_workers{state="live"} 0"#,
    ] {
        has(&named, line);
    }
    let added = render_gauges(&gauges, PerWebhook::Off);
    for line in [
        r#"pgtopic_deliveries_owed{topic="orders"} 130"#,
        r#"pgtopic_oldest_owed_age_seconds{topic="orders"} 60"#,
        r#"pgtopic_dead_letters{topic="orders"} 2"#,
        r#"pgtopic_webhook_state{topic="orders",state="active"} 1"#,
    ] {
        has(&added, line);
    }
}
