//! The console: the pages for operators, at `/console/`.
//!
//! A handler parses the request, calls the use cases of [`crate::broker`], and shapes a view. A view
//! is pure: it is made of what the use cases returned and of `now`. Templates are in `templates/`,
//! files of the browser in `assets/console/`. All links are relative, so the console works behind a
//! path prefix. Hosts, tokens and roles are those of the API.
//!
//! | file | what it holds |
//! |---|---|
//! | `now`, `topics`, `topic`, `webhooks`, `webhook`, `message` | one screen each |
//! | `lanes`, `lane`, `delivery`, `dead_letters`, `jobs`, `workers`, `health`, `settings` | the same |
//! | `as_curl` | a request to a receiver as a line for a shell |
//! | `timeline` | the drawing of a lane's events, and the same as a table |
//! | `attention` | what is wrong, most urgent first |
//! | `admit` | who may come in: hosts, sessions |
//! | `assets` | the files of the browser |
//! | `failure` | what a page says if something is wrong |
//! | `frame` | what is around each screen, and the headers of each answer |
//! | `live` | server-sent events: a screen again and again |
//! | `login` | logs in and out |
//! | `place` | where a page is, so that its links are relative |
//! | `actions` | what can be done on a screen, and its command lines |
//! | `publish` | publishes a message, and tells before who gets it |
//! | `text` | numbers, times and states as people read them |
//! | `visitor` | what a handler may do for the sender of a request |

mod actions;
mod admit;
mod as_curl;
mod assets;
mod attention;
mod dead_letters;
mod delivery;
mod failure;
mod frame;
mod health;
mod jobs;
mod lane;
mod lanes;
mod live;
mod login;
mod message;
mod now;
mod place;
mod publish;
mod settings;
mod text;
mod timeline;
mod topic;
mod topics;
mod visitor;
mod webhook;
mod webhooks;
mod workers;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    response::Redirect,
    routing::{get, post},
};
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;

use self::{admit::ConsoleState, failure::Failure};
use crate::{api::ApiState, config::Shown};

/// The console beside an API. `settings`: those of this process.
pub fn router(api: &ApiState, settings: Vec<Shown>) -> Router {
    let state = ConsoleState::new(api, settings);
    let screens = Router::new()
        .route("/console/", get(now::show))
        .route("/console/topics", get(topics::show))
        .route("/console/topics/{topic}", get(topic::show))
        .route("/console/topics/{topic}/publish", post(publish::publish))
        .route("/console/topics/{topic}/preview", post(publish::preview))
        .route("/console/topics/{topic}/{action}", post(topic::act))
        .route("/console/webhooks", get(webhooks::show))
        .route("/console/webhooks/{webhook}", get(webhook::show))
        .route("/console/webhooks/{webhook}/{action}", post(webhook::act))
        .route("/console/lanes", get(lanes::show))
        .route("/console/lanes/retry", post(lanes::retry))
        .route("/console/lane", get(lane::show))
        .route("/console/lane/retry", post(lane::retry_now))
        .route("/console/lane/skip", get(lane::ask).post(lane::skip_head))
        .route("/console/deliveries/{webhook}/{message}", get(delivery::show))
        .route("/console/deliveries/{webhook}/{message}/{action}", post(delivery::act))
        .route("/console/messages", get(message::find))
        .route("/console/messages/{id}", get(message::show))
        .route("/console/messages/{id}/payload", get(message::download))
        .route("/console/dead-letters", get(dead_letters::show))
        .route("/console/dead-letters/{action}", get(dead_letters::ask).post(dead_letters::act))
        .route("/console/jobs", get(jobs::show))
        .route("/console/jobs/{id}", get(jobs::show_one))
        .route("/console/jobs/{id}/cancel", post(jobs::cancel))
        .route("/console/workers", get(workers::show))
        .route("/console/health", get(health::show))
        .route("/console/settings", get(settings::show))
        .route("/console/login", get(login::show).post(login::log_in))
        .route("/console/logout", post(login::log_out))
        .route("/console/assets/{file}", get(assets::serve))
        .route("/console/{*rest}", get(nothing).post(nothing))
        // A browser resolves a relative link of `/console` against the folder above it.
        .route("/console", get(|| async { Redirect::to("console/") }));
    framed(screens, state)
}

/// The screens with all that is around them.
fn framed(screens: Router<ConsoleState>, state: ConsoleState) -> Router {
    // The outermost layer comes first. A panic is caught inside of the frame, which makes a page of it.
    let layers = ServiceBuilder::new()
        .layer(middleware::from_fn(frame::secure))
        .layer(middleware::from_fn_with_state(state.live.clone(), live::stream))
        .layer(middleware::from_fn(frame::frame))
        .layer(CatchPanicLayer::custom(failure::panicked))
        .layer(middleware::from_fn_with_state(state.clone(), admit::admit))
        .layer(DefaultBodyLimit::max(frame::FORM_MAX));
    screens.with_state(state).layer(layers)
}

async fn nothing() -> Failure {
    Failure::not_found("there is no such page")
}

#[cfg(test)]
mod tests {
    use axum::{
        body::Body,
        http::{Request, header},
    };
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;
    use crate::{
        broker::Broker,
        config::{Config, DatabaseConfig},
        store::Store,
    };

    #[tokio::test]
    async fn a_panic_is_a_page_too() {
        async fn panics() -> Failure {
            panic!("on purpose")
        }
        let url = Some("postgresql://nobody@127.0.0.1:1/nothing".to_owned().into());
        let database = DatabaseConfig { url, ..Config::default().database };
        let broker = Broker::new(Store::new(&database).unwrap(), Vec::new());
        let state = ConsoleState::new(&ApiState::new(broker, &Config::default().api).unwrap(), Vec::new());
        let router = framed(Router::new().route("/console/panics", get(panics)), state);
        let request = Request::get("/console/panics").header(header::HOST, "localhost");
        let response = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 500);
        assert!(response.headers().contains_key(header::CONTENT_SECURITY_POLICY));
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let page = String::from_utf8_lossy(&body);
        assert!(page.contains("the log says what") && page.contains("Back to Now"), "{page}");
    }
}
