//! The parts of a request that are the same for every message of a webhook. They are made once for
//! each version of its settings.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    HeaderMap, Request, Uri,
    header::{CONTENT_TYPE, HOST, HeaderValue, USER_AGENT},
};
use secrecy::ExposeSecret;

use super::{
    super::guard::{UrlError, parse_url},
    body,
    headers::{self, HeaderError, Stamp},
    identity::Identity,
    signature::{SecretError, SigningKey, sign_with_all},
};
use crate::domain::{
    attempt::AttemptResult,
    headers::HEADERS_MAX,
    message::Message,
    target::{Target, is_source},
    webhook::Format,
};

/// The value of the header `user-agent`.
const PRODUCT: &str = concat!("pgtopic/", env!("CARGO_PKG_VERSION"));

/// Why no request can be made from a webhook's settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrepareError {
    /// Its URL breaks a rule.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// It has no secret, so no request could be signed.
    #[error("the webhook has no signing secret")]
    NoSecret,
    /// One of its secrets is not a signing secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// One of its headers cannot be sent.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// It has more headers than a webhook may have.
    #[error("the webhook has {count} headers, more than the {HEADERS_MAX} allowed")]
    TooManyHeaders {
        /// How many it has.
        count: usize,
    },
    /// Its topic's name cannot be the value of a header.
    #[error("the topic's name is not visible ASCII")]
    Topic,
    /// The installation's name cannot be the value of a header.
    #[error("the installation's name (database.source) is not visible ASCII")]
    Source,
}

impl PrepareError {
    /// The failed attempt to record for a message of this webhook. No request was made.
    pub fn to_attempt_result(&self) -> AttemptResult {
        AttemptResult::no_request(self.to_string())
    }
}

/// A webhook's settings, prepared for making requests. Its `Debug` output shows neither URL nor
/// headers nor keys.
pub struct PreparedTarget {
    webhook_id: i64,
    body_origin: body::Origin,
    ordered: bool,
    format: Format,
    batch_size: usize,
    timeout: Duration,
    keys: Vec<SigningKey>,
    fixed_headers: HeaderMap,
    path: Uri,
    identity: Arc<Identity>,
}

impl PreparedTarget {
    /// Prepares a webhook's settings.
    ///
    /// It does not check whether the guard permits the URL's address: the connection does that.
    ///
    /// It never panics, whatever SQL has written, because a worker prepares all webhooks.
    ///
    /// # Errors
    /// [`PrepareError`] if there is no secret, if the URL, a secret, a header or the topic's name
    /// is not valid, or if there are too many headers. The API checks all of this, so only settings
    /// that were written with SQL can fail.
    pub fn new(target: &Target) -> Result<Self, PrepareError> {
        let uri = parse_url(&target.url)?;
        if target.secrets.is_empty() {
            return Err(PrepareError::NoSecret);
        }
        // `HeaderMap` panics if it holds more than about 24,000 headers.
        let count = target.headers.len();
        if count > HEADERS_MAX {
            return Err(PrepareError::TooManyHeaders { count });
        }
        let keys = target.secrets.iter().map(|secret| SigningKey::parse(secret.expose_secret()));
        let identity = Identity::of(&uri)?;
        let batch = target.batch_size > 1;
        let mut fixed_headers = HeaderMap::new();
        fixed_headers.insert(HOST, HeaderValue::try_from(identity.host()).map_err(|_| UrlError::Host)?);
        fixed_headers
            .insert(CONTENT_TYPE, HeaderValue::from_static(body::content_type(target.format, batch)));
        fixed_headers.insert(USER_AGENT, HeaderValue::from_static(PRODUCT));
        let source = visible(&target.source).filter(|_| is_source(&target.source));
        fixed_headers.insert("webhook-source", source.ok_or(PrepareError::Source)?);
        fixed_headers.insert("webhook-subscription", HeaderValue::from(target.webhook_id));
        fixed_headers.insert("webhook-topic", visible(&target.topic).ok_or(PrepareError::Topic)?);
        for (name, value) in &target.headers {
            let (name, value) = headers::parse_header(name, value)?;
            fixed_headers.insert(name, value);
        }
        Ok(Self {
            webhook_id: target.webhook_id,
            body_origin: body::Origin::new(&target.source, &target.topic),
            ordered: target.ordered,
            format: target.format,
            batch_size: target.batch_size.max(1),
            timeout: target.policy.timeout,
            keys: keys.collect::<Result<_, _>>()?,
            fixed_headers,
            path: origin_form(&uri)?,
            identity: Arc::new(identity),
        })
    }

