//! Every error, and the RFC 9457 problem it becomes.

use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

use axum::{
    extract::Request,
    http::{
        HeaderValue, Method, StatusCode, Uri,
        header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
    },
    middleware::Next,
    response::{IntoResponse, Response},
};
use problem_details::ProblemDetails;
use serde::Serialize;

use crate::{
    domain::violation::{Violation, Violations},
    store::StoreError,
    telemetry::Seldom,
};

/// For the log, which one line serves as well as thousands.
static AWAY: Mutex<Seldom> = Mutex::new(Seldom::new());

const PROBLEM_JSON: &str = "application/problem+json";

/// Why a request was not done.
#[derive(Debug)]
pub(super) enum ApiError {
    /// The request cannot be read.
    Malformed(String),
    /// It needs a token, and has none or an unknown one.
    Unauthorized,
    /// Its token's role may not do this.
    Forbidden,
    /// What the path or the body names does not exist.
    NotFound(String),
    /// The name is taken.
    Duplicate(String),
    /// The topic takes no messages.
    Paused(String),
    /// It still has webhooks.
    InUse(String),
    /// The body, or a payload in it, is too large.
    TooLarge(String),
    /// The body is of a type that is not taken here.
    UnsupportedMediaType(&'static str),
    /// Rules are broken.
    Invalid(Violations),
    /// It may work in a moment.
    Unavailable(String),
    /// Nobody's fault but ours.
    Internal(StoreError),
}

impl From<Violations> for ApiError {
    fn from(violations: Violations) -> Self {
        Self::Invalid(violations)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let message = || error.database_message().unwrap_or_default().to_owned();
        if error.is_unavailable() {
            return Self::database_away(&error);
        }
        match error.sql_code() {
            Some("23505") if error.constraint() == Some("topics_name_key") => {
                Self::Duplicate("a topic of this name exists already".to_owned())
            }
            // The topic went while the message was on its way.
            Some("23503") => Self::NotFound(message()),
            Some("54000") => Self::TooLarge(message()),
            Some("55000") => Self::Paused(message()),
            _ => Self::Internal(error),
        }
    }
}

impl ApiError {
    fn database_away(cause: &StoreError) -> Self {
        let said = AWAY.lock().unwrap_or_else(PoisonError::into_inner).say(Instant::now());
        if let Some(left_out) = said {
            tracing::warn!(%cause, left_out, "the database does not serve; this is said every ten seconds at most");
        }
        Self::Unavailable("the database does not serve right now; try again in a moment".to_owned())
    }

    /// The status, and a type where the status alone does not say what is wrong.
    fn status(&self) -> (StatusCode, Option<&'static str>) {
        match self {
            Self::Malformed(_) => (StatusCode::BAD_REQUEST, None),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, None),
            Self::Forbidden => (StatusCode::FORBIDDEN, None),
            Self::NotFound(_) => (StatusCode::NOT_FOUND, None),
            Self::Duplicate(_) => (StatusCode::CONFLICT, Some("/problems/duplicate")),
            Self::Paused(_) => (StatusCode::CONFLICT, Some("/problems/paused")),
            Self::InUse(_) => (StatusCode::CONFLICT, Some("/problems/in-use")),
            Self::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, None),
            Self::UnsupportedMediaType(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, None),
            Self::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, Some("/problems/invalid")),
            Self::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, None),
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, None),
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::Malformed(detail)
            | Self::NotFound(detail)
            | Self::Duplicate(detail)
            | Self::Paused(detail)
            | Self::InUse(detail)
            | Self::TooLarge(detail)
            | Self::Unavailable(detail) => detail.clone(),
            Self::Unauthorized => "a bearer token that is known here is needed".to_owned(),
            Self::Forbidden => "the token's role may not do this".to_owned(),
            Self::UnsupportedMediaType(taken) => format!("the content-type must be {taken}"),
            Self::Invalid(violations) => violations.to_string(),
            Self::Internal(_) => "something went wrong here; the log says what".to_owned(),
        }
    }
}

/// What a problem says beyond RFC 9457.
#[derive(Serialize)]
struct Extensions {
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Violation>,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if let Self::Internal(cause) = &self {
            tracing::error!(%cause, "a request failed");
        }
        let (status, kind) = self.status();
        let detail = self.detail();
        let mut headers = Vec::new();
        match &self {
            Self::Unauthorized => headers.push((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            Self::Unavailable(_) => headers.push((RETRY_AFTER, HeaderValue::from_static("1"))),
            _ => {}
        }
        let errors = match self {
            Self::Invalid(violations) => violations.into_vec(),
            _ => Vec::new(),
        };
        let mut response = problem(status, kind, detail, errors);
        response.headers_mut().extend(headers);
        response
    }
}

fn problem(
    status: StatusCode,
    kind: Option<&'static str>,
    detail: String,
    errors: Vec<Violation>,
) -> Response {
    let kind = kind.unwrap_or("about:blank");
    let first = errors.first();
    ProblemDetails::from_status_code(status)
        .with_type(Uri::from_static(kind))
        .with_detail(detail)
        .with_extensions(Extensions {
            field: first.map(|violation| violation.field.clone()),
            rule: first.map(|violation| violation.rule.clone()),
            errors,
        })
        .into_response()
}

/// Gives every error that is no problem yet the body of one: unknown routes, wrong methods, time limits, panics.
pub(super) async fn problems_only(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    if !is_error || response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == PROBLEM_JSON) {
        return response;
    }
    let mut answer = problem(status, None, bare_detail(status, &method, &path), Vec::new());
    let (mut parts, _) = response.into_parts();
    // What the answer says of its own body stands; the rest, such as Allow, is kept.
    parts.headers.remove(CONTENT_TYPE);
    parts.headers.remove(CONTENT_LENGTH);
    answer.headers_mut().extend(parts.headers);
    answer
}

fn bare_detail(status: StatusCode, method: &Method, path: &str) -> String {
    match status {
        StatusCode::NOT_FOUND => format!("there is nothing at {path}"),
        StatusCode::METHOD_NOT_ALLOWED => format!("{path} does not take {method}"),
        StatusCode::SERVICE_UNAVAILABLE => "the request took too long and was given up".to_owned(),
        status if status.is_server_error() => "something went wrong here; the log says what".to_owned(),
        _ => "the request cannot be read".to_owned(),
    }
}

/// An RFC 9457 problem.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemSchema {
    /// `about:blank` where the status says it all, else `/problems/` and `invalid`, `duplicate`, `paused` or `in-use`.
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
    /// The first field that breaks a rule.
    #[schema(examples("batch_size"))]
    field: Option<String>,
    /// The rule it breaks.
    #[schema(examples("must be between 1 and 1000"))]
    rule: Option<String>,
    /// Every broken rule.
    errors: Option<Vec<Violation>>,
}

/// What every endpoint may answer instead.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "describes answers, and is never one itself")]
pub(super) enum Problems {
    /// A problem (RFC 9457): malformed, not allowed, unknown, in conflict, breaking a rule, or the database is away.
    #[response(status = "default", content_type = "application/problem+json")]
    Problem(#[to_schema] ProblemSchema),
}
