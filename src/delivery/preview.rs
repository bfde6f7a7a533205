//! A request as [`send`](super::send) makes it, for people.

use http_body_util::BodyExt as _;

use super::request::{PrepareError, PreparedTarget};
use crate::domain::{message::Message, planned_request::PlannedRequest, target::Target};

/// The request that a message would be sent with. It is signed as of `timestamp`, in seconds since
/// 1970. The values of the webhook's own headers are left out.
///
/// # Errors
/// [`PrepareError`] if no request can be made from the webhook's settings.
pub async fn preview(
    target: &Target,
    message: &Message,
    attempt: u32,
    timestamp: u64,
) -> Result<PlannedRequest, PrepareError> {
    let prepared = PreparedTarget::new(target)?;
    let request = prepared.request(std::slice::from_ref(message), message, attempt, timestamp, None);
    let (parts, body) = request.into_parts();
    let Ok(body) = body.collect().await;
    let is_own = |name: &str| target.headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
    let header = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
        let value = (!is_own(name.as_str())).then(|| String::from_utf8_lossy(value.as_bytes()).into_owned());
        (name.as_str().to_owned(), value)
    };
    Ok(PlannedRequest {
        method: parts.method.as_str().to_owned(),
        url: target.url.clone(),
        headers: parts.headers.iter().map(header).collect(),
        body: body.to_bytes(),
        batch: prepared.batch_size() > 1,
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            SigningKey,
            test_server::{SECRET, message, target},
        },
        *,
    };

    #[tokio::test]
    async fn shows_what_is_sent_and_no_credentials() {
        let mut target = target("https://example.com/hook?a=b");
        target.headers.push(("Authorization".to_owned(), "Bearer hunter2".to_owned()));
        let planned = preview(&target, &message(7, "{\"a\": 1}"), 3, 1_700_000_000).await.unwrap();
        assert_eq!((planned.method.as_str(), planned.url.as_str()), ("POST", "https://example.com/hook?a=b"));
        let header =
            |name: &str| planned.headers.iter().find(|(known, _)| known == name).unwrap().1.as_deref();
        assert_eq!((header("webhook-id"), header("webhook-attempt")), (Some("msg_7"), Some("3")));
        assert_eq!(header("authorization"), None);
        let key = SigningKey::parse(SECRET).unwrap();
        assert_eq!(header("webhook-signature"), Some(&*key.sign("msg_7", 1_700_000_000, &planned.body)));
        assert!(!format!("{planned:?}").contains("hunter2"));
        target.secrets.clear();
        assert_eq!(preview(&target, &message(7, "1"), 1, 1).await, Err(PrepareError::NoSecret));
    }
}
