//! The console over HTTP: pages, states, roles.
//!
//! | file | what it tests |
//! |---|---|
//! | `access` | sessions, roles, limited tokens, where a change comes from, headers |
//! | `actions` | what the forms do |
//! | `browser` | ways through it in Chromium |
//! | `delivery` | the screen of a delivery, and its actions |
//! | `lanes` | the screens of lanes, and their actions |
//! | `live` | server-sent events |
//! | `operating` | Health, Settings, pauses of topics, who would get a message |
//! | `pages` | what each page shows, with nothing there and with much |

mod access;
mod actions;
mod browser;
mod delivery;
mod lanes;
mod live;
mod operating;
mod pages;

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use http_body_util::BodyExt as _;
use pgtopic::{
    api::{ApiState, router},
    broker::Broker,
    config::{ApiConfig, Config},
    console,
    store::Store,
};
use pgtopic_testkit::TestDatabase;
use tower::ServiceExt as _;

/// A process with the API and the console. Requests go to it without a network.
struct Console {
    router: Router,
    cookie: Option<String>,
}

struct Page {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Page {
    /// Checks that the page is there and says all of this.
    #[track_caller]
    fn says(&self, texts: &[&str]) -> &Self {
        assert_eq!(self.status, 200, "{}", self.text);
        for text in texts {
            assert!(self.text.contains(text), "lacks {text:?}: {}", self.text);
        }
        self
    }

    #[track_caller]
    fn says_not(&self, texts: &[&str]) {
        for text in texts {
            assert!(!self.text.contains(text), "has {text:?}: {}", self.text);
        }
    }

    /// Where the page leads.
    fn location(&self) -> &str {
        assert_eq!(self.status, 303, "{}", self.text);
        self.headers[header::LOCATION].to_str().unwrap()
    }
}

impl Console {
    fn new(store: Store, tokens: &[&str]) -> Self {
        let config = ApiConfig {
            tokens: tokens.iter().map(|token| (*token).into()).collect(),
            ..Config::default().api
        };
        let state = ApiState::new(Broker::new(store, Vec::new()), &config).unwrap();
        let console = console::router(&state, Config::default().shown);
        Self { router: router(state.with_console(console)), cookie: None }
    }

    async fn answer(&self, mut request: Request<Body>) -> axum::response::Response {
        request.headers_mut().entry(header::HOST).or_insert("localhost:8000".parse().unwrap());
        if let Some(cookie) = &self.cookie {
            request.headers_mut().insert(header::COOKIE, cookie.parse().unwrap());
        }
        self.router.clone().oneshot(request).await.unwrap()
    }

    async fn send(&self, request: Request<Body>) -> Page {
        let (parts, body) = self.answer(request).await.into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        Page { status: parts.status, headers: parts.headers, text }
    }

    async fn get(&self, path: &str) -> Page {
        self.send(Request::get(format!("/console/{path}")).body(Body::empty()).unwrap()).await
    }

    /// Sends a form as a browser does from a page of the console.
    async fn post(&self, path: &str, form: &[(&str, &str)]) -> Page {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("/console/{path}"))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("sec-fetch-site", "same-origin");
        self.send(request.body(body.into()).unwrap()).await
    }

    /// Logs in. Later requests have the cookie.
    async fn log_in(&mut self, token: &str) -> Page {
        let page = self.post("login", &[("token", token)]).await;
        let cookie = page.headers.get(header::SET_COOKIE).map(|cookie| cookie.to_str().unwrap().to_owned());
        self.cookie = cookie.map(|cookie| cookie.split(';').next().unwrap().to_owned());
        page
    }
}

/// A key and a payload that somebody would like to break a page or a command line with.
const HOSTILE_KEY: &str = "'; touch x\n<script>alert(1)</script>@/etc/passwd\u{202e}";

/// A topic `orders` with a webhook, a topic `invoices` with another, one message each, and dead
/// letters. The ids of `orders` and of what belongs to it are 1, the others 2.
async fn filled() -> TestDatabase {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let sql = "
        CREATE TABLE attempts_now PARTITION OF pgtopic.attempts DEFAULT;
        INSERT INTO pgtopic.topics (name) VALUES ('orders'), ('invoices');
        INSERT INTO pgtopic.webhooks (topic_id, name, url, secrets)
        SELECT id, 'hook', 'https://example.com/' || name, ARRAY['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'] FROM pgtopic.topics ORDER BY id";
    client.batch_execute(sql).await.unwrap();
    let publish =
        "SELECT pgtopic.publish(topic => $1, payload => '{\"paid\":  true}'::text, partition_key => $2)";
    client.execute(publish, &[&"orders", &HOSTILE_KEY]).await.unwrap();
    client.execute(publish, &[&"invoices", &"secret-key"]).await.unwrap();
    let sql = "
        INSERT INTO pgtopic.dead_letters
            (webhook_id, topic_id, partition_key, lane, message_id, reason, attempts, last_error, status_code, error_class)
        SELECT w.id, m.topic_id, m.partition_key, m.lane, m.id, 'attempts_exhausted', 5, 'status 500', 500, 'status'
          FROM pgtopic.messages m JOIN pgtopic.webhooks w USING (topic_id) ORDER BY m.id";
    client.batch_execute(sql).await.unwrap();
    database
}