    /// The id of the webhook.
    pub fn webhook_id(&self) -> i64 {
        self.webhook_id
    }

    /// How many messages one request may carry, at least 1.
    pub fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// How long one request may take, the answer's body included.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Scheme, host and port of the URL.
    pub fn server(&self) -> (&str, &str, u16) {
        let origin = self.identity.origin();
        let (scheme, host) = (origin.scheme_str(), origin.host());
        (scheme.unwrap_or_default(), host.unwrap_or_default(), origin.port_u16().unwrap_or_default())
    }

    pub(in crate::delivery) fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// The request for `messages`. `last` is the last of them. `timestamp` is the time of the
    /// signature, in seconds since 1970. `traceparent` is sent as such, if it is traced.
    pub fn request(
        &self,
        messages: &[Message],
        last: &Message,
        attempt: u32,
        timestamp: u64,
        traceparent: Option<&str>,
    ) -> Request<Full<Bytes>> {
        let batch = self.batch_size > 1;
        let body = body::build(self.format, &self.body_origin, messages, batch, None);
        let webhook_id = match messages {
            [first, _, ..] => format!("msg_{}-{}", first.id, last.id),
            _ => format!("msg_{}", last.id),
        };
        let stamp = Stamp {
            position: self.ordered.then_some(last.id),
            timestamp,
            signatures: sign_with_all(&self.keys, &webhook_id, timestamp, &body),
            partition_key: &last.partition_key,
            // Messages of a batch may have several types.
            r#type: last.r#type.as_deref().filter(|_| messages.iter().all(|one| one.r#type == last.r#type)),
            attempt,
            replay: last.replay,
            // Each item of a batch carries its own.
            message_headers: last.headers.as_deref().filter(|_| !batch),
            traceparent,
            webhook_id: &webhook_id,
        };
        self.post(body, stamp)
    }

    /// A request that only tries the webhook: `name` is its id, and it has no position.
    pub(in crate::delivery) fn test_request(
        &self,
        name: &str,
        message: &Message,
        timestamp: u64,
    ) -> Request<Full<Bytes>> {
        let messages = std::slice::from_ref(message);
        let body = body::build(self.format, &self.body_origin, messages, self.batch_size > 1, Some(name));
        let stamp = Stamp {
            webhook_id: name,
            position: None,
            timestamp,
            signatures: sign_with_all(&self.keys, name, timestamp, &body),
            partition_key: &message.partition_key,
            r#type: message.r#type.as_deref(),
            attempt: 1,
            replay: false,
            message_headers: None,
            traceparent: None,
        };
        self.post(body, stamp)
    }

    fn post(&self, body: Bytes, stamp: Stamp<'_>) -> Request<Full<Bytes>> {
        let headers = headers::build(&self.fixed_headers, stamp);
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = hyper::Method::POST;
        *request.uri_mut() = self.path.clone();
        *request.headers_mut() = headers;
        request
    }
}

impl fmt::Debug for PreparedTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedTarget")
            .field("webhook_id", &self.webhook_id)
            .field("topic", &self.body_origin.topic)
            .field("format", &self.format)
            .field("batch_size", &self.batch_size)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// A text as the value of a header; `None` if it is not ASCII, or holds control characters.
fn visible(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(text).ok().filter(|_| text.is_ascii())
}

