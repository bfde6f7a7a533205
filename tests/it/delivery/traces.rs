//! Spans of what is published and sent, as a collector gets them by OTLP.

use std::{collections::BTreeMap, fmt::Write as _};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value as Any},
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use pgtopic_testkit::{Answer, Http, Process, Scene, TestReceiver, eventually};
use prost::Message as _;
use serde_json::json;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// Starts `serve` with these variables of OpenTelemetry.
async fn serve(scene: &Scene, variables: &[(&str, &str)]) -> (Process, Http) {
    let mut environment = scene.database.environment();
    environment.extend([
        ("PGTOPIC_DELIVERY__ALLOW_NETWORKS", "127.0.0.0/8"),
        ("PGTOPIC_DELIVERY__BACKOFF_FACTOR", "1"),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
    ]);
    environment.extend(variables);
    let mut process = Process::start(&["serve", "--bind", "127.0.0.1:0"], &environment);
    process.wait_for_output("worker is ready").await;
    let http = Http::of(&mut process).await;
    (process, http)
}

/// All spans that the collector has got.
fn spans(collector: &TestReceiver) -> Vec<Span> {
    let mut spans = Vec::new();
    for request in collector.received() {
        assert_eq!(request.path, "/v1/traces");
        assert_eq!(request.header("content-type"), "application/x-protobuf");
        let export = ExportTraceServiceRequest::decode(request.body).unwrap();
        for resource in export.resource_spans {
            let service = attributes(&resource.resource.unwrap().attributes);
            assert_eq!(service["service.name"], "pgtopic");
            spans.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
    }
    spans
}

fn attributes(list: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: Any| match value {
        Any::StringValue(text) => text,
        Any::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    };
    list.iter().map(|pair| (pair.key.clone(), text(pair.value.clone().unwrap().value.unwrap()))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

#[tokio::test]
async fn a_message_is_one_trace_from_its_publisher_to_its_receiver() {
    let scene = Scene::new().await;
    scene.webhook("/secret-path?key=secret", &[("name", "'billing'"), ("max_retries", "2")]).await;
    let first = std::sync::atomic::AtomicBool::new(true);
    scene.receiver.set_script(move |_| {
        if first.swap(false, std::sync::atomic::Ordering::Relaxed) {
            Answer::Status(503)
        } else {
            Answer::Status(204)
        }
    });
    let collector = TestReceiver::accepting().await;
    let (mut process, http) = serve(&scene, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url(""))]).await;
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let body = json!({"payload": {"secret": 1}, "partition_key": "secret"});
    let published = http.post_with("/topics/orders/messages", ("traceparent", &traceparent), &body).await;
    assert_eq!(published["id"], 1);
    let arrived = scene.receiver.wait_for(2).await;
    eventually("five spans", async || (spans(&collector).len() >= 5).then_some(())).await;
    let spans = spans(&collector);
    assert_eq!(spans.len(), 5, "{spans:#?}");
    assert!(spans.iter().all(|span| hex(&span.trace_id) == TRACE), "one trace");
    assert!(!format!("{spans:?}").contains("secret"));

    let [send] = &spans.iter().filter(|span| span.name == "send orders").collect::<Vec<_>>()[..] else {
        panic!("{spans:?}")
    };
    assert_eq!((send.kind, hex(&send.parent_span_id).as_str()), (SpanKind::Producer as i32, PARENT));
    let stored = scene.text("SELECT headers->>'traceparent' FROM messages").await;
    assert_eq!(stored, format!("00-{TRACE}-{}-01", hex(&send.span_id)), "the message has the producer's");
    let expected = json!({
        "messaging.system": "pgtopic", "messaging.operation.name": "send", "messaging.operation.type": "send",
        "messaging.destination.name": "orders", "messaging.message.id": "msg_1",
    });
    assert_eq!(json!(attributes(&send.attributes)), expected);

    // Each attempt is a span of its own, and the receiver got its context.
    for (attempt, request) in arrived.iter().enumerate() {
        let received = request.header("traceparent").to_owned();
        let post =
            spans.iter().find(|span| received == format!("00-{TRACE}-{}-01", hex(&span.span_id))).unwrap();
        assert_eq!((post.name.as_str(), post.kind), ("POST", SpanKind::Client as i32));
        let process = spans.iter().find(|span| span.span_id == post.parent_span_id).unwrap();
        assert_eq!((process.name.as_str(), process.kind), ("process orders", SpanKind::Consumer as i32));
        assert_eq!(process.parent_span_id, send.span_id);
        let of_process = attributes(&process.attributes);
        assert_eq!(of_process["messaging.destination.subscription.name"], "billing");
        assert_eq!(of_process["messaging.message.id"], "msg_1");
        let mut expected = json!({
            "http.request.method": "POST", "url.scheme": "http", "server.address": "127.0.0.1",
            "server.port": scene.receiver.address().port().to_string(),
        });
        let failed = attempt == 0;
        expected["http.response.status_code"] = if failed { "503" } else { "204" }.into();
        if failed {
            expected["error.type"] = "503".into();
        } else {
            expected["http.request.resend_count"] = "1".into();
        }
        assert_eq!(json!(attributes(&post.attributes)), expected);
        for span in [post, process] {
            let code = span.status.as_ref().map_or(0, |status| status.code);
            assert_eq!(code == StatusCode::Error as i32, failed, "{span:?}");
        }
        assert_eq!(of_process.get("error.type").map(String::as_str), failed.then_some("503"));
    }

    // A batch has a link to each of its messages. What was published with SQL, and brings no trace,
    // begins one. A worker that runs would learn of the new size a moment later.
    process.stop().await;
    scene.sql("UPDATE webhooks SET batch_size = 10").await;
    let (mut process, http) = serve(&scene, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url(""))]).await;
    let own = format!("00-{TRACE}-1111111111111111-01");
    let body = json!({"messages": [{"payload": 1, "headers": {"traceparent": own}}, {"payload": 2}]});
    http.post("/topics/orders/messages/batch", &body).await;
    scene.receiver.wait_for(3).await;
    scene.publish(&["alone"]).await;
    scene.receiver.wait_for(4).await;
    // What was not exported yet is exported at the end.
    process.stop().await;
    let later = &self::spans(&collector)[5..];
    assert_eq!(later.len(), 5, "{later:#?}");
    let named = |name: &str| later.iter().filter(|span| span.name == name).collect::<Vec<_>>();
    let [send] = named("send orders")[..] else { panic!("{later:?}") };
    assert_eq!(attributes(&send.attributes)["messaging.batch.message_count"], "2");
    let processed = named("process orders");
    let batch = processed.iter().find(|span| !span.links.is_empty()).unwrap();
    assert_eq!(attributes(&batch.attributes)["messaging.batch.message_count"], "2");
    let links: Vec<String> = batch.links.iter().map(|link| hex(&link.span_id)).collect();
    assert_eq!(links, ["1111111111111111".to_owned(), hex(&send.span_id)], "its own, or the producer's");
    let alone = processed.iter().find(|span| span.links.is_empty()).unwrap();
    assert!(alone.parent_span_id.is_empty() && hex(&alone.trace_id) != TRACE, "{alone:?}");
}

/// Nobody listens where spans go. Messages are delivered, the log says it once, and the process ends.
#[tokio::test]
async fn without_a_collector_messages_are_delivered_all_the_same() {
    let scene = Scene::with_webhook(&[]).await;
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint), ("OTEL_EXPORTER_OTLP_TIMEOUT", "500")];
    let (mut process, _http) = serve(&scene, &variables).await;
    scene.publish(&["a", "b", "c"]).await;
    process.wait_for_output("spans could not be exported").await;
    scene.publish(&["d", "e"]).await;
    scene.all_delivered(&["/"]).await;
    let ended = process.stop().await;
    assert_eq!(ended.output.matches("spans could not be exported").count(), 1, "{}", ended.output);
}

#[tokio::test]
async fn a_variable_that_asks_for_something_else_is_refused() {
    let scene = Scene::new().await;
    let mut environment = scene.database.environment();
    environment.extend([("OTEL_TRACES_EXPORTER", "otlp"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]);
    let ended = Process::run(&["worker"], &environment).await;
    assert_eq!(ended.code(), 2, "{}", ended.output);
    assert!(
        ended.output.contains("OTEL_EXPORTER_OTLP_PROTOCOL must be http/protobuf, not grpc"),
        "{}",
        ended.output
    );
}
