//! What a request costs before it reaches a socket, and what the rules cost: `cargo bench`.
//!
//! `pgtopic-bench` measures everything with a database or a receiver.

use std::{hint::black_box, net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use jiff::Timestamp;
use pgtopic::{
    delivery::{AddressGuard, PreparedTarget, SigningKey},
    domain::{
        attempt::{AttemptResult, ErrorClass},
        breaker::BreakerPolicy,
        message::Message,
        policy::{OnExhausted, Policy},
        retry::after_failure,
        target::Target,
        webhook::Format,
    },
};
use secrecy::ExposeSecret as _;

const POLICY: Policy = Policy {
    max_retries: 5,
    backoff_factor: 2.0,
    max_backoff: Duration::from_hours(1),
    retry_schedule: Vec::new(),
    permanent_statuses: Vec::new(),
    timeout: Duration::from_secs(10),
    on_exhausted: OnExhausted::DeadLetter,
    max_in_flight: None,
    max_age: None,
    latest_only: false,
};

fn payload(bytes: usize) -> Bytes {
    format!("{{\"event\":\"{}\"}}", "x".repeat(bytes - 12)).into()
}

fn messages(count: i64, bytes: usize) -> Vec<Message> {
    let message = |id| Message {
        r#type: None,
        replay: false,
        born: std::time::Instant::now(),
        id,
        partition_key: Arc::from("user-42"),
        payload: payload(bytes),
        headers: None,
        created_at: Timestamp::UNIX_EPOCH,
    };
    (1..=count).map(message).collect()
}

fn target(format: Format, batch_size: usize) -> Target {
    Target {
        name: "billing".to_owned(),
        webhook_id: 1,
        source: "pgtopic".into(),
        topic: "orders".to_owned(),
        ordered: true,
        url: "https://example.com/hook".to_owned(),
        secrets: vec![SigningKey::generate()],
        headers: Vec::new(),
        format,
        batch_size,
        policy: POLICY,
        rate_limit_per_second: None,
        held_for: None,
        breaker: BreakerPolicy::Auto,
        deliverable: true,
    }
}

fn sign(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sign");
    let secret = SigningKey::generate();
    let key = SigningKey::parse(secret.expose_secret()).expect("a new secret is valid");
    for bytes in [300, 16 << 10] {
        let body = payload(bytes);
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_with_input(BenchmarkId::from_parameter(bytes), &body, |bencher, body| {
            bencher.iter(|| key.sign(black_box("msg_1"), black_box(1_700_000_000), black_box(body)));
        });
    }
    group.finish();
}

fn request(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("request");
    for (name, format, count) in
        [("raw", Format::Raw, 1), ("envelope", Format::Envelope, 1), ("raw, batch of 10", Format::Raw, 10)]
    {
        let batch = usize::try_from(count).expect("small");
        let prepared = PreparedTarget::new(&target(format, batch)).expect("a valid webhook");
        let messages = messages(count, 300);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let messages = black_box(&messages);
                let last = messages.last().expect("one at least");
                prepared.request(messages, last, 1, 1_700_000_000, None)
            });
        });
    }
    group.finish();
}

fn rules(criterion: &mut Criterion) {
    let guard = AddressGuard::default();
    let address: IpAddr = "93.184.216.34".parse().expect("an address");
    criterion.bench_function("address guard", |bencher| bencher.iter(|| guard.check(black_box(address))));
    criterion.bench_function("after failure", |bencher| {
        let result = AttemptResult::no_request(String::new());
        let result = AttemptResult { error_class: Some(ErrorClass::Status), ..result };
        bencher.iter(|| after_failure(black_box(&POLICY), black_box(3), black_box(&result), black_box(0.5)));
    });
    let target = target(Format::Raw, 1);
    criterion.bench_function("prepare webhook", |bencher| {
        bencher.iter(|| PreparedTarget::new(black_box(&target)));
    });
}

criterion_group!(benches, sign, request, rules);
criterion_main!(benches);
