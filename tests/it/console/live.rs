//! Server-sent events.

use axum::{
    body::Body,
    http::{Request, header},
};
use http_body_util::BodyExt as _;
use pgtopic_testkit::eventually;

use super::{Console, Page, filled};

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

/// Asks for one event of a page.
async fn ask_once(console: &Console, page: &str) -> Page {
    let request = Request::get(format!("/console/{page}")).header(header::ACCEPT, "text/event-stream");
    console.send(request.header("x-once", "1").body(Body::empty()).unwrap()).await
}

/// When the page is to ask again, in milliseconds.
fn retry(page: &Page) -> u32 {
    let retry = page.text.lines().find_map(|line| line.strip_prefix("retry: "));
    retry.unwrap_or_else(|| panic!("{}", page.text)).parse().unwrap()
}

/// A browser has few connections for all its pages.
#[tokio::test]
async fn a_page_without_a_stream_gets_one_event_and_asks_again_later_if_it_takes_long() {
    let database = filled().await;
    let console = Console::new(database.store(), &[]);
    let quick = ask_once(&console, "webhooks").await;
    quick.says(&["data: ", "orders:hook"]);
    assert!(retry(&quick) >= 5_000, "also if the page was quick");
    // A page that waits for a lock takes 100 ms at least.
    let holder = database.client().await;
    holder.batch_execute("BEGIN; LOCK TABLE pgtopic.webhooks IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let hold = async {
        let sql =
            "SELECT FROM pg_locks WHERE NOT granted AND relation = 'pgtopic.webhooks'::regclass LIMIT 1";
        eventually("the page waits", async || holder.query_opt(sql, &[]).await.unwrap()).await;
        holder.batch_execute("SELECT pg_sleep(0.1); COMMIT").await.unwrap();
    };
    let (slow, ()) = tokio::join!(ask_once(&console, "webhooks"), hold);
    slow.says(&["data: ", "orders:hook"]);
    assert!((10_000..=30_000).contains(&retry(&slow)), "{}", retry(&slow));
}

#[tokio::test]
async fn what_an_event_does_not_send_is_not_read() {
    let database = filled().await;
    let client = database.client().await;
    let console = Console::new(database.store(), &[]);
    // The payload is read together with the headers.
    client.batch_execute("ALTER TABLE pgtopic.messages RENAME COLUMN headers TO missing").await.unwrap();
    for page in ["messages/1", "deliveries/1/1"] {
        assert_eq!(console.get(page).await.status, 500, "{page}");
        ask_once(&console, page).await.says(&["data: ", "hook<"]);
    }
}
