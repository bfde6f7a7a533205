//! The routes of dead letters.

use axum::Json as JsonBody;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    caller::Caller,
    error::{ApiError, Problems},
    extract::{IdPath, Query, topic_ref},
    schema::{CountQuery, DeadLetter, DeadLetterCount, DeadLetterDetail, DeadLettersQuery, Items},
    state::ApiState,
};
use crate::domain::dead_letter::DeadLetterFilter;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_dead_letters))
        .routes(routes!(count_dead_letters))
        .routes(routes!(get_dead_letter))
}

fn filter(CountQuery { topic, webhook_id }: CountQuery) -> Result<DeadLetterFilter, ApiError> {
    let topic = topic.as_deref().map(topic_ref).transpose()?;
    Ok(DeadLetterFilter { topic, webhook_id })
}

/// List dead letters, newest first.
#[utoipa::path(
    get, path = "/dead-letter", tag = "dead letters", params(DeadLettersQuery),
    responses((status = 200, description = "A page of dead letters.", body = Items<DeadLetter>), Problems),
)]
async fn list_dead_letters(
    caller: Caller,
    Query(query): Query<DeadLettersQuery>,
) -> Result<JsonBody<Items<DeadLetter>>, ApiError> {
    let (query, page) = query.into_parts();
    Ok(JsonBody(caller.broker.list_dead_letters(&filter(query)?, page.into()).await?.into()))
}

/// Count dead letters.
#[utoipa::path(
    get, path = "/dead-letter/count", tag = "dead letters", params(CountQuery),
    responses((status = 200, description = "The count.", body = DeadLetterCount), Problems),
)]
async fn count_dead_letters(
    caller: Caller,
    Query(query): Query<CountQuery>,
) -> Result<JsonBody<DeadLetterCount>, ApiError> {
    let count = caller.broker.count_dead_letters(&filter(query)?).await?;
    Ok(JsonBody(DeadLetterCount { count }))
}

/// Read a dead letter with its message's payload and headers.
#[utoipa::path(
    get, path = "/dead-letter/{id}", tag = "dead letters", params(("id" = i64, Path, description = "The dead letter.")),
    responses((status = 200, description = "The dead letter.", body = DeadLetterDetail), Problems),
)]
async fn get_dead_letter(caller: Caller, IdPath(id): IdPath) -> Result<JsonBody<DeadLetterDetail>, ApiError> {
    let detail = DeadLetterDetail::from(caller.broker.get_dead_letter(id).await?);
    Ok(JsonBody(if caller.sees_payloads { detail } else { detail.without_payload() }))
}
