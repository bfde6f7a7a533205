//! The routes of topics.

use axum::{Json as JsonBody, http::StatusCode};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    caller::Caller,
    error::{ApiError, Problems},
    extract::{Json, JsonOrNothing, Query, TopicPath},
    schema::{
        DeleteTopicQuery, DeletedTopic, Items, NewTopic, PageQuery, PauseTopic, PutTopic, Topic,
        TopicChanges, TopicStatus,
    },
    state::ApiState,
};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(create_topic, list_topics))
        .routes(routes!(get_topic, put_topic, update_topic, delete_topic))
        .routes(routes!(pause_topic))
        .routes(routes!(resume_topic))
}

/// Create a topic.
#[utoipa::path(
    post, path = "/topics", tag = "topics", request_body = NewTopic,
    responses((status = 201, description = "The topic.", body = Topic), Problems),
)]
async fn create_topic(
    caller: Caller,
    Json(new): Json<NewTopic>,
) -> Result<(StatusCode, JsonBody<Topic>), ApiError> {
    let created = caller.broker.create_topic(&new.into()).await?;
    Ok((StatusCode::CREATED, JsonBody(created.into())))
}

/// List topics, by rising id.
#[utoipa::path(
    get, path = "/topics", tag = "topics", params(PageQuery),
    responses((status = 200, description = "A page of topics.", body = Items<Topic>), Problems),
)]
async fn list_topics(
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Result<JsonBody<Items<Topic>>, ApiError> {
    Ok(JsonBody(caller.broker.list_topics(query.into()).await?.into()))
}

/// Read a topic and its backlog.
#[utoipa::path(
    get, path = "/topics/{topic}", tag = "topics", params(("topic" = String, Path, description = "Id or name.")),
    responses((status = 200, description = "The topic and its backlog.", body = TopicStatus), Problems),
)]
async fn get_topic(caller: Caller, TopicPath(topic): TopicPath) -> Result<JsonBody<TopicStatus>, ApiError> {
    Ok(JsonBody(caller.broker.get_topic(&topic).await?.into()))
}

/// Create a topic, or change it. To send the request again changes nothing. The ordering never
/// changes.
#[utoipa::path(
    put, path = "/topics/{topic}", tag = "topics",
    params(("topic" = String, Path, description = "Its name, or the id of a topic that exists.")),
    request_body = PutTopic,
    responses(
        (status = 201, description = "The topic was created.", body = Topic),
        (status = 200, description = "The topic was there: as it is now.", body = Topic),
        Problems,
    ),
)]
async fn put_topic(
    caller: Caller,
    TopicPath(topic): TopicPath,
    Json(put): Json<PutTopic>,
) -> Result<(StatusCode, JsonBody<Topic>), ApiError> {
    let (ordering, changes) = put.into_parts();
    let (topic, is_new) = caller.broker.put_topic(&topic, ordering, &changes).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, JsonBody(topic.into())))
}

/// Change a topic: its retention, or whether it is paused. Name and ordering never change.
#[utoipa::path(
    patch, path = "/topics/{topic}", tag = "topics", params(("topic" = String, Path, description = "Id or name.")),
    request_body = TopicChanges,
    responses((status = 200, description = "The topic as it is now.", body = Topic), Problems),
)]
async fn update_topic(
    caller: Caller,
    TopicPath(topic): TopicPath,
    Json(changes): Json<TopicChanges>,
) -> Result<JsonBody<Topic>, ApiError> {
    Ok(JsonBody(caller.broker.update_topic(&topic, &changes.into()).await?.into()))
}

/// Pause a topic: it refuses messages, or accepts them and sends nothing.
#[utoipa::path(
    post, path = "/topics/{topic}/pause", tag = "topics",
    params(("topic" = String, Path, description = "Id or name.")), request_body = PauseTopic,
    responses((status = 200, description = "The topic as it is now.", body = Topic), Problems),
)]
async fn pause_topic(
    caller: Caller,
    TopicPath(topic): TopicPath,
    JsonOrNothing(pause): JsonOrNothing<PauseTopic>,
) -> Result<JsonBody<Topic>, ApiError> {
    Ok(JsonBody(caller.broker.pause_topic(&topic, pause.into()).await?.into()))
}

/// End the pause of a topic.
#[utoipa::path(
    post, path = "/topics/{topic}/resume", tag = "topics",
    params(("topic" = String, Path, description = "Id or name.")),
    responses((status = 200, description = "The topic as it is now.", body = Topic), Problems),
)]
async fn resume_topic(caller: Caller, TopicPath(topic): TopicPath) -> Result<JsonBody<Topic>, ApiError> {
    Ok(JsonBody(caller.broker.resume_topic(&topic).await?.into()))
}

/// Delete a topic. A topic that has webhooks is only deleted with force=true.
#[utoipa::path(
    delete, path = "/topics/{topic}", tag = "topics",
    params(("topic" = String, Path, description = "Id or name."), DeleteTopicQuery),
    responses((status = 200, description = "The topic was deleted.", body = DeletedTopic), Problems),
)]
async fn delete_topic(
    caller: Caller,
    TopicPath(topic): TopicPath,
    Query(query): Query<DeleteTopicQuery>,
) -> Result<JsonBody<DeletedTopic>, ApiError> {
    Ok(JsonBody(caller.broker.delete_topic(&topic, query.force).await?.into()))
}
