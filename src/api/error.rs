//! Every error of the API, and the problem (RFC 9457) that it becomes.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{
        HeaderValue, StatusCode, Uri,
        header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
    },
    middleware::Next,
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use problem_details::ProblemDetails;
use serde::Serialize;
use uuid::Uuid;

use super::route_index::RouteIndex;
use crate::{
    broker::{BrokerError, Conflict},
    domain::{
        operation::StripeHolder,
        violation::{self, Violations},
    },
    store::StoreError,
    telemetry::LogThrottle,
};

/// Limits how often the log says that the database is away.
static AWAY: Mutex<LogThrottle> = Mutex::new(LogThrottle::new());

const PROBLEM_JSON: &str = "application/problem+json";

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    /// Path, body or query string cannot be read.
    #[error("{0}")]
    Malformed(String),
    /// The request needs a token, and has none or an unknown one.
    #[error("a bearer token that is known here is needed")]
    Unauthorized,
    /// The token does not permit this.
    #[error("{0}")]
    Forbidden(String),
    /// The request names a host that is not this machine.
    #[error(
        "{0:?} is not a name of this machine: without api.tokens, name localhost, or add the host to api.allowed_hosts"
    )]
    Misdirected(String),
    /// A page of another site sent the request.
    #[error("a browser sent this for another site: without api.tokens, only pages of this API may use it")]
    ForeignPage,
    /// The body did not come in time.
    #[error("the body did not come within {} s", .0.as_secs())]
    SlowBody(std::time::Duration),
    /// There is no room for the body.
    #[error("the bodies of other requests take all {0} bytes of api.max_bodies_bytes; try again")]
    TooManyBodies(usize),
    /// The route does not accept bodies of this media type.
    #[error("the content-type must be {0}")]
    UnsupportedMediaType(&'static str),
    /// The use case failed.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

impl From<Violations> for ApiError {
    fn from(violations: Violations) -> Self {
        Self::Broker(violations.into())
    }
}

impl ApiError {
    /// The HTTP status, and the problem's type if the status alone does not say what is wrong. No
    /// other place maps errors to HTTP.
    pub(super) fn status(&self) -> (StatusCode, Option<&'static str>) {
        match self {
            Self::Malformed(_) => (StatusCode::BAD_REQUEST, None),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, None),
            Self::Forbidden(_) | Self::ForeignPage => (StatusCode::FORBIDDEN, None),
            Self::Misdirected(_) => (StatusCode::MISDIRECTED_REQUEST, Some("/problems/host")),
            Self::SlowBody(_) => (StatusCode::REQUEST_TIMEOUT, None),
            Self::TooManyBodies(_) => (StatusCode::SERVICE_UNAVAILABLE, None),
            Self::UnsupportedMediaType(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, None),
            Self::Broker(error) => match error {
                BrokerError::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, Some("/problems/invalid")),
                BrokerError::NeedsAll(_) => (StatusCode::UNPROCESSABLE_ENTITY, Some("/problems/needs-all")),
                BrokerError::TooBroad => (StatusCode::SERVICE_UNAVAILABLE, Some("/problems/too-broad")),
                BrokerError::NotFound(_) => (StatusCode::NOT_FOUND, None),
                BrokerError::NotPermitted(_) => (StatusCode::FORBIDDEN, None),
                BrokerError::Conflict { kind, .. } => {
                    let kind = match kind {
                        Conflict::Duplicate => Some("/problems/duplicate"),
                        Conflict::Paused => Some("/problems/paused"),
                        Conflict::Overflow { .. } => Some("/problems/overflow"),
                        Conflict::InUse => Some("/problems/in-use"),
                        Conflict::NotHead { .. } => Some("/problems/not-head"),
                        Conflict::InFlight { .. } => Some("/problems/in-flight"),
                        Conflict::PartitionHeld(_) => Some("/problems/partition-held"),
                        Conflict::State => None,
                        Conflict::JobFinished => Some("/problems/job-finished"),
                        Conflict::NotSending => Some("/problems/not-sending"),
                    };
                    (StatusCode::CONFLICT, kind)
                }
                BrokerError::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, None),
                BrokerError::Unavailable(_) | BrokerError::Busy(_) | BrokerError::NotReady(_) => {
                    (StatusCode::SERVICE_UNAVAILABLE, None)
                }
                BrokerError::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, None),
            },
        }
    }

    /// Logs the cause that the answer does not show.
    fn log(&self) {
        match self {
            Self::Broker(BrokerError::Internal(cause)) => tracing::error!(%cause, "a request failed"),
            Self::Broker(BrokerError::Unavailable(cause)) => log_unavailable(cause),
            _ => {}
        }
    }
}

