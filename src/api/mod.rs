//! The HTTP API: topics, publishing, webhooks, deliveries, dead letters, lanes.
//!
//! A handler parses the request, calls one method of [`crate::broker`] and writes the answer. Every
//! error becomes a problem (RFC 9457). If tokens are configured, every request needs one, except
//! for health and the description of the API. Without tokens the API may only listen on loopback
//! ([`check_bind`]).
//!
//! | module | what it holds |
//! |---|---|
//! | `topics`, `messages`, `webhooks` | the routes of one area each |
//! | `deliveries`, `dead_letters`, `lanes`, `jobs` | the same |
//! | `why`, `tail`, `stats`, `sending`, `doctor`, `health`, `metrics` | the same |
//! | `access` | who may do what: tokens, roles, and what a browser says of a page |
//! | `body_limit` | how many bytes the bodies of all requests may have |
//! | `caller` | the use cases, limited to what the sender of a request may do |
//! | `config_error` | why the API cannot start |
//! | `connection_limit` | how many connections there may be |
//! | `error` | every error, and the problem that it becomes |
//! | `exposition` | what a process gives to Prometheus |
//! | `extract` | bodies, query strings and paths |
//! | `json` | JSON objects, and what is wrong with them |
//! | `openapi` | the parts of the description that are not routes: bounds, examples, security |
//! | `publishing` | what is told of a request that publishes |
//! | `request_id` | the id of a request |
//! | `route_index` | all routes by path: query parameters, and near misses |
//! | `schema` | every body and query string, with its description |
//! | `server` | connections and shutdown |
//! | `state` | what every handler gets |

mod access;
mod body_limit;
mod caller;
mod config_error;
mod connection_limit;
mod dead_letters;
mod deliveries;
mod doctor;
mod error;
mod exposition;
mod extract;
mod health;
mod jobs;
mod json;
mod lanes;
mod messages;
mod metrics;
mod openapi;
mod publishing;
mod request_id;
mod route_index;
pub(crate) mod schema;
mod sending;
mod server;
mod state;
mod stats;
mod tail;
mod topics;
mod webhooks;
mod why;

use std::{sync::Arc, time::Duration};

use axum::{Router, http::StatusCode, middleware, response::Redirect, routing::get};
use serde_json::Value;
use tower::ServiceBuilder;
use tower_http::{
    catch_panic::CatchPanicLayer,
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer},
    timeout::TimeoutLayer,
    trace::TraceLayer,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

use self::route_index::RouteIndex;
pub(crate) use self::{
    access::{Gate, Permit},
    error::{ApiError, Problem, bare_problem_json},
    messages::read_message,
};
pub use self::{
    access::{check_access, check_bind},
    config_error::ApiConfigError,
    exposition::Exposition,
    metrics::run_metrics,
    server::run,
    state::ApiState,
};

/// How long a request may take, its body included. After this it is answered with 503. A body may
/// take 30 s, and the database 27 s.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);

/// Every route, with its description.
fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::with_openapi(openapi::base())
        .merge(topics::routes())
        .merge(messages::routes())
        .merge(webhooks::routes())
        .merge(deliveries::routes())
        .merge(dead_letters::routes())
        .merge(lanes::routes())
        .merge(why::routes())
        .merge(tail::routes())
        .merge(stats::routes())
        .merge(metrics::routes())
        .merge(sending::routes())
        .merge(doctor::routes())
        .merge(jobs::routes())
        .merge(health::routes())
}

/// The description of the API, as `/openapi.json` serves it.
pub fn openapi() -> Value {
    openapi::complete(routes().into_openapi())
}

/// The API as a service, with all its layers.
pub fn router(state: ApiState) -> Router {
    let (router, document) = routes().split_for_parts();
    let document = openapi::complete(document);
    let index = Arc::new(RouteIndex::of(&document));
    // The outermost layer comes first. `problems_only` is outside every layer that may answer with
    // a bare status. The time limit is inside the layers that log it and turn it into a problem.
    let layers = ServiceBuilder::new()
        .layer(middleware::from_fn(request_id::tidy))
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
        .layer(TraceLayer::new_for_http().make_span_with(server::request_span).on_failure(()))
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(middleware::from_fn_with_state(Arc::clone(&index), error::problems_only))
        .layer(CatchPanicLayer::new())
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, REQUEST_TIMEOUT))
        .layer(middleware::from_fn_with_state(Arc::clone(&state.hosts), access::check_host))
        .layer(middleware::from_fn_with_state(Arc::clone(&state.tokens), access::authorize))
        .layer(middleware::from_fn_with_state(index, extract::check_parameters))
        .layer(middleware::from_fn_with_state(Arc::clone(&state.bodies), body_limit::bound_bodies));
    let docs = SwaggerUi::new("/docs").external_url_unchecked("/openapi.json", document);
    let console = state.console.clone();
    let home = if console.is_some() { "console/" } else { "docs/" };
    let router = router.route("/", get(move || async move { Redirect::to(home) }));
    let api = router.with_state(state).merge(docs).layer(layers);
    match console {
        // What neither of them knows is answered by the one that is merged.
        Some(console) => console.merge(api),
        None => api,
    }
}
