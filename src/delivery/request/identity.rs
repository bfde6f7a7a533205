//! What a connection is made from.

use hyper::Uri;

use super::super::guard::{UrlError, is_https};

/// What a connection is made from. A connection is used again only for the same identity.
///
/// The connector knows nothing else of a webhook, and the pool keeps connections by the whole of
/// it. So whatever will decide how the connection of a webhook is made (a proxy, a client
/// certificate, authorities) becomes a field here. The address guard and the TLS settings are those
/// of the client, which has its own pool.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::delivery) struct Identity {
    origin: Uri,
}

impl Identity {
    /// The identity of a webhook with this URL.
    ///
    /// # Errors
    /// [`UrlError`] if the URL has no host.
    pub(in crate::delivery) fn of(url: &Uri) -> Result<Self, UrlError> {
        let (scheme, default_port) = scheme_and_port(url);
        let host = url.host().unwrap_or_default().to_ascii_lowercase();
        let port = url.port_u16().unwrap_or(default_port);
        let origin = format!("{scheme}://{host}:{port}/").parse();
        let origin =
            origin.map_err(|error: hyper::http::uri::InvalidUri| UrlError::Syntax(error.to_string()))?;
        Ok(Self { origin })
    }

    /// Scheme, host and port, in lower case. The port is always there.
    pub(in crate::delivery) fn origin(&self) -> &Uri {
        &self.origin
    }

    /// The `host` header. It leaves out the default port of the scheme (RFC 9110, section 4.2).
    pub(super) fn host(&self) -> String {
        let (_, default_port) = scheme_and_port(&self.origin);
        let host = self.origin.host().unwrap_or_default();
        match self.origin.port_u16() {
            Some(port) if port != default_port => format!("{host}:{port}"),
            _ => host.to_owned(),
        }
    }
}

/// The scheme of a URL, and the port that it means if it names none.
fn scheme_and_port(url: &Uri) -> (&'static str, u16) {
    if is_https(url) { ("https", 443) } else { ("http", 80) }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn of(url: &str) -> Identity {
        Identity::of(&url.parse().expect("a URL")).expect("an identity")
    }

    #[rstest]
    #[case("http://Example.com", "example.com", "http://example.com:80/")]
    #[case("https://u:pw@example.com:443/a?b=c", "example.com", "https://example.com:443/")]
    #[case("https://example.com:80/", "example.com:80", "https://example.com:80/")]
    #[case("http://[::1]:8080?x=1", "[::1]:8080", "http://[::1]:8080/")]
    fn takes_scheme_host_and_port_of_the_url(#[case] url: &str, #[case] host: &str, #[case] origin: &str) {
        let identity = of(url);
        assert_eq!((&*identity.host(), &*identity.origin().to_string()), (host, origin));
    }

    #[test]
    fn only_urls_with_the_same_origin_share_connections() {
        for same in ["https://EXAMPLE.com/a", "https://example.com:443/b?c"] {
            assert_eq!(of("https://example.com/"), of(same), "{same}");
        }
        for other in ["http://example.com:443/", "https://example.com:444/", "https://www.example.com/"] {
            assert_ne!(of("https://example.com/"), of(other), "{other}");
        }
    }
}
