//! `Host`, `Origin` and `Sec-Fetch-Site`: what keeps a web page away from an API without tokens.
//!
//! A page in a browser on the same machine can send requests to loopback. It may also come from a
//! host name that its owner has let point to 127.0.0.1 (DNS rebinding); then the browser takes the
//! API for the page's own server. So without tokens `Host` must be a name or an address of this
//! machine, or one of `api.allowed_hosts`, and the browser must not say that another site asks. With
//! tokens a page can do nothing, because it has none.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, Uri, Version, header, uri::Authority},
    middleware::Next,
    response::Response,
};

use crate::{
    api::{config_error::ApiConfigError, error::ApiError},
    config::ApiConfig,
};

const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// Which hosts may be named without a token; `None` if tokens are needed.
pub(in crate::api) struct Hosts(Option<Vec<String>>);

impl Hosts {
    pub(in crate::api) fn new(config: &ApiConfig) -> Result<Self, ApiConfigError> {
        let parse = |(index, host): (usize, &String)| {
            let refuse = || ApiConfigError::Host { index, host: host.clone() };
            // An IPv6 address may stand without the brackets that it has in a header.
            let written =
                if host.parse::<std::net::Ipv6Addr>().is_ok() { format!("[{host}]") } else { host.clone() };
            let authority: Authority = written.parse().map_err(|_| refuse())?;
            let plain = authority.as_str() == authority.host() && !authority.as_str().contains('*');
            plain.then(|| plain_host(authority.host())).ok_or_else(refuse)
        };
        let hosts = config.allowed_hosts.iter().enumerate().map(parse).collect::<Result<_, _>>()?;
        Ok(Self(config.tokens.is_empty().then_some(hosts)))
    }

    /// Checks the host that a request names, and returns it.
    pub(super) fn check_name(
        &self,
        version: Version,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<Option<Authority>, ApiError> {
        let host = host(version, uri, headers)?;
        if let (Some(allowed), Some(host)) = (&self.0, &host) {
            let name = plain_host(host.host());
            if !is_of_this_machine(&name) && !allowed.contains(&name) {
                return Err(ApiError::Misdirected(name));
            }
        }
        Ok(host)
    }

    /// Checks the headers that say where a request comes from.
    fn check(&self, version: Version, uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
        let host = self.check_name(version, uri, headers)?;
        if self.0.is_none() {
            return Ok(());
        }
        let own = |origin: &str| {
            let (_, authority) = origin.split_once("://")?;
            let origin: Authority = authority.parse().ok()?;
            Some(is_same(&origin, host.as_ref()?))
        };
        let text = |value: &header::HeaderValue| value.to_str().map(str::to_owned).unwrap_or_default();
        let is_foreign_origin =
            headers.get_all(header::ORIGIN).iter().map(text).any(|origin| own(&origin) != Some(true));
        let is_foreign_site = headers
            .get_all(SEC_FETCH_SITE)
            .iter()
            .any(|site| !["same-origin", "none"].contains(&text(site).to_ascii_lowercase().as_str()));
        if is_foreign_origin || is_foreign_site {
            return Err(ApiError::ForeignPage);
        }
        Ok(())
    }
}

/// Whether a page of the same host and port has sent a request, as the browser says. Over plain
/// HTTP to a name that is not localhost it sends no `Sec-Fetch-Site`. Then `Origin` decides.
pub(super) fn is_of_own_page(host: Option<&Authority>, headers: &HeaderMap) -> bool {
    let one = |name: header::HeaderName| {
        let mut given = headers.get_all(name).iter();
        let first = given.next()?.to_str().ok()?;
        given.next().is_none().then_some(first)
    };
    if headers.contains_key(SEC_FETCH_SITE) {
        return one(header::HeaderName::from_static(SEC_FETCH_SITE)) == Some("same-origin");
    }
    let origin = one(header::ORIGIN).and_then(|origin| origin.split_once("://"));
    let origin = origin.and_then(|(_, authority)| authority.parse::<Authority>().ok());
    origin.zip(host).is_some_and(|(origin, host)| is_same(&origin, host))
}

/// Whether two authorities are the same. The default ports of http and https may be left out.
fn is_same(one: &Authority, other: &Authority) -> bool {
    let port = |authority: &Authority| authority.port_u16().filter(|port| ![80, 443].contains(port));
    plain_host(one.host()) == plain_host(other.host()) && port(one) == port(other)
}

/// A host in lower case, without the brackets of an address and without a dot at its end.
fn plain_host(host: &str) -> String {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// Whether a host is a loopback address, or a name that never leads anywhere else (RFC 6761).
fn is_of_this_machine(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

/// The host that a request names. HTTP/1.0 knows requests without one; no browser sends them.
fn host(version: Version, uri: &Uri, headers: &HeaderMap) -> Result<Option<Authority>, ApiError> {
    let malformed = |text: &str| ApiError::Malformed(text.to_owned());
    let mut given = headers.get_all(header::HOST).iter();
    let host = match (given.next(), given.next()) {
        (None, _) if version < Version::HTTP_11 => return Ok(None),
        (None, _) => return Err(malformed("the header host is missing")),
        (Some(_), Some(_)) => return Err(malformed("the header host is given more than once")),
        (Some(host), None) => host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()),
    };
    let host = host.filter(|host| !host.as_str().contains('@') && !host.host().is_empty());
    let host = host.ok_or_else(|| malformed("the header host is not a host"))?;
    if uri.authority().is_some_and(|authority| !is_same(authority, &host)) {
        return Err(malformed("the header host is not the host of the request line"));
    }
    Ok(Some(host))
}

/// Lets a request through unless a web page may have sent it.
pub(in crate::api) async fn check_host(
    State(hosts): State<Arc<Hosts>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    hosts.check(request.version(), request.uri(), request.headers())?;
    Ok(next.run(request).await)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn hosts(allowed: &[&str]) -> Result<Hosts, ApiConfigError> {
        let allowed_hosts = allowed.iter().map(|host| (*host).to_owned()).collect();
        Hosts::new(&ApiConfig { allowed_hosts, ..Config::default().api })
    }

    fn check(hosts: &Hosts, headers: &[(&'static str, &str)]) -> Result<(), ApiError> {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .fold(HeaderMap::new(), |mut all, (name, value): (header::HeaderName, header::HeaderValue)| {
                all.append(name, value);
                all
            });
        hosts.check(Version::HTTP_11, &Uri::from_static("/topics"), &headers)
    }

    #[test]
    fn only_hosts_of_this_machine_and_allowed_ones_are_answered() {
        let hosts = hosts(&["pgtopic.Example.com", "10.1.2.3", "fd00::1"]).unwrap();
        for own in [
            "localhost",
            "LOCALHOST.:9000",
            "app.localhost:8000",
            "127.0.0.1:8000",
            "127.9.9.9",
            "[::1]:8000",
            "[::ffff:127.0.0.1]",
            "pgtopic.example.com:443",
            "10.1.2.3:8000",
            "[fd00::1]:8000",
        ] {
            assert!(check(&hosts, &[("host", own)]).is_ok(), "{own}");
        }
        for foreign in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.nip.io",
            "notlocalhost",
            "0.0.0.0",
            "10.1.2.4",
        ] {
            let refused = check(&hosts, &[("host", foreign)]);
            assert!(matches!(refused, Err(ApiError::Misdirected(_))), "{foreign}: {refused:?}");
        }
    }

    #[test]
    fn a_host_is_given_once() {
        let hosts = hosts(&[]).unwrap();
        for headers in [
            &[][..],
            &[("host", "localhost"), ("host", "localhost")],
            &[("host", "")],
            &[("host", "a b")],
            &[("host", "user@localhost")],
            &[("host", "http://localhost")],
        ] {
            assert!(matches!(check(&hosts, headers), Err(ApiError::Malformed(_))), "{headers:?}");
        }
        let check = |version, uri: &'static str, headers: &HeaderMap| {
            hosts.check(version, &Uri::from_static(uri), headers)
        };
        assert!(check(Version::HTTP_10, "/", &HeaderMap::new()).is_ok());
        let local = HeaderMap::from_iter([(header::HOST, "localhost".parse().unwrap())]);
        assert!(check(Version::HTTP_11, "http://localhost/", &local).is_ok());
        assert!(check(Version::HTTP_11, "http://evil.example/", &local).is_err());
    }

