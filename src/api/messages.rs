//! The routes of messages.

use axum::{
    Json as JsonBody,
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    caller::Caller,
    error::{ApiError, Problem, Problems},
    extract::{IdPath, Json, NDJSON, Query, TopicPath, is_json, media_type, read_body},
    json::parse_json,
    publishing::Publishing,
    schema::{
        Batch, Items, MessageStatus, MessageSummary, MessagesQuery, NewMessage, Published, PublishedBatch,
    },
    state::ApiState,
};
use crate::domain::message;

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
        (status = 201, description = "The message is committed.", body = Published),
        (status = 200, description = "The idempotency key was used before: its first message.", body = Published),
        Problems,
    ),
)]
async fn publish_message(
    caller: Caller,
    State(state): State<ApiState>,
    TopicPath(topic): TopicPath,
    headers: HeaderMap,
    message: Result<Json<NewMessage>, ApiError>,
) -> Result<(StatusCode, JsonBody<Published>), ApiError> {
    let publishing = Publishing::begin(&state, &headers);
    let published = async {
        let Json(message) = message?;
        Ok(caller.broker.publish_message(&topic, &publishing.mark(message)).await?)
    };
    let published = published.await;
    publishing.ended(&topic, &published);
    let published = published?;
    let status = if published.repeated { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, JsonBody(published.into())))
}

/// Publish messages, all or none. Within a partition they keep their order.
///
/// The body is a JSON object, or `application/x-ndjson` with one message in each line.
#[utoipa::path(
    post, path = "/topics/{topic}/messages/batch", tag = "messages",
    params(("topic" = String, Path, description = "Id or name.")),
    request_body(content((Batch = "application/json"), (NewMessage = "application/x-ndjson"))),
    responses((status = 201, description = "All messages are committed.", body = PublishedBatch), Problems),
)]
async fn publish_batch(
    caller: Caller,
    State(state): State<ApiState>,
    TopicPath(topic): TopicPath,
    request: Request,
) -> Result<(StatusCode, JsonBody<PublishedBatch>), ApiError> {
    let publishing = Publishing::begin(&state, request.headers());
    let published = async {
        let messages = read_batch(request, &state).await?;
        let messages: Vec<_> = messages.into_iter().map(|message| publishing.mark(message)).collect();
        Ok(caller.broker.publish_batch(&topic, &messages).await?)
    };
    let published = published.await;
    publishing.batch_ended(&topic, &published);
    Ok((StatusCode::CREATED, JsonBody(PublishedBatch { ids: published?.ids })))
}

/// Reads the messages of a body of either form.
async fn read_batch(request: Request, state: &ApiState) -> Result<Vec<NewMessage>, ApiError> {
    if is_json(request.headers()) {
        return Ok(parse_json::<Batch>(&read_body(request, state).await?, "")?.into_messages());
    }
    if media_type(request.headers()) != NDJSON {
        return Err(ApiError::UnsupportedMediaType("application/json or application/x-ndjson"));
    }
    let body = read_body(request, state).await?;
    let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    lines.enumerate().map(|(index, line)| parse_json(line, &format!("messages[{index}]"))).collect()
}

/// Reads a message that is a line of its own, for the command line.
pub(crate) fn read_message(line: &[u8]) -> Result<message::NewMessage, Problem> {
    let message = parse_json::<NewMessage>(line, "").map_err(|error| match error {
        ApiError::Malformed(reason) => {
            ApiError::Malformed(reason.replace(" at line 1 column ", " at column "))
        }
        other => other,
    })?;
    Ok(message.into())
}

/// List a topic's messages without payloads, newest first.
#[utoipa::path(
    get, path = "/topics/{topic}/messages", tag = "messages",
    params(("topic" = String, Path, description = "Id or name."), MessagesQuery),
    responses((status = 200, description = "A page of messages.", body = Items<MessageSummary>), Problems),
)]
async fn list_messages(
    caller: Caller,
    TopicPath(topic): TopicPath,
    Query(query): Query<MessagesQuery>,
) -> Result<JsonBody<Items<MessageSummary>>, ApiError> {
    let (filter, page) = query.into_parts();
    Ok(JsonBody(caller.broker.list_messages(&topic, &filter, page.into()).await?.into()))
}

/// Read a message: its payload, byte for byte, and the status of its deliveries.
#[utoipa::path(
    get, path = "/messages/{id}", tag = "messages", params(("id" = i64, Path, description = "The message.")),
    responses((status = 200, description = "The message.", body = MessageStatus), Problems),
)]
async fn get_message(caller: Caller, IdPath(id): IdPath) -> Result<JsonBody<MessageStatus>, ApiError> {
    let message = MessageStatus::from(caller.broker.get_message(id).await?);
    Ok(JsonBody(if caller.sees_payloads { message } else { message.without_payload() }))
}
