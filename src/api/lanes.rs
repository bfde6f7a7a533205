//! The routes of lanes.

use axum::{
    Json as JsonBody,
    response::{IntoResponse, Response},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    caller::Caller,
    error::{ApiError, Problems},
    extract::{Json, Query, WebhookPath},
    jobs::accepted,
    schema::{DeadLetter, Items, Job, Lane, LaneRetry, LaneSkip, LanesQuery, RetriedLanes},
    state::ApiState,
};
use crate::broker;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list_lanes)).routes(routes!(retry_lanes)).routes(routes!(skip_lane))
}

/// List a webhook's lanes, the earliest due first.
///
/// A lane is listed while it owes something, or a worker holds it. Lanes move while they are sent:
/// one may be missing from all pages, or be on two.
#[utoipa::path(
    get, path = "/webhooks/{webhook}/lanes", tag = "lanes",
    params(("webhook" = String, Path, description = "Id, or `topic:name`."), LanesQuery),
    responses((status = 200, description = "A page of lanes.", body = Items<Lane>), Problems),
)]
async fn list_lanes(
    caller: Caller,
    WebhookPath(webhook): WebhookPath,
    Query(query): Query<LanesQuery>,
) -> Result<JsonBody<Items<Lane>>, ApiError> {
    let (filter, page) = query.into_parts();
    Ok(JsonBody(caller.broker.list_lanes(&webhook, &filter, page.into()).await?.into()))
}

/// Try lanes again now.
///
/// Their failures become 0, and halted lanes are released. The request means one lane, the lanes in
/// a state, or all that wait or are halted. More than 1,000 lanes are left to a job.
#[utoipa::path(
    post, path = "/webhooks/{webhook}/lanes/retry", tag = "lanes", request_body = LaneRetry,
    params(("webhook" = String, Path, description = "Id, or `topic:name`.")),
    responses(
        (status = 200, description = "How many lanes are tried again.", body = RetriedLanes),
        (status = 202, description = "More than 1,000 lanes: the job that does it.", body = Job),
        Problems
    ),
)]
async fn retry_lanes(
    caller: Caller,
    WebhookPath(webhook): WebhookPath,
    Json(retry): Json<LaneRetry>,
) -> Result<Response, ApiError> {
    Ok(match caller.broker.retry_lanes(&webhook, &retry.into()).await? {
        broker::RetriedLanes::Now(lanes) => JsonBody(RetriedLanes { lanes }).into_response(),
        broker::RetriedLanes::Job(job) => accepted(*job),
    })
}

/// Skip the head of a lane. The lane goes on.
///
/// The message becomes a dead letter with the reason `skipped`, so it can be replayed.
#[utoipa::path(
    post, path = "/webhooks/{webhook}/lanes/skip", tag = "lanes", request_body = LaneSkip,
    params(("webhook" = String, Path, description = "Id, or `topic:name`.")),
    responses((status = 200, description = "The dead letter.", body = DeadLetter), Problems),
)]
async fn skip_lane(
    caller: Caller,
    WebhookPath(webhook): WebhookPath,
    Json(LaneSkip { partition_key, message_id }): Json<LaneSkip>,
) -> Result<JsonBody<DeadLetter>, ApiError> {
    Ok(JsonBody(caller.broker.skip_lane(&webhook, partition_key, message_id.0).await?.into()))
}
