//! The id of a request, which the log and the answer show: the client's `x-request-id`, or a new one.

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};

/// The header.
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id, in bytes. A longer one is cut.
const LENGTH_MAX: usize = 128;

/// Cuts a client's id that is too long. Removes one that holds anything but visible ASCII: then the
/// request gets a new one.
pub(super) async fn tidy(mut request: Request, next: Next) -> Response {
    tidy_headers(request.headers_mut());
    next.run(request).await
}

fn tidy_headers(headers: &mut HeaderMap) {
    let Some(id) = headers.remove(X_REQUEST_ID) else { return };
    let bytes = id.as_bytes();
    if !bytes.is_empty() && bytes.iter().all(u8::is_ascii_graphic) {
        let id = HeaderValue::from_bytes(&bytes[..bytes.len().min(LENGTH_MAX)]);
        headers.extend(id.ok().map(|id| (X_REQUEST_ID, id)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_id_is_cut_and_a_strange_one_goes() {
        for (given, kept) in [
            ("abc", Some("abc".to_owned())),
            (&*"x".repeat(128), Some("x".repeat(128))),
            (&*"x".repeat(5000), Some("x".repeat(128))),
            ("", None),
            ("a b", None),
            ("a\tb", None),
            ("\u{e9}", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.append(X_REQUEST_ID, HeaderValue::from_bytes(given.as_bytes()).unwrap());
            headers.append(X_REQUEST_ID, HeaderValue::from_static("second"));
            tidy_headers(&mut headers);
            let found: Vec<_> = headers.get_all(X_REQUEST_ID).iter().map(|id| id.to_str().unwrap()).collect();
            assert_eq!(found, Vec::from_iter(kept.as_deref()), "{given:?}");
        }
    }
}
