//! Sessions, roles, limited tokens, where a change comes from, and the headers of each answer.

use axum::{
    body::Body,
    http::{Method, Request, header},
};

use super::{Console, filled};

const TOKENS: [&str; 6] = [
    "admin:all",
    "operate:operator",
    "read:blind",
    "publish:publisher",
    "admin@orders:some",
    "read@invoices:reader",
];

#[tokio::test]
async fn a_session_lasts_as_long_as_its_token_and_counts_in_each_process() {
    let database = filled().await;
    let mut console = Console::new(database.store(), &TOKENS);
    assert_eq!(console.get("").await.location(), "./login?next=.%2F");
    let leads = console.get("topics/orders?type=a").await;
    assert_eq!(leads.location(), "../login?next=topics%2Forders%3Ftype%3Da");
    let request = Request::get("/console/").header(header::ACCEPT, "text/event-stream");
    assert_eq!(console.send(request.body(Body::empty()).unwrap()).await.status, 401);
    assert_eq!(console.log_in("unknown").await.status, 401);
    assert_eq!(console.cookie, None);

    let page = console.log_in("all").await;
    assert_eq!(page.location(), "./");
    let cookie = page.headers[header::SET_COOKIE].to_str().unwrap();
    assert!(cookie.ends_with("; Max-Age=43200; HttpOnly; SameSite=Lax"), "{cookie}");
    console.get("").await.says(&["Log out", "admin"]);
    // What is stored is neither the cookie nor the token.
    let value = console.cookie.clone().unwrap();
    let client = database.client().await;
    let row = client.query_one("SELECT s::text FROM pgtopic.sessions s", &[]).await.unwrap();
    let stored: String = row.get(0);
    assert!(!stored.contains(value.split_once('=').unwrap().1), "{stored}");

    // Another process knows the session, unless its settings do not have the token.
    let mut other = Console::new(database.store(), &TOKENS);
    other.cookie = Some(value.clone());
    other.get("").await.says(&["Log out"]);
    let mut without = Console::new(database.store(), &TOKENS[1..]);
    without.cookie = Some(value.clone());
    assert_eq!(without.get("").await.status, 303);

    assert_eq!(console.post("logout", &[]).await.location(), "login");
    assert_eq!(other.get("").await.status, 303);
    console.log_in("all").await;
    client.execute("UPDATE pgtopic.sessions SET expires_at = now()", &[]).await.unwrap();
    assert_eq!(console.get("").await.status, 303);
    // The next login deletes it.
    console.log_in("all").await;
    let left = client.query_one("SELECT count(*) FROM pgtopic.sessions", &[]).await.unwrap();
    assert_eq!(left.get::<_, i64>(0), 1);
}

#[tokio::test]
async fn each_role_sees_and_does_what_it_may() {
    let database = filled().await;
    let mut console = Console::new(database.store(), &TOKENS);
    // It publishes, and reads nothing.
    console.log_in("publisher").await;
    for page in ["", "topics", "topics/orders", "messages/1", "workers", "jobs", "dead-letters"] {
        assert_eq!(console.get(page).await.status, 403, "{page}");
    }
    let published = console.post("topics/orders/publish", &[("payload", "{}")]).await;
    assert_eq!(published.location(), "../../messages/3");
    // It reads, but no payloads, and changes nothing.
    console.log_in("blind").await;
    console.get("messages/1").await.says(&["does not see payloads"]).says_not(&["paid"]);
    assert_eq!(console.get("messages/1/payload").await.status, 403);
    console.get("webhooks/1").await.says_not(&["<button class=\"danger\">Pause"]);
    console.get("topics/orders").await.says_not(&["Publish a message"]);
    for change in ["webhooks/1/pause", "dead-letters/replay", "topics/orders/publish"] {
        let answer = console.post(change, &[("payload", "{}")]).await.status;
        // An unknown field of a filter is refused first.
        assert!([403, 422].contains(&answer.as_u16()), "{change}: {answer}");
    }
    assert_eq!(console.post("dead-letters/replay", &[]).await.status, 403);
    // It pauses, and does not publish.
    console.log_in("operator").await;
    console.get("webhooks/1").await.says(&["Pause"]);
    assert_eq!(console.post("topics/orders/publish", &[("payload", "{}")]).await.status, 403);
    // It sees one topic.
    console.log_in("some").await;
    for (page, seen) in [
        ("topics", "topics/orders"),
        ("webhooks", "orders:hook"),
        ("", "Nothing needs attention"),
        ("dead-letters", "orders:hook"),
    ] {
        console.get(page).await.says(&[seen]).says_not(&["invoices", "secret-key"]);
    }
    // A job must know which topic is meant.
    let all = console.get("dead-letters").await;
    all.says(&["choose a topic or a webhook first"]).says_not(&["dead-letters/replay?"]);
    console.get("dead-letters?topic=orders").await.says(&["dead-letters/replay?topic=orders"]);
    for other in
        ["topics/invoices", "webhooks/2", "messages/2", "messages/2/payload", "dead-letters?webhook_id=2"]
    {
        assert_eq!(console.get(other).await.status, 404, "{other}");
    }
    assert_eq!(console.post("webhooks/2/pause", &[]).await.status, 404);
    assert_eq!(console.get("workers").await.status, 403);
    assert_eq!(console.get("dead-letters/replay").await.status, 403);
    assert_eq!(console.post("dead-letters/discard", &[]).await.status, 403);
}

#[tokio::test]
async fn a_change_comes_from_a_page_of_the_console_and_every_answer_is_guarded() {
    let database = filled().await;
    let console = Console::new(database.store(), &[]);
    let pause = |name: &str, value: &str| {
        let request =
            Request::builder().method(Method::POST).uri("/console/webhooks/1/pause").header(name, value);
        console.send(request.body(Body::empty()).unwrap())
    };
    for (name, value) in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "http://evil.example"),
        ("x-none", ""),
    ] {
        assert_eq!(pause(name, value).await.status, 403, "{name}: {value}");
    }
    // Over plain HTTP browsers send `Origin` alone.
    assert_eq!(pause("origin", "http://localhost:8000").await.status, 303);
    let foreign = Request::get("/console/").header(header::HOST, "evil.example").body(Body::empty()).unwrap();
    assert_eq!(console.send(foreign).await.status, 421);
    for path in
        ["", "messages/1", "messages/1/payload", "nothing", "assets/console.js", "login", "messages?id=1"]
    {
        let headers = console.get(path).await.headers;
        let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src '"), "{path}: {policy}");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff", "{path}");
        assert!(
            ["no-store", "no-cache"].contains(&headers[header::CACHE_CONTROL].to_str().unwrap()),
            "{path}"
        );
    }
}
