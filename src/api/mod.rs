//! The HTTP API: topics, publishing, webhooks, deliveries, dead letters.
//!
//! A handler parses the request, calls one method of [`crate::broker`] and writes the answer. Every
//! error becomes a problem (RFC 9457). If tokens are configured, every request needs one, except
//! for health and the description of the API. Without tokens the API may only listen on loopback
//! ([`check_bind`]).
//!
//! | module | what it holds |
//! |---|---|
//! | `topics`, `messages`, `webhooks`, … | the routes of one area each |
//! | `auth` | tokens, roles, and which role a request needs |
//! | `error` | every error, and the problem that it becomes |
//! | `extract` | bodies, query strings and paths |
//! | `schema` | every body and query string, with its description |
//! | `openapi` | the parts of the description that are not routes |
//! | `server` | connections and shutdown |
//! | `state` | what every handler gets |

mod auth;
mod dead_letters;
mod deliveries;
mod error;
mod extract;
mod health;
mod messages;
mod openapi;
mod schema;
mod server;
mod state;
mod topics;
mod webhooks;

use std::time::Duration;

use axum::{Router, extract::DefaultBodyLimit, http::StatusCode, middleware};
use tower::ServiceBuilder;
use tower_http::{
    catch_panic::CatchPanicLayer,
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer},
    timeout::TimeoutLayer,
    trace::TraceLayer,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

pub use self::{
    auth::{ApiConfigError, check_bind, check_tokens},
    server::run,
    state::ApiState,
};

/// How long a request may take. After this it is answered with 503.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Every route, with its description.
fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::with_openapi(openapi::base())
        .merge(topics::routes())
        .merge(messages::routes())
        .merge(webhooks::routes())
        .merge(deliveries::routes())
        .merge(dead_letters::routes())
        .merge(health::routes())
}

/// The description of the API, as `/openapi.json` serves it.
pub fn openapi() -> utoipa::openapi::OpenApi {
    routes().into_openapi()
}

/// The API as a service, with all its layers.
pub fn router(state: ApiState) -> Router {
    let (router, openapi) = routes().split_for_parts();
    // The outermost layer comes first. `problems_only` is outside every layer that may answer with
    // a bare status. The time limit is inside the layers that log it and turn it into a problem.
    let layers = ServiceBuilder::new()
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
        .layer(TraceLayer::new_for_http().make_span_with(server::request_span).on_failure(()))
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(middleware::from_fn(error::problems_only))
        .layer(CatchPanicLayer::new())
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, REQUEST_TIMEOUT))
        .layer(DefaultBodyLimit::max(state.max_body_bytes))
        .layer(middleware::from_fn_with_state(state.tokens.clone(), auth::authorize));
    router.with_state(state).merge(SwaggerUi::new("/docs").url("/openapi.json", openapi)).layer(layers)
}
