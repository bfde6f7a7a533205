//! Every limit and every list of words is in Rust (`domain`) and in the database. Both must be the
//! same.

use std::{collections::BTreeMap, fmt::Display, ops::RangeInclusive};

use pgtopic::{
    config::Notify,
    domain::{
        attempt::{ErrorClass, Outcome},
        breaker::{BreakerPolicy, BreakerState},
        change::ChangeKind,
        dead_letter::Reason,
        headers::{HEADERS_BYTES_MAX, HEADERS_MAX},
        job::{JobKind, JobState},
        key::{IDEMPOTENCY_KEY_MAX, PARTITION_KEY_MAX, TYPE_MAX},
        message_type::TYPES,
        policy::{
            BACKOFF_FACTOR, BATCH_SIZE, MAX_AGE_SECONDS, MAX_BACKOFF_SECONDS, MAX_IN_FLIGHT, MAX_OWED,
            MAX_RETRIES, OnExhausted, OnOverflow, PERMANENT_STATUS, PERMANENT_STATUSES,
            RATE_LIMIT_PER_SECOND, RETRY_SCHEDULE, RETRY_SCHEDULE_SECONDS, TIMEOUT_SECONDS,
        },
        topic::{NAME_MAX, Ordering, RETENTION_SECONDS, TopicPause},
        webhook::{Format, WebhookState},
    },
};

use pgtopic::store::CELLS;
use pgtopic_testkit::TestDatabase;

/// Rules that are not in Rust, and why.
const IN_SQL_ALONE: [&str; 12] = [
    // A table of one row.
    "installed_one_check",
    "installation_one_check",
    "leader_one_check",
    "sampled_one_check",
    // The row must keep what the trigger has computed.
    "messages_lane_check",
    // Rust has no other type for them.
    "webhooks_headers_check",
    "sessions_hash_check",
    "sessions_token_digest_check",
    // They compare columns, not numbers.
    "webhooks_retry_schedule_alone_check",
    "webhooks_keep_latest_singly_check",
    "webhooks_refuse_limit_check",
    // No setting and no request says how large a payload may be.
    "topics_max_payload_bytes_check",
];

/// `column BETWEEN … AND …`, as PostgreSQL writes it. `literal` writes a number.
fn between<T>(column: &str, range: &RangeInclusive<T>, literal: impl Fn(&T) -> String) -> String {
    let (least, most) = (literal(range.start()), literal(range.end()));
    format!("CHECK ((({column} >= {least}) AND ({column} <= {most})))")
}

fn integers(column: &str, range: &RangeInclusive<i32>) -> String {
    between(column, range, i32::to_string)
}

fn floats(column: &str, range: &RangeInclusive<f64>) -> String {
    between(column, range, |number| format!("({number})::double precision"))
}

/// A list of integers: how many, and how large.
fn lists(column: &str, count: &RangeInclusive<i32>, numbers: &RangeInclusive<i32>) -> String {
    format!(
        "CHECK (((array_ndims({column}) = 1) AND ((cardinality({column}) >= {}) AND (cardinality({column}) <= {})) AND \
         (array_position({column}, NULL::integer) IS NULL) AND ({} <= ALL ({column})) AND ({} >= ALL ({column}))))",
        count.start(),
        count.end(),
        numbers.start(),
        numbers.end()
    )
}

/// `column IN (…)`, as PostgreSQL writes it.
fn one_of<W: Display>(column: &str, words: impl IntoIterator<Item = W>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| format!("'{word}'::text")).collect();
    format!("CHECK (({column} = ANY (ARRAY[{}])))", words.join(", "))
}

