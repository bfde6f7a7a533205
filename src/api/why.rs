//! The routes of "why".

use axum::Json as JsonBody;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    caller::Caller,
    error::{ApiError, Problems},
    extract::{IdPath, Query, TopicPath},
    schema::{MessageWhy, PartitionWhy, WhyQuery},
    state::ApiState,
};
use crate::domain::key::PARTITION_KEY_DEFAULT;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(explain_message)).routes(routes!(explain_partition))
}

/// Explain where a message is, for each webhook of its topic: what is in the way, and what helps.
#[utoipa::path(
    get, path = "/messages/{id}/why", tag = "messages", params(("id" = i64, Path, description = "The message.")),
    responses((status = 200, description = "One entry for each webhook.", body = MessageWhy), Problems),
)]
async fn explain_message(caller: Caller, IdPath(id): IdPath) -> Result<JsonBody<MessageWhy>, ApiError> {
    Ok(JsonBody(caller.broker.explain_message(id, None).await?.into()))
}

/// Explain why a partition does not move: who publishes to it now, and where its head is, for each
/// webhook that is owed something of it.
#[utoipa::path(
    get, path = "/topics/{topic}/why", tag = "topics",
    params(("topic" = String, Path, description = "Id or name."), WhyQuery),
    responses((status = 200, description = "The publisher, and one entry for each webhook.", body = PartitionWhy), Problems),
)]
async fn explain_partition(
    caller: Caller,
    TopicPath(topic): TopicPath,
    Query(query): Query<WhyQuery>,
) -> Result<JsonBody<PartitionWhy>, ApiError> {
    let key = query.partition_key.as_deref().unwrap_or(PARTITION_KEY_DEFAULT);
    Ok(JsonBody(caller.broker.explain_partition(&topic, key, None).await?.into()))
}