/// Path and query as the request line has them (RFC 9112, section 3.2.1).
fn origin_form(uri: &Uri) -> Result<Uri, UrlError> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    // `http://host?query` has an empty path, which the request line writes as `/`.
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    path.parse().map_err(|error: hyper::http::uri::InvalidUri| UrlError::Syntax(error.to_string()))
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};
    use rstest::rstest;

    use super::{
        super::super::test_server::{message, target},
        *,
    };
    use crate::domain::attempt::{ErrorClass, Outcome};

    fn prepare(change: impl FnOnce(&mut Target)) -> Result<PreparedTarget, PrepareError> {
        let mut target = target("https://example.com/hook?key=hunter2");
        change(&mut target);
        PreparedTarget::new(&target)
    }

    #[rstest]
    #[case("http://Example.com", "example.com", "/")]
    #[case("https://example.com:443/a?b=c", "example.com", "/a?b=c")]
    #[case("http://[::1]:8080?x=1", "[::1]:8080", "/?x=1")]
    fn takes_the_url_apart(#[case] url: &str, #[case] host: &str, #[case] path: &str) {
        let prepared = prepare(|target| url.clone_into(&mut target.url)).expect(url);
        assert_eq!(prepared.fixed_headers.get(HOST).expect("always set"), host);
        assert_eq!(prepared.path.to_string(), path);
    }

    #[test]
    fn what_cannot_be_sent_is_a_typed_error() {
        let error = |change: fn(&mut Target)| prepare(change).expect_err("an error");
        assert_eq!(error(|t| t.url = "ftp://x/".to_owned()), PrepareError::Url(UrlError::Scheme));
        assert_eq!(error(|t| t.secrets.clear()), PrepareError::NoSecret);
        assert_eq!(error(|t| t.secrets.push("whsec_!".into())), PrepareError::Secret(SecretError::NotBase64));
        assert_eq!(error(|t| t.topic = "\u{fc}".to_owned()), PrepareError::Topic);
        assert_eq!(error(|t| t.source = "a b".into()), PrepareError::Source);
        assert_eq!(
            error(|t| t.headers.push(("Host".to_owned(), "x".to_owned()))),
            PrepareError::Header(HeaderError::Reserved("Host".to_owned()))
        );
        let result = PrepareError::NoSecret.to_attempt_result();
        assert_eq!(result.outcome, Outcome::Failed);
        assert_eq!(result.error_class, Some(ErrorClass::Request));
        assert_eq!(result.error.as_deref(), Some("the webhook has no signing secret"));
    }

    #[test]
    fn a_multitude_of_headers_is_an_error_and_no_panic() {
        for count in [65, 25_000, 100_000] {
            let mut target = target("http://a/");
            target.headers = (0..count).map(|n| (format!("x-{n}"), "v".to_owned())).collect();
            let error = PreparedTarget::new(&target).expect_err("too many");
            assert_eq!(error, PrepareError::TooManyHeaders { count });
        }
        let mut target = target("http://a/");
        target.headers = (0..64).map(|n| (format!("x-{n}"), "v".to_owned())).collect();
        PreparedTarget::new(&target).expect("as many as there may be");
    }

    proptest! {
        #[test]
        fn whatever_a_webhook_holds_it_can_be_prepared_or_is_an_error_of_one_line(
            topic in "\\PC{0,20}|[\\x00-\\x1f]{1,3}", url in "(https?://)?\\PC{0,40}", batch_size: usize,
            secrets in vec("(whsec_)?([A-Za-z0-9+/]{32,48}|\\PC{0,40})", 0..3),
            headers in vec(("\\PC{0,20}|[a-z]{1,9}", "\\PC{0,20}|[\\x00-\\x1f]{1,3}"), 0..5),
        ) {
            let mut target = target(&url);
            (target.topic, target.batch_size, target.headers) = (topic, batch_size, headers);
            target.secrets = secrets.into_iter().map(Into::into).collect();
            match PreparedTarget::new(&target) {
                Ok(prepared) => {
                    let message = message(1, "{}");
                    prepared.request(std::slice::from_ref(&message), &message, 1, 1, None);
                }
                Err(error) => prop_assert!(!error.to_string().contains(['\n', '\0']), "{error}"),
            }
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let prepared = prepare(|t| t.headers.push(("authorization".to_owned(), "Bearer hunter3".to_owned())));
        let shown = format!("{:?}", prepared.expect("valid"));
        assert!(!shown.contains("hunter") && !shown.contains("whsec"), "{shown}");
    }
}
