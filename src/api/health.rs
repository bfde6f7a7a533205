//! Health, for probes.

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

/// All is well.
#[derive(Serialize, utoipa::ToSchema)]
struct Health {
    /// Always `ok`.
    #[schema(examples("ok"))]
    status: &'static str,
}

const OK: JsonBody<Health> = JsonBody(Health { status: "ok" });

/// Whether the process serves.
#[utoipa::path(
    get, path = "/healthz", tag = "health", security(()),
    responses((status = 200, description = "It does.", body = Health)),
)]
async fn alive() -> JsonBody<Health> {
    OK
}

/// Whether the database answers and its schema is current.
#[utoipa::path(
    get, path = "/readyz", tag = "health", security(()),
    responses((status = 200, description = "It does, and it is.", body = Health), Problems),
)]
async fn ready(State(state): State<ApiState>) -> Result<JsonBody<Health>, ApiError> {
    state.broker.check_ready().await?;
    Ok(OK)
}