fn log_unavailable(cause: &StoreError) {
    let said = AWAY.lock().unwrap_or_else(PoisonError::into_inner).say(Instant::now());
    if let Some(left_out) = said {
        tracing::warn!(%cause, left_out, "the database does not serve; this is logged at most every ten seconds");
    }
}

/// The fields of a problem beyond those of RFC 9457.
#[derive(Serialize)]
struct Extensions {
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Violation>,
    /// What a conflict is with.
    #[serde(flatten)]
    with: Option<ConflictWith>,
}

/// The fields of a problem that say what a conflict is with.
#[derive(Serialize)]
#[serde(untagged)]
enum ConflictWith {
    Webhook { webhook: String },
    Head { head: Option<i64> },
    Worker { worker: Uuid, since: Option<Timestamp> },
    Holder { pid: Option<i32>, application_name: Option<String>, since: Option<Timestamp> },
}

impl ConflictWith {
    fn of(conflict: &Conflict) -> Option<Self> {
        Some(match conflict {
            Conflict::Overflow { webhook } => Self::Webhook { webhook: webhook.clone() },
            Conflict::NotHead { head } => Self::Head { head: *head },
            Conflict::InFlight { worker, since } => Self::Worker { worker: *worker, since: *since },
            Conflict::PartitionHeld(StripeHolder { pid, application_name, since }) => {
                Self::Holder { pid: *pid, application_name: application_name.clone(), since: *since }
            }
            _ => return None,
        })
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.log();
        let (status, kind) = self.status();
        let detail = self.to_string();
        let header = match status {
            StatusCode::UNAUTHORIZED => Some((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            StatusCode::SERVICE_UNAVAILABLE => Some((RETRY_AFTER, HeaderValue::from_static("1"))),
            // What is left of the body is not read.
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT => {
                Some((CONNECTION, HeaderValue::from_static("close")))
            }
            _ => None,
        };
        let with = self.conflict_with();
        let mut response = problem(status, kind, detail, self.violations(), with).into_response();
        response.headers_mut().extend(header);
        response
    }
}

impl ApiError {
    fn conflict_with(&self) -> Option<ConflictWith> {
        match self {
            Self::Broker(BrokerError::Conflict { kind, .. }) => ConflictWith::of(kind),
            _ => None,
        }
    }

    /// The rules that the request breaks.
    fn violations(self) -> Vec<Violation> {
        match self {
            Self::Broker(BrokerError::Invalid(violations)) => {
                violations.into_vec().into_iter().map(Violation::from).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// The problem that the API would answer, for the command line.
pub(crate) struct Problem {
    /// What is wrong, for people.
    pub(crate) detail: String,
    /// The problem as JSON.
    pub(crate) json: String,
}

impl From<ApiError> for Problem {
    fn from(error: ApiError) -> Self {
        let ((status, kind), detail) = (error.status(), error.to_string());
        let with = error.conflict_with();
        let problem = problem(status, kind, detail.clone(), error.violations(), with);
        Self { detail, json: serde_json::to_string(&problem).unwrap_or_default() }
    }
}

impl From<BrokerError> for Problem {
    fn from(error: BrokerError) -> Self {
        ApiError::from(error).into()
    }
}

/// A problem of which the status says everything but the reason, for the command line.
pub(crate) fn bare_problem_json(status: StatusCode, detail: &str) -> String {
    serde_json::to_string(&problem(status, None, detail.to_owned(), Vec::new(), None)).unwrap_or_default()
}

/// One broken rule.
#[derive(Serialize, utoipa::ToSchema)]
struct Violation {
    /// The field. A nested field is a path: `messages[3].payload`.
    #[schema(examples("batch_size"))]
    field: String,
    /// The rule. It is read after the field's name.
    #[schema(examples("must be between 1 and 1000"))]
    rule: String,
}

impl From<violation::Violation> for Violation {
    fn from(violation::Violation { field, rule }: violation::Violation) -> Self {
        Self { field, rule }
    }
}

fn problem(
    status: StatusCode,
    kind: Option<&'static str>,
    detail: String,
    errors: Vec<Violation>,
    with: Option<ConflictWith>,
) -> ProblemDetails<Extensions> {
    let kind = kind.unwrap_or("about:blank");
    let first = errors.first();
    ProblemDetails::from_status_code(status)
        .with_type(Uri::from_static(kind))
        .with_detail(detail)
        .with_extensions(Extensions {
            field: first.map(|violation| violation.field.clone()),
            rule: first.map(|violation| violation.rule.clone()),
            errors,
            with,
        })
}

/// Turns every other error into a problem: unknown routes, wrong methods, time limits, panics.
pub(super) async fn problems_only(
    State(index): State<Arc<RouteIndex>>,
    request: Request,
    next: Next,
) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    if !is_error || response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == PROBLEM_JSON) {
        return response;
    }
    let detail = match status {
        StatusCode::NOT_FOUND => not_found(&path, &index),
        StatusCode::METHOD_NOT_ALLOWED => {
            let methods = route.map(|route| index.methods(route.as_str())).unwrap_or_default();
            format!("{path} does not take {method}; it takes {}", methods.join(", "))
        }
        status => bare_detail(status).to_owned(),
    };
    let mut answer = problem(status, None, detail, Vec::new(), None).into_response();
    let (mut parts, _) = response.into_parts();
    // The headers of the old body go. The others, such as Allow, are kept.
    parts.headers.remove(CONTENT_TYPE);
    parts.headers.remove(CONTENT_LENGTH);
    answer.headers_mut().extend(parts.headers);
    answer
}

fn not_found(path: &str, index: &RouteIndex) -> String {
    match index.nearest(path) {
        Some(nearest) => format!("there is nothing at {path}; did you mean {nearest}?"),
        None => format!("there is nothing at {path}; /docs lists all paths"),
    }
}

fn bare_detail(status: StatusCode) -> &'static str {
    match status {
        StatusCode::SERVICE_UNAVAILABLE => "the request took too long and was given up",
        status if status.is_server_error() => "something went wrong here; the log says what",
        _ => "the request cannot be read",
    }
}

/// An RFC 9457 problem.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemSchema {
    /// `about:blank` if the status says everything; otherwise `/problems/invalid`,
    /// `/problems/needs-all`, `/problems/duplicate`, `/problems/paused`, `/problems/overflow`,
    /// `/problems/in-use`, `/problems/not-head`, `/problems/in-flight`, `/problems/partition-held`,
    /// `/problems/job-finished`, `/problems/not-sending`, `/problems/too-broad` or
    /// `/problems/host`.
    #[schema(examples("/problems/invalid"))]
    r#type: String,
    /// The status in words.
    #[schema(examples("Unprocessable Entity"))]
    title: String,
    /// The HTTP status.
    #[schema(examples(422))]
    status: u16,
    /// What is wrong, for people.
    #[schema(examples("batch_size must be between 1 and 1000"))]
    detail: String,
    /// The first field that breaks a rule; absent for other problems.
    #[schema(examples("batch_size"))]
    field: Option<String>,
    /// The rule that it breaks; absent for other problems.
    #[schema(examples("must be between 1 and 1000"))]
    rule: Option<String>,
    /// All broken rules; absent for other problems.
    errors: Option<Vec<Violation>>,
    /// `overflow`: the webhook, as `topic:name`.
    webhook: Option<String>,
    /// `not-head`: the head of the lane.
    head: Option<i64>,
    /// `in-flight`: the incarnation of the worker that holds the lane.
    worker: Option<Uuid>,
    /// `partition-held`: the process id of the session that holds the partition.
    pid: Option<i32>,
    /// `partition-held`: the application that the session names.
    application_name: Option<String>,
    /// `in-flight` and `partition-held`: since when it is held.
    since: Option<Timestamp>,
}

/// The answer of every endpoint if the request fails.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "describes answers, and is never one itself")]
pub(super) enum Problems {
    /// A problem (RFC 9457): the request cannot be read, is not allowed, names something unknown,
    /// is in conflict with the current state or breaks a rule, or it cannot be served now (503, with
    /// `Retry-After`).
    #[response(status = "default", content_type = "application/problem+json")]
    Problem(#[to_schema] ProblemSchema),
}
