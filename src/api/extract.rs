//! Reads bodies, query strings and paths. If something cannot be read, the problem names the field.

use std::sync::Arc;

use axum::{
    body::{Bytes, to_bytes},
    extract::{FromRequest, FromRequestParts, MatchedPath, RawPathParams, Request, State},
    http::{
        HeaderMap,
        header::{CONTENT_LENGTH, CONTENT_TYPE},
        request::Parts,
    },
    middleware::Next,
    response::Response,
};
use http_body_util::LengthLimitError;
use serde::de::DeserializeOwned;

use super::{
    error::ApiError,
    json::{misfit, parse_json},
    route_index::RouteIndex,
    state::ApiState,
};
use crate::{
    broker::BrokerError,
    domain::{topic::TopicRef, webhook_ref::WebhookRef},
};

/// The media type of a body that holds one JSON object in each line.
pub(super) const NDJSON: &str = "application/x-ndjson";

/// A JSON body.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<ApiState> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, ApiError> {
        if !is_json(request.headers()) {
            return Err(ApiError::UnsupportedMediaType("application/json"));
        }
        parse_json(&read_body(request, state).await?, "").map(Self)
    }
}

/// A JSON body that may be left out.
pub(super) struct JsonOrNothing<T>(pub(super) T);

impl<T: DeserializeOwned + Default> FromRequest<ApiState> for JsonOrNothing<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, ApiError> {
        let is_json = is_json(request.headers());
        let body = read_body(request, state).await?;
        if body.is_empty() {
            return Ok(Self(T::default()));
        }
        if !is_json {
            return Err(ApiError::UnsupportedMediaType("application/json"));
        }
        parse_json(&body, "").map(Self)
    }
}

/// Whether the `content-type` is JSON: `application/json`, or `application/…+json`.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let kind = media_type(headers);
    kind == "application/json" || kind.starts_with("application/") && kind.ends_with("+json")
}

/// The body's media type, in lower case and without parameters.
pub(super) fn media_type(headers: &HeaderMap) -> String {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Reads the whole body. A body that says that it is too large is refused before it is read.
///
/// # Errors
/// [`BrokerError::TooLarge`] if it is larger than `api.max_body_bytes`, [`ApiError::SlowBody`] if
/// it takes too long, [`ApiError::Malformed`] if it ends early.
pub(super) async fn read_body(request: Request, state: &ApiState) -> Result<Bytes, ApiError> {
    let limit = state.max_body_bytes;
    let too_large = || {
        let text = format!("the body is larger than {limit} bytes (api.max_body_bytes)");
        ApiError::from(BrokerError::TooLarge(text))
    };
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    if announced.and_then(|length| length.parse::<u64>().ok()).is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    match tokio::time::timeout(state.body_timeout, to_bytes(request.into_body(), limit)).await {
        Err(_) => Err(ApiError::SlowBody(state.body_timeout)),
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) => Err(match std::error::Error::source(&error) {
            Some(cause) if cause.is::<LengthLimitError>() => too_large(),
            _ => ApiError::Malformed("the body ended early".to_owned()),
        }),
    }
}

/// A query string.
pub(super) struct Query<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        axum::extract::Query::try_from_uri(&parts.uri).map(|query| Self(query.0)).map_err(|rejection| {
            let text = rejection.body_text();
            let text = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
            // Either "limit: must be an integer", or a sentence that names the field itself.
            match text.split_once(": ") {
                Some((field, message)) if !field.contains(' ') => misfit(field, message),
                _ => misfit("", text),
            }
        })
    }
}

/// Lets a request through if its route takes all parameters of its query string. Otherwise a typing
/// error would widen a list in silence.
pub(super) async fn check_parameters(
    State(index): State<Arc<RouteIndex>>,
    path: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if let (Some(path), Some(query)) = (path, request.uri().query()) {
        index.check_query(request.method(), path.as_str(), query)?;
    }
    Ok(next.run(request).await)
}

/// The topic in the path.
pub(super) struct TopicPath(pub(super) TopicRef);

impl<S: Send + Sync> FromRequestParts<S> for TopicPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let text = segment(parts, state, "topic").await?;
        topic_ref(&text).map(Self)
    }
}

/// The id in the path.
pub(super) struct IdPath(pub(super) i64);

impl<S: Send + Sync> FromRequestParts<S> for IdPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        number(parts, state, "id").await.map(Self)
    }
}

/// The webhook in the path.
pub(super) struct WebhookPath(pub(super) WebhookRef);

impl<S: Send + Sync> FromRequestParts<S> for WebhookPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        webhook(parts, state).await.map(Self)
    }
}

/// The webhook and the message in the path.
pub(super) struct DeliveryPath {
    pub(super) webhook: WebhookRef,
    pub(super) message_id: i64,
}

impl<S: Send + Sync> FromRequestParts<S> for DeliveryPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Ok(Self {
            webhook: webhook(parts, state).await?,
            message_id: number(parts, state, "message_id").await?,
        })
    }
}

async fn webhook<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<WebhookRef, ApiError> {
    let text = segment(parts, state, "webhook").await?;
    WebhookRef::parse(&text).ok_or_else(|| BrokerError::no_webhook(text).into())
}

async fn number<S: Send + Sync>(parts: &mut Parts, state: &S, name: &str) -> Result<i64, ApiError> {
    let text = segment(parts, state, name).await?;
    text.parse().map_err(|_| BrokerError::NotFound(format!("{text:?} is no id")).into())
}

async fn segment<S: Send + Sync>(parts: &mut Parts, state: &S, name: &str) -> Result<String, ApiError> {
    let parameters = RawPathParams::from_request_parts(parts, state)
        .await
        .map_err(|_| ApiError::Malformed("the path is not UTF-8".to_owned()))?;
    let value = parameters.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned());
    Ok(value.unwrap_or_default())
}

/// Reads a topic's id or name.
///
/// # Errors
/// [`BrokerError::NotFound`] if no topic can have that id or name.
pub(super) fn topic_ref(text: &str) -> Result<TopicRef, ApiError> {
    TopicRef::parse(text).ok_or_else(|| BrokerError::no_topic(text).into())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::body::Body;

    use super::*;
    use crate::{
        broker::Broker,
        config::{Config, DatabaseConfig},
        store::Store,
    };

    fn state(body_timeout: Duration) -> ApiState {
        let url = Some("postgresql://nobody@127.0.0.1:1/nothing".to_owned().into());
        let database = DatabaseConfig { url, ..Config::default().database };
        let broker = Broker::new(Store::new(&database).unwrap(), Vec::new());
        ApiState { body_timeout, ..ApiState::new(broker, &Config::default().api).unwrap() }
    }

    #[tokio::test]
    async fn a_slow_body_is_given_up() {
        let drip = futures_util::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b" ")), ()))
        });
        let slow = Request::new(Body::from_stream(drip));
        let state = state(Duration::from_millis(300));
        let read = tokio::time::timeout(Duration::from_secs(20), read_body(slow, &state)).await.unwrap();
        assert!(matches!(read, Err(ApiError::SlowBody(_))), "{read:?}");
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit() {
        let state = ApiState { max_body_bytes: 10, ..state(Duration::from_secs(30)) };
        let read = async |body: &'static str| read_body(Request::new(Body::from(body)), &state).await;
        assert_eq!(read("0123456789").await.unwrap(), "0123456789");
        let refused = read("0123456789a").await.unwrap_err();
        assert_eq!(refused.to_string(), "the body is larger than 10 bytes (api.max_body_bytes)");
    }
}
