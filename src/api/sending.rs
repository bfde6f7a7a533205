//! The routes of sending.

use axum::Json as JsonBody;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    caller::Caller,
    error::{ApiError, Problems},
    extract::Json,
    schema::{SendingChange, SendingStatus},
    state::ApiState,
};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(get_sending, set_sending))
}

/// Read whether anything is sent, and why not.
#[utoipa::path(
    get, path = "/sending", tag = "installation",
    responses((status = 200, description = "Whether anything is sent.", body = SendingStatus), Problems),
)]
async fn get_sending(caller: Caller) -> Result<JsonBody<SendingStatus>, ApiError> {
    Ok(JsonBody(caller.broker.get_sending().await?.into()))
}

/// Switch sending on or off, for all workers. Requests under way finish. Messages are accepted and
/// kept all the same.
#[utoipa::path(
    post, path = "/sending", tag = "installation", request_body = SendingChange,
    responses((status = 200, description = "Whether anything is sent now.", body = SendingStatus), Problems),
)]
async fn set_sending(
    caller: Caller,
    Json(change): Json<SendingChange>,
) -> Result<JsonBody<SendingStatus>, ApiError> {
    Ok(JsonBody(caller.broker.set_sending(&change.into()).await?.into()))
}
