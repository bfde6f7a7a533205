//! Webhooks.

use std::collections::BTreeMap;

use axum::{Json as JsonBody, extract::State, http::StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    ApiState,
    error::{ApiError, Problems},
    extract::{IdPath, Json, Query, TopicPath, no_topic, no_webhook},
    topics::unknown,
};
use crate::{
    delivery::{SigningKey, check_header},
    domain::{
        new_webhook::{NewWebhook, WebhookChanges},
        page::{Items, PageQuery},
        violation::Violations,
        webhook::{FilterKind, Webhook, WebhookDeletion, WebhookStatus},
    },
};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(create_webhook, list_webhooks))
        .routes(routes!(list_topic_webhooks))
        .routes(routes!(get_webhook, update_webhook, delete_webhook))
        .routes(routes!(pause_webhook))
        .routes(routes!(resume_webhook))
}

/// A webhook and its secret.
#[derive(Serialize, utoipa::ToSchema)]
struct CreatedWebhook {
    #[serde(flatten)]
    webhook: Webhook,
    /// The signing secret. It is shown here and nowhere else.
    #[schema(examples("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"))]
    secret: String,
}

/// Subscribe a URL to a topic.
///
/// It is owed every message that is published after it was created and that its filter lets through.
#[utoipa::path(
    post, path = "/webhooks", tag = "webhooks", request_body = NewWebhook,
    responses((status = 201, description = "The webhook and its secret.", body = CreatedWebhook), Problems),
)]
async fn create_webhook(
    State(state): State<ApiState>,
    Json(mut new): Json<NewWebhook>,
) -> Result<(StatusCode, JsonBody<CreatedWebhook>), ApiError> {
    let secret = new.secret.take().unwrap_or_else(SigningKey::generate);
    check_new(&state, &new, &secret).await?;
    let named = || new.topic.clone().or(new.topic_id.map(|id| id.to_string())).unwrap_or_default();
    let topic = new.topic_ref().ok_or_else(|| no_topic(&named()))?;
    let created = state.store.create_webhook(&topic, &new, &secret).await?;
    let webhook = created.ok_or_else(|| unknown(&topic))?;
    let secret = secret.expose_secret().to_owned();
    Ok((StatusCode::CREATED, JsonBody(CreatedWebhook { webhook, secret })))
}

async fn check_new(state: &ApiState, new: &NewWebhook, secret: &SecretString) -> Result<(), ApiError> {
    let mut violations = new.check().err().unwrap_or_default();
    if let Err(error) = SigningKey::parse(secret.expose_secret()) {
        violations.add("secret", rule("secret", &error));
    }
    check_request(state, Some(&new.url), new.headers.as_ref(), &mut violations);
    violations.finish()?;
    check_filter(state, new.filter.as_deref()).await
}

fn check_request(
    state: &ApiState,
    url: Option<&String>,
    headers: Option<&BTreeMap<String, String>>,
    violations: &mut Violations,
) {
    if let Some(Err(error)) = url.map(|url| state.guard.check_url(url)) {
        violations.add("url", rule("url", &error));
    }
    for (name, value) in headers.into_iter().flatten() {
        if let Err(error) = check_header(name, value) {
            violations.add(format!("headers.{name}"), error.to_string());
        }
    }
}

/// What an error says of a field, without the field's name, which stands before it already.
fn rule(field: &str, error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    text.strip_prefix(field).map_or(&*text, str::trim_start).to_owned()
}

/// The database alone knows what a jsonpath is, and what kind.
async fn check_filter(state: &ApiState, filter: Option<&str>) -> Result<(), ApiError> {
    let Some(filter) = filter else { return Ok(()) };
    let rule = match state.store.check_webhook_filter(filter).await {
        Ok(FilterKind::Predicate) => return Ok(()),
        Ok(FilterKind::Path) => {
            "must be a predicate, such as $.event == \"order.created\"; a path alone never matches".to_owned()
        }
        Ok(FilterKind::Variables) => "must not name variables: nothing gives them a value".to_owned(),
        // The statement holds nothing else that could be wrong.
        Err(error)
            if error.sql_state().is_some_and(|s| ["22", "42", "0A", "54"].contains(&&s.code()[..2])) =>
        {
            format!("must be a jsonpath: {}", error.database_message().unwrap_or_default())
        }
        Err(error) => return Err(error.into()),
    };
    Err(Violations::one("filter", rule).into())
}

/// List webhooks, by rising id.
#[utoipa::path(
    get, path = "/webhooks", tag = "webhooks", params(PageQuery),
    responses((status = 200, description = "A page of webhooks.", body = Items<Webhook>), Problems),
)]
async fn list_webhooks(
    State(state): State<ApiState>,
    Query(query): Query<PageQuery>,
) -> Result<JsonBody<Items<Webhook>>, ApiError> {
    let page = query.page()?;
    let webhooks = state.store.list_webhooks(page).await?;
    Ok(JsonBody(Items::full(webhooks, page, |webhook| webhook.id)))
}