    #[test]
    fn what_another_site_sends_is_refused() {
        let hosts = hosts(&[]).unwrap();
        let with = |name, value| check(&hosts, &[("host", "localhost:8000"), (name, value)]);
        for (name, value) in [
            ("origin", "http://localhost:8000"),
            ("origin", "http://LOCALHOST:8000"),
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "none"),
        ] {
            assert!(with(name, value).is_ok(), "{name}: {value}");
        }
        for (name, value) in [
            ("origin", "https://evil.example"),
            ("origin", "http://localhost:3000"),
            ("origin", "http://127.0.0.1:8000"),
            ("origin", "null"),
            ("origin", ""),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", "Cross-Site"),
            ("sec-fetch-site", ""),
        ] {
            assert!(matches!(with(name, value), Err(ApiError::ForeignPage)), "{name}: {value}");
        }
        let both =
            [("host", "localhost"), ("origin", "http://localhost"), ("origin", "https://evil.example")];
        assert!(check(&hosts, &both).is_err());
        assert!(check(&hosts, &[("host", "localhost"), ("origin", "http://localhost:80")]).is_ok());
    }

    #[test]
    fn with_tokens_any_host_is_answered() {
        let config = ApiConfig { tokens: vec!["admin:a".into()], ..Config::default().api };
        let hosts = Hosts::new(&config).unwrap();
        let foreign =
            [("host", "evil.example"), ("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")];
        assert!(check(&hosts, &foreign).is_ok());
        assert!(check(&hosts, &[]).is_err());
    }

    #[test]
    fn an_allowed_host_has_no_scheme_and_no_port() {
        for bad in ["http://a.example", "a.example:8000", "a b", "", "a/b", "*.example.com", "u@a"] {
            let error = hosts(&["fine", bad]).err().unwrap();
            assert_eq!(error, ApiConfigError::Host { index: 1, host: bad.to_owned() });
        }
    }
}
