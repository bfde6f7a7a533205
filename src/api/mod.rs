//! The HTTP API: topics, publishing, webhooks, deliveries, dead letters.
//!
//! A handler parses, makes one call of [`crate::broker`] and shapes the answer. Every error is an RFC 9457 problem, whoever raised it.
//! Requests need a bearer token wherever one is configured, and without one the server only listens on loopback.
//!
//! | module | what it holds |
//! |---|---|
//! | `topics`, `messages`, `webhooks`, `deliveries`, `dead_letters`, `health` | one area of the API each |
//! | `auth` | tokens, roles, and which role a request needs |
//! | `error` | every error, and the problem it becomes |
//! | `extract` | bodies, query strings and paths |
//! | `schema` | every body and query, with its description |
//! | `openapi` | what the description says beyond the routes |
//! | `server` | connections and shutdown |

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
mod topics;
mod webhooks;

use std::{sync::Arc, time::Duration};

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

use self::auth::Tokens;
pub use self::{auth::check_bind, server::run};
use crate::{broker::Broker, config::ApiConfig};

/// How long a request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The settings do not make an API.
#[derive(Debug, thiserror::Error)]
pub enum ApiConfigError {
    /// A token is not `role:token`. Says which one, and nothing of what it holds.
    #[error("api.tokens[{index}]: {rule}")]
    Token {
        /// Its place in the list, from 0.
        index: usize,
        /// What is wrong with it.
        rule: &'static str,
    },
    /// Anybody who reaches the address could do anything.
    #[error(
        "api.bind {0} can be reached from other machines: give api.tokens, or bind to 127.0.0.1 or [::1]"
    )]
    OpenToAll(std::net::SocketAddr),
}

/// What handlers work with; cheap to clone.
#[derive(Clone)]
pub struct ApiState {
    broker: Broker,
    tokens: Arc<Tokens>,
    max_body_bytes: usize,
}

impl ApiState {
    /// Reads the tokens.
    pub fn new(broker: Broker, config: &ApiConfig) -> Result<Self, ApiConfigError> {
        let tokens = Arc::new(Tokens::new(&config.tokens)?);
        Ok(Self { broker, tokens, max_body_bytes: config.max_body_bytes })
    }
}

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

/// The API as a service.
pub fn router(state: ApiState) -> Router {
    let (router, openapi) = routes().split_for_parts();
    // From the outside in. Problems stand outside of what may answer with a bare status, the time limit inside of what
    // reports it.
    let layers = ServiceBuilder::new()
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
        .layer(TraceLayer::new_for_http().make_span_with(server::request_span).on_failure(()))
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(middleware::from_fn(error::problems_only))
        .layer(CatchPanicLayer::new())
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, REQUEST_TIMEOUT))
        .layer(DefaultBodyLimit::max(state.max_body_bytes))
        .layer(middleware::from_fn_with_state(state.clone(), auth::authorize));
    router.with_state(state).merge(SwaggerUi::new("/docs").url("/openapi.json", openapi)).layer(layers)
}
