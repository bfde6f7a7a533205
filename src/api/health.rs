//! The routes of probes.

use axum::{Json as JsonBody, extract::State};
use serde::Serialize;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    error::{ApiError, Problems},
    state::ApiState,
};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(alive)).routes(routes!(ready))
}

/// The answer of a probe that succeeds.
#[derive(Serialize, utoipa::ToSchema)]
struct Health {
    /// Always `ok`.
    #[schema(examples("ok"))]
    status: &'static str,
}

/// Whether jobs, retention and the like are done.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum Background {
    /// A worker does them.
    Running,
    /// No worker runs anywhere, or none has begun yet. Jobs wait.
    NoWorker,
}

/// The answer of a readiness probe that succeeds.
#[derive(Serialize, utoipa::ToSchema)]
struct Readiness {
    /// Always `ok`.
    #[schema(examples("ok"))]
    status: &'static str,
    /// Whether jobs, retention and the like are done. It does not count for readiness.
    background: Background,
}

/// Check that the process answers. It does not ask the database.
#[utoipa::path(
    get, path = "/healthz", tag = "health", security(()),
    responses((status = 200, description = "The process answers.", body = Health)),
)]
async fn alive() -> JsonBody<Health> {
    JsonBody(Health { status: "ok" })
}

/// Check that the database answers and takes writes, that its schema fits this version of pgtopic,
/// and, where a worker runs in this process, that it works.
#[utoipa::path(
    get, path = "/readyz", tag = "health", security(()),
    responses((status = 200, description = "The database answers and takes writes, its schema fits, and the worker works.", body = Readiness), Problems),
)]
async fn ready(State(state): State<ApiState>) -> Result<JsonBody<Readiness>, ApiError> {
    let has_leader = state.broker.check_ready().await?;
    let background = if has_leader { Background::Running } else { Background::NoWorker };
    Ok(JsonBody(Readiness { status: "ok", background }))
}
