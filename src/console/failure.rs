//! What a page says if something is wrong.

use std::any::Any;

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};

use crate::{
    api::ApiError,
    broker::{BrokerError, Conflict},
    domain::violation::Violations,
};

/// Why there is no screen.
#[derive(Debug)]
pub(super) enum Failure {
    /// As the API would say it.
    Refused(Box<ApiError>),
    /// A template cannot be written.
    Unwritten(askama::Error),
    /// A change took too long.
    Unfinished,
    /// A handler has panicked.
    Panicked,
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::Refused(Box::new(error))
    }
}

impl From<BrokerError> for Failure {
    fn from(error: BrokerError) -> Self {
        ApiError::from(error).into()
    }
}

impl From<askama::Error> for Failure {
    fn from(error: askama::Error) -> Self {
        Self::Unwritten(error)
    }
}

impl Failure {
    /// There is no such thing.
    pub(super) fn not_found(text: &str) -> Self {
        BrokerError::NotFound(text.to_owned()).into()
    }

    /// What there is now does not allow it.
    pub(super) fn conflict(text: String) -> Self {
        BrokerError::Conflict { kind: Conflict::State, message: text }.into()
    }

    /// A field of a form or of a query string breaks a rule.
    pub(super) fn field(field: &str, rule: &str) -> Self {
        BrokerError::from(Violations::one(field, rule)).into()
    }
}

/// The answer to a request whose handler has panicked. The log says why.
pub(super) fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    Failure::Panicked.into_response()
}

/// What is wrong, for [`super::frame`].
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) status: StatusCode,
    pub(super) detail: String,
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, detail) = match self {
            Self::Refused(error) => error.tell(),
            Self::Unwritten(error) => {
                tracing::error!(%error, "a page of the console cannot be written");
                (StatusCode::INTERNAL_SERVER_ERROR, "something went wrong here; the log says what".to_owned())
            }
            Self::Unfinished => {
                let detail = "this takes too long. It may have been done: look before you try again";
                (StatusCode::SERVICE_UNAVAILABLE, detail.to_owned())
            }
            Self::Panicked => {
                let detail = "something went wrong here; the log says what. A change may have been made: look before you try \
                              again";
                (StatusCode::INTERNAL_SERVER_ERROR, detail.to_owned())
            }
        };
        let mut response = status.into_response();
        response.extensions_mut().insert(Told { status, detail });
        response
    }
}
