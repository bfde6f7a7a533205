//! The routes of topics.

use axum::{Json as JsonBody, http::StatusCode};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    caller::Caller,
    error::{ApiError, Problems},
    extract::{Json, Query, TopicPath},
    schema::{DeleteTopicQuery, DeletedTopic, Items, NewTopic, PageQuery, Topic, TopicChanges, TopicStatus},
    state::ApiState,
};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(create_topic, list_topics)).routes(routes!(
        get_topic,
        update_topic,
        delete_topic
    ))
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
