//! What a webhook was or is owed, and the requests made for it.

use axum::{Json as JsonBody, extract::State};
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    ApiState,
    error::{ApiError, Problems},
    extract::{DeliveryPath, IdPath, Query, no_webhook},
};
use crate::domain::{
    delivery::{AttemptRecord, Delivery, DeliveryFilter, DeliveryStatus},
    page::{Items, PageQuery},
};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_deliveries))
        .routes(routes!(get_delivery))
        .routes(routes!(list_attempts))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct DeliveriesQuery {
    /// Only deliveries that stand here.
    status: Option<DeliveryStatus>,
    /// Only deliveries of this partition.
    partition_key: Option<String>,
    /// Items on the page at most, 1 to 1000; 100 unless given.
    limit: Option<i64>,
    /// `next` of the page before.
    after: Option<i64>,
}

/// List what a webhook was or is owed, newest first.
#[utoipa::path(
    get, path = "/webhooks/{id}/deliveries", tag = "deliveries",
    params(("id" = i64, Path, description = "The webhook."), DeliveriesQuery),
    responses((status = 200, description = "A page of deliveries.", body = Items<Delivery>), Problems),
)]
async fn list_deliveries(
    State(state): State<ApiState>,
    IdPath(id): IdPath,
    Query(query): Query<DeliveriesQuery>,
) -> Result<JsonBody<Items<Delivery>>, ApiError> {
    let page = PageQuery { limit: query.limit, after: query.after }.page()?;
    let filter = DeliveryFilter { status: query.status, partition_key: query.partition_key };
    state.store.list_deliveries(id, &filter, page).await?.map(JsonBody).ok_or_else(|| no_webhook(id))
}

/// Read what a webhook made of one message.
#[utoipa::path(
    get, path = "/webhooks/{id}/deliveries/{message_id}", tag = "deliveries",
    params(
        ("id" = i64, Path, description = "The webhook."),
        ("message_id" = i64, Path, description = "The message."),
    ),
    responses((status = 200, description = "The delivery.", body = Delivery), Problems),
)]
async fn get_delivery(
    State(state): State<ApiState>,
    path: DeliveryPath,
) -> Result<JsonBody<Delivery>, ApiError> {
    let found = state.store.get_delivery(path.webhook_id, path.message_id).await?;
    found.map(JsonBody).ok_or_else(|| no_delivery(&path))
}

/// List the requests made for a delivery, oldest first. `after` is how many to skip.
#[utoipa::path(
    get, path = "/webhooks/{id}/deliveries/{message_id}/attempts", tag = "deliveries",
    params(
        ("id" = i64, Path, description = "The webhook."),
        ("message_id" = i64, Path, description = "The message."),
        PageQuery,
    ),
    responses((status = 200, description = "A page of attempts.", body = Items<AttemptRecord>), Problems),
)]
async fn list_attempts(
    State(state): State<ApiState>,
    path: DeliveryPath,
    Query(query): Query<PageQuery>,
) -> Result<JsonBody<Items<AttemptRecord>>, ApiError> {
    let found = state.store.list_attempts(path.webhook_id, path.message_id, query.page()?).await?;
    found.map(JsonBody).ok_or_else(|| no_delivery(&path))
}

fn no_delivery(DeliveryPath { webhook_id, message_id }: &DeliveryPath) -> ApiError {
    ApiError::NotFound(format!("there is no delivery of message {message_id} to webhook {webhook_id}"))
}
