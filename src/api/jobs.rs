//! The routes of jobs, and of bulk requests that lead to jobs.

use axum::{
    Json as JsonBody,
    http::{StatusCode, header::LOCATION},
    response::{IntoResponse, Response},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    caller::Caller,
    error::{ApiError, Problems},
    extract::{IdPath, Json, Query, WebhookPath, topic_ref},
    schema::{
        CancelRequest, DeadLettersRequest, Items, Job, JobsQuery, Matches, PurgeRequest, ReplayRequest,
    },
    state::ApiState,
};
use crate::{
    broker::{Bulk, DeadLetterAction},
    domain::job,
};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_jobs))
        .routes(routes!(get_job))
        .routes(routes!(cancel_job))
        .routes(routes!(replay_webhook))
        .routes(routes!(cancel_webhook))
        .routes(routes!(replay_dead_letters))
        .routes(routes!(discard_dead_letters))
        .routes(routes!(purge))
}

/// The answer to a bulk request: a job that was made, and where to watch it; or what there is.
pub(super) fn bulk(answer: Bulk) -> Response {
    match answer {
        Bulk::Job(job) => accepted(*job),
        Bulk::DryRun(matches) => JsonBody(Matches::from(matches)).into_response(),
    }
}

/// The answer with a job that was made.
pub(super) fn accepted(job: job::Job) -> Response {
    let location = format!("/jobs/{}", job.id);
    (StatusCode::ACCEPTED, [(LOCATION, location)], JsonBody(Job::from(job))).into_response()
}

/// List jobs, newest first.
#[utoipa::path(
    get, path = "/jobs", tag = "jobs", params(JobsQuery),
    responses((status = 200, description = "A page of jobs.", body = Items<Job>), Problems),
)]
async fn list_jobs(caller: Caller, Query(query): Query<JobsQuery>) -> Result<JsonBody<Items<Job>>, ApiError> {
    let (filter, page) = query.into_parts();
    Ok(JsonBody(caller.broker.list_jobs(&filter, page.into()).await?.into()))
}

/// Read a job.
#[utoipa::path(
    get, path = "/jobs/{id}", tag = "jobs", params(("id" = i64, Path, description = "The job.")),
    responses((status = 200, description = "The job.", body = Job), Problems),
)]
async fn get_job(caller: Caller, IdPath(id): IdPath) -> Result<JsonBody<Job>, ApiError> {
    Ok(JsonBody(caller.broker.get_job(id).await?.into()))
}

/// Cancel a job. It ends after the step that is under way. What it has done stays done.
#[utoipa::path(
    post, path = "/jobs/{id}/cancel", tag = "jobs", params(("id" = i64, Path, description = "The job.")),
    responses((status = 200, description = "The job as it is now.", body = Job), Problems),
)]
async fn cancel_job(caller: Caller, IdPath(id): IdPath) -> Result<JsonBody<Job>, ApiError> {
    Ok(JsonBody(caller.broker.cancel_job(id).await?.into()))
}

/// Deliver messages of a range to a webhook once more.
///
/// The webhook's types and filter apply as they are now. Messages that are still owed are left out.
#[utoipa::path(
    post, path = "/webhooks/{webhook}/replay", tag = "jobs", params(("webhook" = String, Path, description = "Id, or `topic:name`.")),
    request_body = ReplayRequest,
    responses(
        (status = 202, description = "The job that does it.", body = Job),
        (status = 200, description = "What there is, if `dry_run` was true.", body = Matches),
        Problems
    ),
)]
async fn replay_webhook(
    caller: Caller,
    WebhookPath(webhook): WebhookPath,
    Json(request): Json<ReplayRequest>,
) -> Result<Response, ApiError> {
    let (range, options) = request.into_parts();
    Ok(bulk(caller.broker.replay_webhook(&webhook, &range, options).await?))
}

/// Cancel what a webhook is owed: messages of a range are not delivered any more.
///
/// They become dead letters with the reason `canceled`, which can be replayed.
#[utoipa::path(
    post, path = "/webhooks/{webhook}/cancel", tag = "jobs", params(("webhook" = String, Path, description = "Id, or `topic:name`.")),
    request_body = CancelRequest,
    responses(
        (status = 202, description = "The job that does it.", body = Job),
        (status = 200, description = "What there is, if `dry_run` was true.", body = Matches),
        Problems
    ),
)]
async fn cancel_webhook(
    caller: Caller,
    WebhookPath(webhook): WebhookPath,
    Json(request): Json<CancelRequest>,
) -> Result<Response, ApiError> {
    let (range, options) = request.into_parts();
    Ok(bulk(caller.broker.cancel_webhook(&webhook, &range, options).await?))
}

/// Deliver all dead letters that a filter means once more.
///
/// Dead letters whose message is still owed or was deleted are left out.
#[utoipa::path(
    post, path = "/dead-letter/replay", tag = "jobs", request_body = DeadLettersRequest,
    responses(
        (status = 202, description = "The job that does it.", body = Job),
        (status = 200, description = "What there is, if `dry_run` was true.", body = Matches),
        Problems
    ),
)]
async fn replay_dead_letters(
    caller: Caller,
    Json(request): Json<DeadLettersRequest>,
) -> Result<Response, ApiError> {
    let (filter, options) = request.into_parts(topic_ref)?;
    Ok(bulk(caller.broker.bulk_dead_letters(DeadLetterAction::Replay, &filter, options).await?))
}

/// Discard all dead letters that a filter means. Their messages are never delivered.
#[utoipa::path(
    post, path = "/dead-letter/discard", tag = "jobs", request_body = DeadLettersRequest,
    responses(
        (status = 202, description = "The job that does it.", body = Job),
        (status = 200, description = "What there is, if `dry_run` was true.", body = Matches),
        Problems
    ),
)]
async fn discard_dead_letters(
    caller: Caller,
    Json(request): Json<DeadLettersRequest>,
) -> Result<Response, ApiError> {
    let (filter, options) = request.into_parts(topic_ref)?;
    Ok(bulk(caller.broker.bulk_dead_letters(DeadLetterAction::Discard, &filter, options).await?))
}

/// Delete what is past its retention now.
///
/// The leader does so every minute; this job does not wait for that. What is owed stays, and so do
/// messages of dead letters.
#[utoipa::path(
    post, path = "/purge", tag = "jobs", request_body = PurgeRequest,
    responses((status = 202, description = "The job that does it.", body = Job), Problems),
)]
async fn purge(caller: Caller, Json(request): Json<PurgeRequest>) -> Result<Response, ApiError> {
    Ok(accepted(caller.broker.purge(request.rate_per_second).await?))
}
