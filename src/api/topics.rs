//! Topics.

use axum::{Json as JsonBody, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    ApiState,
    error::{ApiError, Problems},
    extract::{Json, Query, TopicPath, no_topic},
};
use crate::domain::{
    new_topic::{NewTopic, TopicChanges, TopicRef},
    page::{Items, PageQuery},
    topic::{Topic, TopicDeletion, TopicStatus},
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
    State(state): State<ApiState>,
    Json(new): Json<NewTopic>,
) -> Result<(StatusCode, JsonBody<Topic>), ApiError> {
    new.check()?;
    Ok((StatusCode::CREATED, JsonBody(state.store.create_topic(&new).await?)))
}

/// List topics, by rising id.
#[utoipa::path(
    get, path = "/topics", tag = "topics", params(PageQuery),
    responses((status = 200, description = "A page of topics.", body = Items<Topic>), Problems),
)]
async fn list_topics(
    State(state): State<ApiState>,
    Query(query): Query<PageQuery>,
) -> Result<JsonBody<Items<Topic>>, ApiError> {
    let page = query.page()?;
    let topics = state.store.list_topics(page).await?;
    Ok(JsonBody(Items::full(topics, page, |topic| topic.id)))
}

/// Read a topic and what it owes.
#[utoipa::path(
    get, path = "/topics/{topic}", tag = "topics", params(("topic" = String, Path, description = "Id or name.")),
    responses((status = 200, description = "The topic and its backlog.", body = TopicStatus), Problems),
)]
async fn get_topic(
    State(state): State<ApiState>,
    TopicPath(topic): TopicPath,
) -> Result<JsonBody<TopicStatus>, ApiError> {
    state.store.get_topic(&topic).await?.map(JsonBody).ok_or_else(|| unknown(&topic))
}

/// Change a topic: its retention, or whether it takes messages. Its ordering never changes.
#[utoipa::path(
    patch, path = "/topics/{topic}", tag = "topics", params(("topic" = String, Path, description = "Id or name.")),
    request_body = TopicChanges,
    responses((status = 200, description = "The topic as it is now.", body = Topic), Problems),
)]
async fn update_topic(
    State(state): State<ApiState>,
    TopicPath(topic): TopicPath,
    Json(changes): Json<TopicChanges>,
) -> Result<JsonBody<Topic>, ApiError> {
    changes.check()?;
    state.store.update_topic(&topic, &changes).await?.map(JsonBody).ok_or_else(|| unknown(&topic))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct DeleteQuery {
    /// Delete the topic's webhooks as well, with all they are owed.
    #[serde(default)]
    force: bool,
}

/// What came of deleting a topic.
#[derive(Serialize, utoipa::ToSchema)]
struct DeletedTopic {
    /// Always true.
    deleted: bool,
    /// Webhooks that went with it.
    webhooks: i64,
    /// Deliveries that nobody will make.
    dropped_deliveries: i64,
}

/// Delete a topic; one with webhooks only by `force=true`.
#[utoipa::path(
    delete, path = "/topics/{topic}", tag = "topics",
    params(("topic" = String, Path, description = "Id or name."), DeleteQuery),
    responses((status = 200, description = "It is gone.", body = DeletedTopic), Problems),
)]
async fn delete_topic(
    State(state): State<ApiState>,
    TopicPath(topic): TopicPath,
    Query(query): Query<DeleteQuery>,
) -> Result<JsonBody<DeletedTopic>, ApiError> {
    match state.store.delete_topic(&topic, query.force).await? {
        TopicDeletion::Unknown => Err(unknown(&topic)),
        TopicDeletion::InUse(webhooks) => Err(ApiError::InUse(format!(
            "the topic has {webhooks} webhooks: delete them first, or give force=true"
        ))),
        TopicDeletion::Deleted { webhooks, dropped_deliveries } => {
            Ok(JsonBody(DeletedTopic { deleted: true, webhooks, dropped_deliveries }))
        }
    }
}

pub(super) fn unknown(topic: &TopicRef) -> ApiError {
    match topic {
        TopicRef::Id(id) => no_topic(&id.to_string()),
        TopicRef::Name(name) => no_topic(name),
    }
}
