//! Dead letters.

use axum::{Json as JsonBody, extract::State};
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    ApiState,
    error::{ApiError, Problems},
    extract::{IdPath, Query, no_topic},
};
use crate::domain::{
    dead_letter::{DeadLetter, DeadLetterDetail, DeadLetterFilter},
    new_topic::TopicRef,
    page::{Items, PageQuery},
};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_dead_letters))
        .routes(routes!(count_dead_letters))
        .routes(routes!(get_dead_letter))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct DeadLettersQuery {
    /// Only dead letters of this topic, by id or name.
    topic: Option<String>,
    /// Only dead letters of this webhook.
    webhook_id: Option<i64>,
    /// Items on the page at most, 1 to 1000; 100 unless given.
    limit: Option<i64>,
    /// `next` of the page before.
    after: Option<i64>,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct CountQuery {
    /// Only dead letters of this topic, by id or name.
    topic: Option<String>,
    /// Only dead letters of this webhook.
    webhook_id: Option<i64>,
}

fn filter(topic: Option<&str>, webhook_id: Option<i64>) -> Result<DeadLetterFilter, ApiError> {
    let topic = topic.map(|topic| TopicRef::parse(topic).ok_or_else(|| no_topic(topic))).transpose()?;
    Ok(DeadLetterFilter { topic, webhook_id })
}

/// List dead letters, newest first.
#[utoipa::path(
    get, path = "/dead-letter", tag = "dead letters", params(DeadLettersQuery),
    responses((status = 200, description = "A page of dead letters.", body = Items<DeadLetter>), Problems),
)]
async fn list_dead_letters(
    State(state): State<ApiState>,
    Query(query): Query<DeadLettersQuery>,
) -> Result<JsonBody<Items<DeadLetter>>, ApiError> {
    let page = PageQuery { limit: query.limit, after: query.after }.page()?;
    let filter = filter(query.topic.as_deref(), query.webhook_id)?;
    let dead_letters = state.store.list_dead_letters(&filter, page).await?;
    Ok(JsonBody(Items::full(dead_letters, page, |dead_letter| dead_letter.id)))
}

/// How many dead letters there are.
#[derive(Serialize, utoipa::ToSchema)]
struct DeadLetterCount {
    /// Exactly.
    count: i64,
}

/// Count dead letters.
#[utoipa::path(
    get, path = "/dead-letter/count", tag = "dead letters", params(CountQuery),
    responses((status = 200, description = "The count.", body = DeadLetterCount), Problems),
)]
async fn count_dead_letters(
    State(state): State<ApiState>,
    Query(query): Query<CountQuery>,
) -> Result<JsonBody<DeadLetterCount>, ApiError> {
    let filter = filter(query.topic.as_deref(), query.webhook_id)?;
    Ok(JsonBody(DeadLetterCount { count: state.store.count_dead_letters(&filter).await? }))
}

/// Read a dead letter with its payload.
#[utoipa::path(
    get, path = "/dead-letter/{id}", tag = "dead letters", params(("id" = i64, Path, description = "The dead letter.")),
    responses((status = 200, description = "The dead letter.", body = DeadLetterDetail), Problems),
)]
async fn get_dead_letter(
    State(state): State<ApiState>,
    IdPath(id): IdPath,
) -> Result<JsonBody<DeadLetterDetail>, ApiError> {
    let found = state.store.get_dead_letter(id).await?;
    found.map(JsonBody).ok_or_else(|| ApiError::NotFound(format!("there is no dead letter {id}")))
}
