//! The routes of deliveries and attempts.

use axum::Json as JsonBody;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    caller::Caller,
    error::{ApiError, Problems},
    extract::{DeliveryPath, IdPath, Query},
    schema::{AttemptRecord, DeliveriesQuery, Delivery, Items, PageQuery},
    state::ApiState,
};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_deliveries))
        .routes(routes!(get_delivery))
        .routes(routes!(list_attempts))
}

/// List a webhook's deliveries, newest first: those that are owed, and those that were accepted or
/// given up.
#[utoipa::path(
    get, path = "/webhooks/{id}/deliveries", tag = "deliveries",
    params(("id" = i64, Path, description = "The webhook."), DeliveriesQuery),
    responses((status = 200, description = "A page of deliveries.", body = Items<Delivery>), Problems),
)]
async fn list_deliveries(
    caller: Caller,
    IdPath(id): IdPath,
    Query(query): Query<DeliveriesQuery>,
) -> Result<JsonBody<Items<Delivery>>, ApiError> {
    let (filter, page) = query.into_parts();
    Ok(JsonBody(caller.broker.list_deliveries(id, &filter, page.page()?).await?.into()))
}

/// Read the delivery of one message to one webhook.
#[utoipa::path(
    get, path = "/webhooks/{id}/deliveries/{message_id}", tag = "deliveries",
    params(
        ("id" = i64, Path, description = "The webhook."),
        ("message_id" = i64, Path, description = "The message."),
    ),
    responses((status = 200, description = "The delivery.", body = Delivery), Problems),
)]
async fn get_delivery(
    caller: Caller,
    DeliveryPath { webhook_id, message_id }: DeliveryPath,
) -> Result<JsonBody<Delivery>, ApiError> {
    Ok(JsonBody(caller.broker.get_delivery(webhook_id, message_id).await?.into()))
}

/// List the attempts of a delivery, oldest first.
///
/// `after` is how many to skip.
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
    caller: Caller,
    DeliveryPath { webhook_id, message_id }: DeliveryPath,
    Query(query): Query<PageQuery>,
) -> Result<JsonBody<Items<AttemptRecord>>, ApiError> {
    let attempts = caller.broker.list_attempts(webhook_id, message_id, query.page()?).await?;
    let attempts = Items::<AttemptRecord>::from(attempts);
    Ok(JsonBody(if caller.sees_payloads { attempts } else { attempts.map(AttemptRecord::without_payload) }))
}
