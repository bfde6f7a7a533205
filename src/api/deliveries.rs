//! The routes of deliveries and attempts.

use axum::Json as JsonBody;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    caller::Caller,
    error::{ApiError, Problems},
    extract::{DeliveryPath, Query, WebhookPath, topic_ref},
    schema::{AttemptRecord, DeliveriesQuery, Delivery, Items, PageQuery},
    state::ApiState,
};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_all_deliveries))
        .routes(routes!(list_deliveries))
        .routes(routes!(get_delivery))
        .routes(routes!(list_attempts))
        .routes(routes!(cancel_delivery))
        .routes(routes!(replay_delivery))
}

/// List a webhook's deliveries, newest first: those that are owed, and those that were accepted or
/// given up.
///
/// With a status of what is owed (`pending`, `in_flight`, `retrying`, `halted`) they come lane by
/// lane.
#[utoipa::path(
    get, path = "/webhooks/{webhook}/deliveries", tag = "deliveries",
    params(("webhook" = String, Path, description = "Id, or `topic:name`."), DeliveriesQuery),
    responses((status = 200, description = "A page of deliveries.", body = Items<Delivery>), Problems),
)]
async fn list_deliveries(
    caller: Caller,
    WebhookPath(webhook): WebhookPath,
    Query(query): Query<DeliveriesQuery>,
) -> Result<JsonBody<Items<Delivery>>, ApiError> {
    let (filter, page) = query.into_parts(topic_ref)?;
    Ok(JsonBody(caller.broker.list_deliveries(&webhook, &filter, page.into()).await?.into()))
}

/// List the deliveries of all webhooks, newest message first.
#[utoipa::path(
    get, path = "/deliveries", tag = "deliveries", params(DeliveriesQuery),
    responses((status = 200, description = "A page of deliveries.", body = Items<Delivery>), Problems),
)]
async fn list_all_deliveries(
    caller: Caller,
    Query(query): Query<DeliveriesQuery>,
) -> Result<JsonBody<Items<Delivery>>, ApiError> {
    let (filter, page) = query.into_parts(topic_ref)?;
    Ok(JsonBody(caller.broker.list_all_deliveries(&filter, page.into()).await?.into()))
}

/// Read the delivery of one message to one webhook.
#[utoipa::path(
    get, path = "/webhooks/{webhook}/deliveries/{message_id}", tag = "deliveries",
    params(
        ("webhook" = String, Path, description = "Id, or `topic:name`."),
        ("message_id" = i64, Path, description = "The message."),
    ),
    responses((status = 200, description = "The delivery.", body = Delivery), Problems),
)]
async fn get_delivery(
    caller: Caller,
    DeliveryPath { webhook, message_id }: DeliveryPath,
) -> Result<JsonBody<Delivery>, ApiError> {
    Ok(JsonBody(caller.broker.get_delivery(&webhook, message_id).await?.into()))
}

/// List the attempts of a delivery, oldest first.
#[utoipa::path(
    get, path = "/webhooks/{webhook}/deliveries/{message_id}/attempts", tag = "deliveries",
    params(
        ("webhook" = String, Path, description = "Id, or `topic:name`."),
        ("message_id" = i64, Path, description = "The message."),
        PageQuery,
    ),
    responses((status = 200, description = "A page of attempts.", body = Items<AttemptRecord>), Problems),
)]
async fn list_attempts(
    caller: Caller,
    DeliveryPath { webhook, message_id }: DeliveryPath,
    Query(query): Query<PageQuery>,
) -> Result<JsonBody<Items<AttemptRecord>>, ApiError> {
    let attempts = caller.broker.list_attempts(&webhook, message_id, query.into()).await?;
    let attempts = Items::<AttemptRecord>::from(attempts);
    Ok(JsonBody(if caller.sees_payloads { attempts } else { attempts.map(AttemptRecord::without_payload) }))
}

/// Cancel a delivery that is owed. It is kept as a dead letter, so it can be replayed.
///
/// The head of a lane that a worker holds may be on its way: it cannot be canceled. A message behind
/// it can. If the receiver accepts it all the same, it counts as delivered.
#[utoipa::path(
    post, path = "/webhooks/{webhook}/deliveries/{message_id}/cancel", tag = "deliveries",
    params(
        ("webhook" = String, Path, description = "Id, or `topic:name`."),
        ("message_id" = i64, Path, description = "The message."),
    ),
    responses((status = 200, description = "The delivery, which is canceled.", body = Delivery), Problems),
)]
async fn cancel_delivery(
    caller: Caller,
    DeliveryPath { webhook, message_id }: DeliveryPath,
) -> Result<JsonBody<Delivery>, ApiError> {
    Ok(JsonBody(caller.broker.cancel_delivery(&webhook, message_id).await?.into()))
}

/// Deliver a message once more: one that was delivered, canceled or given up.
#[utoipa::path(
    post, path = "/webhooks/{webhook}/deliveries/{message_id}/replay", tag = "deliveries",
    params(
        ("webhook" = String, Path, description = "Id, or `topic:name`."),
        ("message_id" = i64, Path, description = "The message."),
    ),
    responses((status = 200, description = "The delivery, which is owed again.", body = Delivery), Problems),
)]
async fn replay_delivery(
    caller: Caller,
    DeliveryPath { webhook, message_id }: DeliveryPath,
) -> Result<JsonBody<Delivery>, ApiError> {
    Ok(JsonBody(caller.broker.replay_delivery(&webhook, message_id).await?.into()))
}
