//! The routes of webhooks.

use axum::{Json as JsonBody, http::StatusCode};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    caller::Caller,
    error::{ApiError, Problems},
    extract::{Json, Query, TopicPath, WebhookPath, topic_ref},
    schema::{
        CreatedWebhook, DeletedWebhook, Items, NewWebhook, PageQuery, TestRequest, Webhook, WebhookChanges,
        WebhooksQuery,
    },
    state::ApiState,
};
use crate::domain::webhook::WebhookFilter;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(create_webhook, list_webhooks))
        .routes(routes!(list_topic_webhooks))
        .routes(routes!(get_webhook, update_webhook, delete_webhook))
        .routes(routes!(pause_webhook))
        .routes(routes!(resume_webhook))
        .routes(routes!(enable_webhook))
        .routes(routes!(test_webhook))
}

/// Subscribe a URL to a topic.
///
/// The webhook is owed every message that is published after it was created and that its types and
/// its filter let through.
#[utoipa::path(
    post, path = "/webhooks", tag = "webhooks", request_body = NewWebhook,
    responses((status = 201, description = "The webhook and its secret.", body = CreatedWebhook), Problems),
)]
async fn create_webhook(
    caller: Caller,
    Json(new): Json<NewWebhook>,
) -> Result<(StatusCode, JsonBody<CreatedWebhook>), ApiError> {
    let created = caller.broker.create_webhook(new.into()).await?;
    Ok((StatusCode::CREATED, JsonBody(created.into())))
}

/// List webhooks, by rising id.
#[utoipa::path(
    get, path = "/webhooks", tag = "webhooks", params(WebhooksQuery),
    responses((status = 200, description = "A page of webhooks.", body = Items<Webhook>), Problems),
)]
async fn list_webhooks(
    caller: Caller,
    Query(query): Query<WebhooksQuery>,
) -> Result<JsonBody<Items<Webhook>>, ApiError> {
    let WebhooksQuery { topic, state, limit, after } = query;
    let topic = topic.as_deref().map(topic_ref).transpose()?;
    let filter = WebhookFilter { topic, state: state.map(Into::into) };
    Ok(JsonBody(caller.broker.list_webhooks(&filter, PageQuery { limit, after }.into()).await?.into()))
}

/// List a topic's webhooks, by rising id.
#[utoipa::path(
    get, path = "/topics/{topic}/webhooks", tag = "webhooks",
    params(("topic" = String, Path, description = "Id or name."), PageQuery),
    responses((status = 200, description = "A page of webhooks.", body = Items<Webhook>), Problems),
)]
async fn list_topic_webhooks(
    caller: Caller,
    TopicPath(topic): TopicPath,
    Query(query): Query<PageQuery>,
) -> Result<JsonBody<Items<Webhook>>, ApiError> {
    let filter = WebhookFilter { topic: Some(topic), ..WebhookFilter::default() };
    Ok(JsonBody(caller.broker.list_webhooks(&filter, query.into()).await?.into()))
}

/// Read a webhook: its settings and its health. What it is owed is counted now.
#[utoipa::path(
    get, path = "/webhooks/{webhook}", tag = "webhooks", params(("webhook" = String, Path, description = "Id, or `topic:name`.")),
    responses((status = 200, description = "The webhook.", body = Webhook), Problems),
)]
async fn get_webhook(
    caller: Caller,
    WebhookPath(webhook): WebhookPath,
) -> Result<JsonBody<Webhook>, ApiError> {
    Ok(JsonBody(caller.broker.get_webhook(&webhook).await?.into()))
}

/// Change a webhook. Its topic never changes.
#[utoipa::path(
    patch, path = "/webhooks/{webhook}", tag = "webhooks", params(("webhook" = String, Path, description = "Id, or `topic:name`.")),
    request_body = WebhookChanges,
    responses((status = 200, description = "The webhook as it is now.", body = Webhook), Problems),
)]
async fn update_webhook(
    caller: Caller,
    WebhookPath(webhook): WebhookPath,
    Json(changes): Json<WebhookChanges>,
) -> Result<JsonBody<Webhook>, ApiError> {
    Ok(JsonBody(caller.broker.update_webhook(&webhook, &changes.into()).await?.into()))
}

/// Pause a webhook: nothing is sent to it. It is still owed what is published.
#[utoipa::path(
    post, path = "/webhooks/{webhook}/pause", tag = "webhooks", params(("webhook" = String, Path, description = "Id, or `topic:name`.")),
    responses((status = 200, description = "The webhook as it is now.", body = Webhook), Problems),
)]
async fn pause_webhook(
    caller: Caller,
    WebhookPath(webhook): WebhookPath,
) -> Result<JsonBody<Webhook>, ApiError> {
    Ok(JsonBody(caller.broker.pause_webhook(&webhook).await?.into()))
}

/// End the pause of a webhook. If it is disabled, it stays so.
#[utoipa::path(
    post, path = "/webhooks/{webhook}/resume", tag = "webhooks", params(("webhook" = String, Path, description = "Id, or `topic:name`.")),
    responses((status = 200, description = "The webhook as it is now.", body = Webhook), Problems),
)]
async fn resume_webhook(
    caller: Caller,
    WebhookPath(webhook): WebhookPath,
) -> Result<JsonBody<Webhook>, ApiError> {
    Ok(JsonBody(caller.broker.resume_webhook(&webhook).await?.into()))
}

/// Enable a webhook that was disabled. If it is paused, it stays so. If no request can be made from
/// its settings, a worker disables it again.
#[utoipa::path(
    post, path = "/webhooks/{webhook}/enable", tag = "webhooks", params(("webhook" = String, Path, description = "Id, or `topic:name`.")),
    responses((status = 200, description = "The webhook as it is now.", body = Webhook), Problems),
)]
async fn enable_webhook(
    caller: Caller,
    WebhookPath(webhook): WebhookPath,
) -> Result<JsonBody<Webhook>, ApiError> {
    Ok(JsonBody(caller.broker.enable_webhook(&webhook).await?.into()))
}

/// Send a test request to a webhook at once, also if it is paused or disabled.
///
/// It is signed as all others are. It belongs to no topic's order, and is not stored. The answer
/// comes when the request has ended. The webhook does not change, whatever its receiver answers.
#[utoipa::path(
    post, path = "/webhooks/{webhook}/test", tag = "webhooks", params(("webhook" = String, Path, description = "Id, or `topic:name`.")),
    responses((status = 200, description = "How the request ended.", body = TestRequest), Problems),
)]
async fn test_webhook(
    caller: Caller,
    WebhookPath(webhook): WebhookPath,
) -> Result<JsonBody<TestRequest>, ApiError> {
    let test = TestRequest::from(caller.broker.test_webhook(&webhook).await?);
    Ok(JsonBody(if caller.sees_payloads { test } else { test.without_payload() }))
}

/// Delete a webhook, its backlog and its dead letters.
#[utoipa::path(
    delete, path = "/webhooks/{webhook}", tag = "webhooks", params(("webhook" = String, Path, description = "Id, or `topic:name`.")),
    responses((status = 200, description = "The webhook was deleted.", body = DeletedWebhook), Problems),
)]
async fn delete_webhook(
    caller: Caller,
    WebhookPath(webhook): WebhookPath,
) -> Result<JsonBody<DeletedWebhook>, ApiError> {
    Ok(JsonBody(caller.broker.delete_webhook(&webhook).await?.into()))
}
