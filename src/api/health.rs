//! Health, for probes.

use std::time::Duration;

use axum::{Json as JsonBody, extract::State};
use serde::Serialize;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    ApiState,
    error::{ApiError, Problems},
};
use crate::store::StoreError;

/// How long the database may take to answer a probe; probes themselves do not wait much longer.
const READY_TIMEOUT: Duration = Duration::from_secs(2);

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
    match tokio::time::timeout(READY_TIMEOUT, state.store.check_ready()).await {
        Ok(Ok(())) => Ok(OK),
        Ok(Err(StoreError::SchemaMismatch(what))) => Err(ApiError::Unavailable(what)),
        // Where the database is, and why it refuses, is for the log.
        Ok(Err(cause)) => {
            tracing::warn!(%cause, "not ready");
            Err(ApiError::Unavailable("the database does not answer".to_owned()))
        }
        Err(_) => Err(ApiError::Unavailable("the database does not answer in time".to_owned())),
    }
}