/// List a topic's webhooks, by rising id.
#[utoipa::path(
    get, path = "/topics/{topic}/webhooks", tag = "webhooks",
    params(("topic" = String, Path, description = "Id or name."), PageQuery),
    responses((status = 200, description = "A page of webhooks.", body = Items<Webhook>), Problems),
)]
async fn list_topic_webhooks(
    State(state): State<ApiState>,
    TopicPath(topic): TopicPath,
    Query(query): Query<PageQuery>,
) -> Result<JsonBody<Items<Webhook>>, ApiError> {
    let page = query.page()?;
    let webhooks = state.store.list_topic_webhooks(&topic, page).await?.ok_or_else(|| unknown(&topic))?;
    Ok(JsonBody(Items::full(webhooks, page, |webhook| webhook.id)))
}

/// Read a webhook: its policy, its health and what it owes.
#[utoipa::path(
    get, path = "/webhooks/{id}", tag = "webhooks", params(("id" = i64, Path, description = "The webhook.")),
    responses((status = 200, description = "The webhook.", body = WebhookStatus), Problems),
)]
async fn get_webhook(
    State(state): State<ApiState>,
    IdPath(id): IdPath,
) -> Result<JsonBody<WebhookStatus>, ApiError> {
    state.store.get_webhook(id).await?.map(JsonBody).ok_or_else(|| no_webhook(id))
}

/// Change a webhook. Its topic never changes.
#[utoipa::path(
    patch, path = "/webhooks/{id}", tag = "webhooks", params(("id" = i64, Path, description = "The webhook.")),
    request_body = WebhookChanges,
    responses((status = 200, description = "The webhook as it is now.", body = Webhook), Problems),
)]
async fn update_webhook(
    State(state): State<ApiState>,
    IdPath(id): IdPath,
    Json(changes): Json<WebhookChanges>,
) -> Result<JsonBody<Webhook>, ApiError> {
    let mut violations = changes.check().err().unwrap_or_default();
    check_request(&state, changes.url.as_ref(), changes.headers.as_ref(), &mut violations);
    violations.finish()?;
    check_filter(&state, changes.filter.as_ref().and_then(Option::as_deref)).await?;
    change(&state, id, &changes).await
}

/// Hold a webhook. It is still owed what is published.
#[utoipa::path(
    post, path = "/webhooks/{id}/pause", tag = "webhooks", params(("id" = i64, Path, description = "The webhook.")),
    responses((status = 200, description = "The webhook as it is now.", body = Webhook), Problems),
)]
async fn pause_webhook(
    State(state): State<ApiState>,
    IdPath(id): IdPath,
) -> Result<JsonBody<Webhook>, ApiError> {
    change(&state, id, &WebhookChanges::pause(true)).await
}

/// Release a webhook that was held or disabled. One that no request can be made for is disabled again.
#[utoipa::path(
    post, path = "/webhooks/{id}/resume", tag = "webhooks", params(("id" = i64, Path, description = "The webhook.")),
    responses((status = 200, description = "The webhook as it is now.", body = Webhook), Problems),
)]
async fn resume_webhook(
    State(state): State<ApiState>,
    IdPath(id): IdPath,
) -> Result<JsonBody<Webhook>, ApiError> {
    change(&state, id, &WebhookChanges::pause(false)).await
}

async fn change(state: &ApiState, id: i64, changes: &WebhookChanges) -> Result<JsonBody<Webhook>, ApiError> {
    state.store.update_webhook(id, changes).await?.map(JsonBody).ok_or_else(|| no_webhook(id))
}

/// What came of deleting a webhook.
#[derive(Serialize, utoipa::ToSchema)]
struct DeletedWebhook {
    /// Always true.
    deleted: bool,
    #[serde(flatten)]
    dropped: WebhookDeletion,
}

/// Delete a webhook with all it is owed.
#[utoipa::path(
    delete, path = "/webhooks/{id}", tag = "webhooks", params(("id" = i64, Path, description = "The webhook.")),
    responses((status = 200, description = "It is gone.", body = DeletedWebhook), Problems),
)]
async fn delete_webhook(
    State(state): State<ApiState>,
    IdPath(id): IdPath,
) -> Result<JsonBody<DeletedWebhook>, ApiError> {
    let dropped = state.store.delete_webhook(id).await?.ok_or_else(|| no_webhook(id))?;
    Ok(JsonBody(DeletedWebhook { deleted: true, dropped }))
}
