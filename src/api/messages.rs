//! Publishing, and what was published.

use axum::{
    Json as JsonBody,
    extract::{Request, State},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    ApiState,
    error::{ApiError, Problems},
    extract::{IdPath, Json, NDJSON, Query, TopicPath, is_json, media_type, parse_json, read_body},
    topics::unknown,
};
use crate::{
    delivery::check_header,
    domain::{
        message::{MessageStatus, MessageSummary, Published},
        new_message::{BATCH_MAX, NewMessage},
        page::{Items, PageQuery},
        violation::Violations,
    },
    store::StoreError,
};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(publish_message, list_messages))
        .routes(routes!(publish_batch))
        .routes(routes!(get_message))
}

/// Publish a message.
#[utoipa::path(
    post, path = "/topics/{topic}/messages", tag = "messages",
    params(("topic" = String, Path, description = "Id or name.")), request_body = NewMessage,
    responses(
        (status = 201, description = "It is committed.", body = Published),
        (status = 200, description = "The idempotency key was used before, for this message.", body = Published),
        Problems,
    ),
)]
async fn publish_message(
    State(state): State<ApiState>,
    TopicPath(topic): TopicPath,
    Json(message): Json<NewMessage>,
) -> Result<(StatusCode, JsonBody<Published>), ApiError> {
    check(&message)?;
    let published = state.store.publish_message(&topic, &message).await.map_err(|e| refused(e, "payload"))?;
    let published = published.ok_or_else(|| unknown(&topic))?;
    let status = if published.repeated { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, JsonBody(published)))
}

/// Messages to be published together.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct Batch {
    /// 1 to 10000 messages.
    messages: Vec<NewMessage>,
}

/// The messages of a batch.
#[derive(Serialize, utoipa::ToSchema)]
struct PublishedBatch {
    /// Their ids, in the order of the request; an earlier message's where an idempotency key was used before.
    ids: Vec<i64>,
}

/// Publish messages, all or none, each partition in the order given.
///
/// Takes a JSON object, or one message a line as `application/x-ndjson`.
#[utoipa::path(
    post, path = "/topics/{topic}/messages/batch", tag = "messages",
    params(("topic" = String, Path, description = "Id or name.")),
    request_body(content((Batch = "application/json"), (NewMessage = "application/x-ndjson"))),
    responses((status = 201, description = "All are committed.", body = PublishedBatch), Problems),
)]
async fn publish_batch(
    State(state): State<ApiState>,
    TopicPath(topic): TopicPath,
    request: Request,
) -> Result<(StatusCode, JsonBody<PublishedBatch>), ApiError> {
    let messages = read_batch(request, &state).await?;
    let ids = state.store.publish_batch(&topic, &messages).await.map_err(|e| refused(e, "messages"))?;
    let ids = ids.ok_or_else(|| unknown(&topic))?;
    Ok((StatusCode::CREATED, JsonBody(PublishedBatch { ids })))
}

async fn read_batch(request: Request, state: &ApiState) -> Result<Vec<NewMessage>, ApiError> {
    let messages = if is_json(request.headers()) {
        parse_json::<Batch>(&read_body(request, state).await?, "")?.messages
    } else if media_type(request.headers()) == NDJSON {
        read_body(request, state)
            .await?
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.trim_ascii().is_empty())
            .enumerate()
            .map(|(index, line)| parse_json(line, &format!("messages[{index}]")))
            .collect::<Result<_, _>>()?
    } else {
        return Err(ApiError::UnsupportedMediaType("application/json or application/x-ndjson"));
    };
    let mut violations = Violations::default();
    violations.require(
        (1..=BATCH_MAX).contains(&messages.len()),
        "messages",
        &format!("must hold 1 to {BATCH_MAX} messages"),
    );
    for (index, message) in messages.iter().enumerate() {
        violations.add_all(&format!("messages[{index}]"), check(message));
    }
    violations.finish()?;
    Ok(messages)
}

fn check(message: &NewMessage) -> Result<(), Violations> {
    let mut violations = message.check().err().unwrap_or_default();
    for (name, value) in message.headers.iter().flatten() {
        if let Err(error) = check_header(name, value) {
            violations.add(format!("headers.{name}"), error.to_string());
        }
    }
    violations.finish()
}

/// Errors of publishing: what the database's `json` refuses, such as nesting that exceeds its stack, is the payload's.
fn refused(error: StoreError, field: &str) -> ApiError {
    let refuses = |code: &str| ["22P02", "22P05", "22021", "54001"].contains(&code);
    if error.sql_state().is_some_and(|state| refuses(state.code())) {
        let reason = error.database_message().unwrap_or_default();
        return Violations::one(field, format!("is refused by PostgreSQL: {reason}")).into();
    }
    error.into()
}

/// List a topic's messages without payloads, newest first.
#[utoipa::path(
    get, path = "/topics/{topic}/messages", tag = "messages",
    params(("topic" = String, Path, description = "Id or name."), PageQuery),
    responses((status = 200, description = "A page of messages.", body = Items<MessageSummary>), Problems),
)]
async fn list_messages(
    State(state): State<ApiState>,
    TopicPath(topic): TopicPath,
    Query(query): Query<PageQuery>,
) -> Result<JsonBody<Items<MessageSummary>>, ApiError> {
    let found = state.store.list_messages(&topic, query.page()?).await?;
    found.map(JsonBody).ok_or_else(|| unknown(&topic))
}

/// Read a message, its payload byte for byte, and where it stands with each webhook.
#[utoipa::path(
    get, path = "/messages/{id}", tag = "messages", params(("id" = i64, Path, description = "The message.")),
    responses((status = 200, description = "The message.", body = MessageStatus), Problems),
)]
async fn get_message(
    State(state): State<ApiState>,
    IdPath(id): IdPath,
) -> Result<JsonBody<MessageStatus>, ApiError> {
    let found = state.store.get_message(id).await?;
    found.map(JsonBody).ok_or_else(|| ApiError::NotFound(format!("there is no message {id}")))
}
