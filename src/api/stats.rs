//! The routes of figures and workers.

use axum::Json as JsonBody;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    caller::Caller,
    error::{ApiError, Problems},
    extract::{Query, topic_ref},
    schema::{Items, Stats, StatsQuery, Worker},
    state::ApiState,
};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(get_stats)).routes(routes!(list_workers))
}

/// Read what goes through: what is owed, rates and latencies of the last minute.
///
/// The figures are those of the last sample, which a worker takes every ten seconds.
#[utoipa::path(
    get, path = "/stats", tag = "installation", params(StatsQuery),
    responses((status = 200, description = "The figures.", body = Stats), Problems),
)]
async fn get_stats(caller: Caller, Query(query): Query<StatsQuery>) -> Result<JsonBody<Stats>, ApiError> {
    let topic = query.topic.as_deref().map(topic_ref).transpose()?;
    Ok(JsonBody(caller.broker.get_stats(topic.as_ref()).await?.into()))
}

/// List workers, oldest first: at most 1000, on one page.
#[utoipa::path(
    get, path = "/workers", tag = "installation",
    responses((status = 200, description = "The workers.", body = Items<Worker>), Problems),
)]
async fn list_workers(caller: Caller) -> Result<JsonBody<Items<Worker>>, ApiError> {
    Ok(JsonBody(caller.broker.list_workers().await?.into()))
}