/// Each CHECK, as it must be according to `domain`.
fn expected() -> BTreeMap<&'static str, String> {
    let seconds = |seconds: &i64| {
        format!("'{:02}:{:02}:{:02}'::interval", seconds / 3600, seconds / 60 % 60, seconds % 60)
    };
    let error_class = || one_of("error_class", ErrorClass::ALL.map(ErrorClass::as_str));
    [
        (
            "topics_name_check",
            format!(
                "CHECK (((name ~ '^[A-Za-z0-9._-]{{1,{NAME_MAX}}}$'::text) AND (name !~ '^[0-9]+$'::text) AND (name !~ '^[.]{{1,2}}$'::text)))"
            ),
        ),
        (
            "webhooks_name_check",
            format!(
                "CHECK (((name ~ '^[A-Za-z0-9._-]{{1,{NAME_MAX}}}$'::text) AND (name !~ '^[0-9]+$'::text) AND (name !~ '^[.]{{1,2}}$'::text)))"
            ),
        ),
        ("topics_paused_check", one_of("paused", TopicPause::ALL.map(TopicPause::as_str))),
        ("changes_kind_check", one_of("kind", ChangeKind::ALL.map(ChangeKind::as_str))),
        ("jobs_kind_check", one_of("kind", JobKind::ALL.map(JobKind::as_str))),
        ("jobs_state_check", one_of("state", JobState::ALL.map(JobState::as_str))),
        ("topics_ordering_check", one_of("ordering", Ordering::ALL.map(Ordering::as_str))),
        ("topics_retention_check", between("retention", &RETENTION_SECONDS, seconds)),
        ("webhooks_types_check", integers("cardinality(types)", &TYPES)),
        ("webhooks_format_check", one_of("format", Format::ALL.map(Format::as_str))),
        ("webhooks_batch_size_check", integers("batch_size", &BATCH_SIZE)),
        ("webhooks_max_retries_check", integers("max_retries", &MAX_RETRIES)),
        ("webhooks_backoff_factor_check", floats("backoff_factor", &BACKOFF_FACTOR)),
        ("webhooks_max_backoff_seconds_check", integers("max_backoff_seconds", &MAX_BACKOFF_SECONDS)),
        (
            "webhooks_retry_schedule_check",
            lists("retry_schedule", &RETRY_SCHEDULE, &RETRY_SCHEDULE_SECONDS),
        ),
        (
            "webhooks_permanent_statuses_check",
            lists("permanent_statuses", &PERMANENT_STATUSES, &PERMANENT_STATUS),
        ),
        ("webhooks_timeout_seconds_check", integers("timeout_seconds", &TIMEOUT_SECONDS)),
        ("webhooks_max_owed_check", integers("max_owed", &MAX_OWED)),
        ("webhooks_on_overflow_check", one_of("on_overflow", OnOverflow::ALL.map(OnOverflow::as_str))),
        ("webhooks_max_age_seconds_check", integers("max_age_seconds", &MAX_AGE_SECONDS)),
        ("webhooks_on_exhausted_check", one_of("on_exhausted", OnExhausted::ALL.map(OnExhausted::as_str))),
        ("webhooks_breaker_check", one_of("breaker", BreakerPolicy::ALL.map(BreakerPolicy::as_str))),
        // A probe that is under way is no state of its own in the table.
        (
            "breakers_state_check",
            one_of("state", [BreakerState::Closed, BreakerState::Open].map(BreakerState::as_str)),
        ),
        ("webhooks_max_in_flight_check", integers("max_in_flight", &MAX_IN_FLIGHT)),
        ("webhooks_rate_limit_per_second_check", floats("rate_limit_per_second", &RATE_LIMIT_PER_SECOND)),
        (
            "webhooks_headers_size_check",
            format!("CHECK ((octet_length((headers)::text) <= {HEADERS_BYTES_MAX}))"),
        ),
        ("webhooks_state_check", one_of("state", WebhookState::ALL.map(WebhookState::as_str))),
        ("installation_cell_check", integers("cell", &(0..=CELLS - 1))),
        ("installation_notify_check", one_of("notify", Notify::ALL.map(Notify::as_str))),
        ("attempts_outcome_check", one_of("outcome", Outcome::ALL.map(Outcome::as_str))),
        ("attempts_error_class_check", error_class()),
        ("dead_letters_reason_check", one_of("reason", Reason::ALL.map(Reason::as_str))),
        ("dead_letters_error_class_check", error_class()),
    ]
    .into()
}

#[tokio::test]
async fn every_check_of_the_schema_is_what_the_domain_says() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let sql = "SELECT k.conname::text, pg_get_constraintdef(k.oid)
                 FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
                WHERE k.connamespace = 'pgtopic'::regnamespace AND k.contype = 'c' AND NOT c.relispartition
                ORDER BY 1";
    let rows = client.query(sql, &[]).await.unwrap();
    let found: BTreeMap<String, String> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let mut expected = expected();
    for (name, definition) in &found {
        match expected.remove(name.as_str()) {
            Some(rule) => assert_eq!(*definition, rule, "{name}"),
            None => {
                assert!(
                    IN_SQL_ALONE.contains(&name.as_str()),
                    "{name} has no copy in `domain`: {definition}"
                );
            }
        }
    }
    assert!(expected.is_empty(), "not in the schema: {expected:?}");
}

/// The limits of a message are in functions that the trigger calls. A CHECK would cost every
/// publisher more (decision 0021).
#[tokio::test]
async fn the_limits_of_a_message_are_what_the_domain_says() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    for (function, rule) in [
        (
            "messages_validate",
            format!("octet_length(message.partition_key) NOT BETWEEN 1 AND {PARTITION_KEY_MAX} "),
        ),
        (
            "messages_validate",
            format!("octet_length(message.idempotency_key) NOT BETWEEN 1 AND {IDEMPOTENCY_KEY_MAX} "),
        ),
        ("messages_validate", format!("octet_length(message.type) NOT BETWEEN 1 AND {TYPE_MAX} ")),
        ("messages_publish", format!("octet_length(NEW.type), 1) OPERATOR(pg_catalog.<=) {TYPE_MAX}\n")),
        ("webhooks_validate", format!("octet_length(t.name) BETWEEN 1 AND {TYPE_MAX} ")),
        ("messages_validate", format!("count(*) <= {HEADERS_MAX} ")),
        ("headers_problem", format!("octet_length(headers::text) > {HEADERS_BYTES_MAX} ")),
        ("headers_problem", format!("json_object_keys(headers)) > {HEADERS_MAX} ")),
        ("set_cell", format!("INCREMENT BY {CELLS};")),
        ("set_cell", format!("(given / {CELLS} + 1) * {CELLS} ")),
    ] {
        let sql = format!("SELECT prosrc FROM pg_proc WHERE oid = 'pgtopic.{function}'::regproc");
        let source: String = client.query_one(&sql, &[]).await.unwrap().get(0);
        assert!(source.contains(&rule), "{function}: {rule}");
    }
}
