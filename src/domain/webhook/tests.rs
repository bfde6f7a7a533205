use proptest::prelude::*;

use super::{super::range::Point, *};

fn webhook() -> NewWebhook {
    NewWebhook {
        topic: Some("orders".to_owned()),
        url: "https://example.com/".to_owned(),
        ..NewWebhook::default()
    }
}

fn broken(checked: Result<(), Violations>) -> Vec<String> {
    let violations = checked.err().map(Violations::into_vec).unwrap_or_default();
    violations.into_iter().map(|violation| violation.field).collect()
}

#[test]
fn every_broken_rule_is_named() {
    let webhook = NewWebhook {
        topic_id: Some(1),
        start_from: StartFrom::At(Point::Id(0)),
        types: Some(Vec::new()),
        filter: Some(String::new()),
        batch_size: Some(0),
        max_retries: Some(0),
        backoff_factor: Some(0.5),
        max_backoff_seconds: Some(0),
        timeout_seconds: Some(601),
        max_in_flight: Some(0),
        rate_limit_per_second: Some(0.0),
        max_age_seconds: Some(0),
        ..webhook()
    };
    let policy = [
        "types",
        "filter",
        "batch_size",
        "max_retries",
        "backoff_factor",
        "max_backoff_seconds",
        "timeout_seconds",
        "max_in_flight",
        "rate_limit_per_second",
        "max_age_seconds",
    ];
    assert_eq!(broken(webhook.check()), [&["topic", "start_from"][..], &policy].concat());
    let changes = WebhookChanges {
        types: Some(webhook.types),
        filter: Some(webhook.filter),
        batch_size: webhook.batch_size,
        max_retries: Some(webhook.max_retries),
        backoff_factor: Some(webhook.backoff_factor),
        max_backoff_seconds: Some(webhook.max_backoff_seconds),
        timeout_seconds: Some(webhook.timeout_seconds),
        max_in_flight: Some(webhook.max_in_flight),
        rate_limit_per_second: Some(webhook.rate_limit_per_second),
        max_age_seconds: Some(webhook.max_age_seconds),
        ..WebhookChanges::default()
    };
    assert_eq!(broken(changes.check()), policy);
}

#[test]
fn the_limits_of_headers_hold_for_a_webhook_and_its_changes() {
    let headers = |count| Some((0..count).map(|n| (format!("x-{n}"), String::new())).collect());
    for (count, fields) in [(64, &[][..]), (65, &["headers"])] {
        assert_eq!(broken(NewWebhook { headers: headers(count), ..webhook() }.check()), fields);
        assert_eq!(broken(WebhookChanges { headers: headers(count), ..Default::default() }.check()), fields);
    }
}

proptest! {
    #[test]
    fn numbers_within_their_ranges_are_taken(
        batch_size in -5i32..1100, timeout in -5i32..700, factor in -5.0f64..120.0, attempts in -5i32..1100,
    ) {
        let webhook = NewWebhook {
            batch_size: Some(batch_size),
            timeout_seconds: Some(timeout),
            backoff_factor: Some(factor),
            max_retries: Some(attempts),
            ..webhook()
        };
        let holds = (1..=1000).contains(&batch_size) && (1..=600).contains(&timeout)
            && (1.0..=100.0).contains(&factor) && (1..=1000).contains(&attempts);
        prop_assert_eq!(webhook.check().is_ok(), holds);
    }
}
