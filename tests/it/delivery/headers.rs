//! Headers of messages and webhooks: SQL and the API refuse the same headers, and say why.

use pgtopic::{
    delivery::{HeaderError, check_header},
    domain::headers::HEADERS_MAX,
};
use pgtopic_testkit::{Http, Scene};
use serde_json::{Value, json};
use tokio_postgres::{Client, Error, error::SqlState};

/// Inserts a message with these headers.
async fn publish(client: &Client, headers: &str) -> Result<u64, Error> {
    let sql = "INSERT INTO messages (topic_id, payload, headers) VALUES (1, '1', $1::text::json)";
    client.execute(sql, &[&headers]).await
}

/// Makes a webhook with these headers. Also changes the headers of the webhook 1 to these.
async fn subscribe(client: &Client, headers: &str) -> [Result<u64, Error>; 2] {
    let insert = "INSERT INTO webhooks (topic_id, url, secrets, headers)
                  VALUES (1, 'http://a.example/', '{}', $1::text::json)";
    let update = "UPDATE webhooks SET headers = $1::text::json WHERE id = 1";
    [client.execute(insert, &[&headers]).await, client.execute(update, &[&headers]).await]
}

/// The rule that these headers break, as SQL names it. Checks that it is the same for messages and
/// for webhooks.
async fn rule(client: &Client, headers: &str) -> Option<String> {
    let [inserted, updated] = subscribe(client, headers).await;
    let mut rules = [publish(client, headers).await, inserted, updated].map(|done| {
        let error = done.err()?;
        let error = error.as_db_error().unwrap_or_else(|| panic!("{headers:?}: {error}"));
        assert_eq!(error.code(), &SqlState::CHECK_VIOLATION, "{headers}: {error}");
        Some((error.column().unwrap_or_default().to_owned(), error.message().to_owned()))
    });
    assert!(rules[0] == rules[1] && rules[1] == rules[2], "{headers}: {rules:?}");
    let (column, rule) = rules[0].take()?;
    assert_eq!(column, "headers");
    assert!(rule.starts_with("headers must") && !rule.contains(['\n', '\0']), "{rule:?}");
    Some(rule)
}

#[tokio::test]
async fn sql_takes_the_names_and_values_that_the_api_takes_and_no_others() {
    let scene = Scene::with_webhook(&[]).await;
    let names = [
        "x-a",
        "X-A",
        "Authorization",
        "traceparent",
        "!#$%&'*+-.^_`|~09az",
        "webhook",
        "proxy",
        "content-language",
        "",
        "a b",
        "a:b",
        "a\nb",
        "a\r",
        "\u{fc}",
        "a\u{0}b",
        "(a)",
        "a\"b",
        "a\\b",
        "a/b",
        "a@b",
        "\u{7f}",
        "\u{131}",
        &"x".repeat(255),
        &"x".repeat(256),
        &"x".repeat(257),
        // Reserved.
        "host",
        "HOST",
        "Connection",
        "content-length",
        "Content-Type",
        "expect",
        "keep-alive",
        "TE",
        "trailer",
        "Transfer-Encoding",
        "upgrade",
        "User-Agent",
        "webhook-id",
        "Webhook-Anything",
        "webhook-source",
        "webhook-subscription",
        "proxy-authorization",
        "PROXY-X",
    ];
    let values = [
        "",
        "a",
        " a b\t",
        "~!\"\\",
        "a\r\nb",
        "a\nb",
        "a\u{0}",
        "\u{1}",
        "\u{1b}",
        "\u{7f}",
        "\u{fc}",
        "\u{1f600}",
        &"x".repeat(4096),
        &"x".repeat(4097),
    ];
    let pairs = names.iter().map(|name| (*name, "v")).chain(values.iter().map(|value| ("x-secret", *value)));
    for (name, value) in pairs {
        let headers = json!({name: value}).to_string();
        let api = check_header(name, value);
        let sql = rule(&scene.client, &headers).await;
        assert_eq!(api.is_ok(), sql.is_none(), "{headers}: {api:?}, {sql:?}");
        match api {
            Err(HeaderError::Reserved(_)) => assert!(sql.unwrap().contains("reserved"), "{headers}"),
            Err(HeaderError::Value(_)) => {
                let sql = sql.unwrap();
                assert!(sql.contains("visible ASCII"), "{sql}");
                assert!(
                    !sql.contains("xxxx") && !sql.contains('\u{fc}'),
                    "the error must not show the value: {sql}"
                );
            }
            Err(HeaderError::Name(_)) | Ok(()) => {}
        }
    }
}

#[tokio::test]
async fn sql_takes_only_an_object_of_texts_without_a_repeated_name() {
    let scene = Scene::with_webhook(&[]).await;
    let many =
        |count: usize| (0..count).map(|n| (format!("x-{n}"), json!("v"))).collect::<Value>().to_string();
    for headers in ["{}", r#"{"x-a":"1","x-b":"1"}"#, r#"{"x-a":"\u0041"}"#, &many(HEADERS_MAX)] {
        assert_eq!(rule(&scene.client, headers).await, None, "{headers}");
    }
    for (headers, said) in [
        (r#"{"x-a":1}"#, "that of \"x-a\" is not"),
        (r#"{"x-a":null}"#, "texts"),
        (r#"{"x-a":["b"]}"#, "texts"),
        (r#"{"X-A":"1","x-a":"2"}"#, "only once"),
        (r#"{"x-a":"1","x-b":"1","x-a":"1"}"#, "only once"),
        (r#"{"x-a":"\u0000"}"#, "visible ASCII"),
        (r#"{"x-a":"\ud800"}"#, "visible ASCII"),
        (r#"{"x\u0000":"a"}"#, "visible ASCII"),
        (r#"{"x-\u000a":"a"}"#, r#"not "x-\n""#),
        (&many(HEADERS_MAX + 1), "at most 64 headers, not 65"),
    ] {
        let rule = rule(&scene.client, headers).await;
        assert!(rule.as_ref().is_some_and(|rule| rule.contains(said)), "{headers}: {rule:?}");
    }
    // These are not objects. For webhooks, a CHECK refuses them, too.
    for headers in ["[]", "1", "\"x\"", "null"] {
        let [inserted, updated] = subscribe(&scene.client, headers).await;
        assert!(inserted.is_err() && updated.is_err() && publish(&scene.client, headers).await.is_err());
    }
}

#[tokio::test]
async fn the_api_refuses_a_repeated_name_in_any_letter_case() {
    let scene = Scene::new().await;
    let http = Http::serve(scene.store()).await;
    let url = "https://example.com/";
    for headers in [r#"{"X-A":"1","x-a":"2"}"#, r#"{"x-a":"1","x-a":"1"}"#] {
        for (path, body) in [
            ("/topics/orders/messages", format!(r#"{{"payload":1,"headers":{headers}}}"#)),
            (
                "/topics/orders/messages/batch",
                format!(r#"{{"messages":[{{"payload":1,"headers":{headers}}}]}}"#),
            ),
            ("/webhooks", format!(r#"{{"topic":"orders","url":"{url}","headers":{headers}}}"#)),
        ] {
            let (status, problem) = http.try_post_text(path, &body).await.unwrap();
            assert_eq!(status, 422, "{body}: {problem}");
            let text = problem.to_string();
            assert!(text.contains("more than once") && text.contains("x-a"), "{problem}");
        }
    }
    assert_eq!(scene.number("SELECT count(*) FROM messages").await, 0);
}
