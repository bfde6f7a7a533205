//! The routes of dead letters.

use axum::{Json as JsonBody, http::StatusCode};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    caller::Caller,
    error::{ApiError, Problems},
    extract::{IdPath, Query, topic_ref},
    schema::{
        DeadLetter, DeadLetterCount, DeadLetterDetail, DeadLetterFilterQuery, DeadLetterGroup,
        DeadLettersQuery, Delivery, Items,
    },
    state::ApiState,
};
use crate::domain::page;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_dead_letters))
        .routes(routes!(count_dead_letters))
        .routes(routes!(list_dead_letter_groups))
        .routes(routes!(get_dead_letter, discard_dead_letter))
        .routes(routes!(replay_dead_letter))
}

/// List dead letters, newest first.
///
/// Those that were canceled or superseded are left out unless `reason` names them.
#[utoipa::path(
    get, path = "/dead-letter", tag = "dead letters", params(DeadLettersQuery),
    responses((status = 200, description = "A page of dead letters.", body = Items<DeadLetter>), Problems),
)]
async fn list_dead_letters(
    caller: Caller,
    Query(query): Query<DeadLettersQuery>,
) -> Result<JsonBody<Items<DeadLetter>>, ApiError> {
    let (query, page) = query.into_parts();
    let filter = query.into_filter(topic_ref)?;
    Ok(JsonBody(caller.broker.list_dead_letters(&filter, page.into()).await?.into()))
}

/// Count dead letters.
#[utoipa::path(
    get, path = "/dead-letter/count", tag = "dead letters", params(DeadLetterFilterQuery),
    responses((status = 200, description = "The count.", body = DeadLetterCount), Problems),
)]
async fn count_dead_letters(
    caller: Caller,
    Query(query): Query<DeadLetterFilterQuery>,
) -> Result<JsonBody<DeadLetterCount>, ApiError> {
    let count = caller.broker.count_dead_letters(&query.into_filter(topic_ref)?).await?;
    Ok(JsonBody(DeadLetterCount { count }))
}

/// Group dead letters by webhook, reason, failure and hour.
///
/// Of each webhook the newest 10,000 are looked at; `capped` says whether there may be older ones.
/// There are at most 1,000 groups, the newest hour first. `webhook_id`, `reason`, `error_class` and
/// `status_code` of a group are a filter.
#[utoipa::path(
    get, path = "/dead-letter/groups", tag = "dead letters", params(DeadLetterFilterQuery),
    responses((status = 200, description = "The groups.", body = Items<DeadLetterGroup>), Problems),
)]
async fn list_dead_letter_groups(
    caller: Caller,
    Query(query): Query<DeadLetterFilterQuery>,
) -> Result<JsonBody<Items<DeadLetterGroup>>, ApiError> {
    let items = caller.broker.list_dead_letter_groups(&query.into_filter(topic_ref)?).await?;
    Ok(JsonBody(page::Items { items, next: None }.into()))
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

/// Deliver a dead letter once more.
///
/// The webhook's filter and types do not count. A halted lane stays halted.
#[utoipa::path(
    post, path = "/dead-letter/{id}/replay", tag = "dead letters",
    params(("id" = i64, Path, description = "The dead letter.")),
    responses((status = 200, description = "The delivery, which is owed again.", body = Delivery), Problems),
)]
async fn replay_dead_letter(caller: Caller, IdPath(id): IdPath) -> Result<JsonBody<Delivery>, ApiError> {
    Ok(JsonBody(caller.broker.replay_dead_letter(id).await?.into()))
}

/// Discard a dead letter. Its message is never delivered.
#[utoipa::path(
    delete, path = "/dead-letter/{id}", tag = "dead letters",
    params(("id" = i64, Path, description = "The dead letter.")),
    responses((status = 204, description = "It is gone."), Problems),
)]
async fn discard_dead_letter(caller: Caller, IdPath(id): IdPath) -> Result<StatusCode, ApiError> {
    caller.broker.discard_dead_letter(id).await?;
    Ok(StatusCode::NO_CONTENT)
}
