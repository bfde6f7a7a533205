//! Server-sent events.

use axum::{
    body::Body,
    http::{Request, header},
};
use http_body_util::BodyExt as _;

use super::{Console, filled};

#[tokio::test]
async fn a_page_is_told_what_has_changed_and_no_more_after_the_logout() {
    let database = filled().await;
    let mut console = Console::new(database.store(), &["admin:all"]);
    console.log_in("all").await;
    let request = Request::get("/console/webhooks/1").header(header::ACCEPT, "text/html, text/event-stream");
    let response = console.answer(request.body(Body::empty()).unwrap()).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    let mut body = response.into_body();
    let mut event = async || {
        let mut text = String::new();
        while !text.ends_with("\n\n") {
            let Some(frame) = body.frame().await else { return text };
            text.push_str(std::str::from_utf8(frame.unwrap().data_ref().unwrap()).unwrap());
        }
        text
    };
    // The changing part alone: neither the layout nor the forms.
    let first = event().await;
    assert!(first.starts_with("data: ") && first.contains("orders"), "{first}");
    assert!(!first.contains("<html") && !first.contains("Pause"), "{first}");
    console.post("webhooks/1/pause", &[]).await;
    loop {
        let next = event().await;
        assert!(!next.is_empty(), "the stream has ended");
        if next.contains("paused") {
            break;
        }
    }
    console.post("logout", &[]).await;
    while !event().await.is_empty() {}
}

/// A browser has few connections for all its pages.
#[tokio::test]
async fn a_page_without_a_stream_gets_one_event_and_asks_again() {
    let database = filled().await;
    let console = Console::new(database.store(), &[]);
    let request = Request::get("/console/webhooks").header(header::ACCEPT, "text/event-stream");
    let page = console.send(request.header("x-once", "1").body(Body::empty()).unwrap()).await;
    page.says(&["retry: 5000", "data: ", "orders:hook"]);
}
