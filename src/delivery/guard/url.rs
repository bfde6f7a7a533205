//! Which URLs a webhook may have.
//!
//! A URL that passes has only one meaning for every program that reads it: its scheme, host and
//! port are plain, and an address has only one spelling. Names are not resolved here. The
//! connection checks the addresses that they resolve to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hyper::{Uri, http::uri::Scheme};

use super::address::{AddressGuard, ForbiddenAddress};

/// The longest URL of a webhook, in bytes.
const MAX_LENGTH: usize = 2048;
/// The longest host name, in bytes (RFC 1035, section 3.1).
const MAX_HOST_LENGTH: usize = 253;
/// The longest label of a host name, in bytes (RFC 1035, section 3.1).
const MAX_LABEL_LENGTH: usize = 63;

/// Why a webhook cannot have a URL. The messages are one line, for the person who gave the URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// The URL is empty.
    #[error("url is empty")]
    Empty,
    /// The URL is longer than 2048 bytes.
    #[error("url has {length} bytes, more than the {MAX_LENGTH} allowed")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// The URL holds a space, a control character or a character that is not ASCII.
    #[error(
        "url may hold visible ASCII only: percent-encode the path, and write a host name in its xn-- form"
    )]
    NotAscii,
    /// The text is not a URL.
    #[error("url cannot be parsed: {0}")]
    Syntax(String),
    /// The URL starts with something other than `http://` or `https://`.
    #[error("url must start with http:// or https://")]
    Scheme,
    /// The URL has no host.
    #[error("url has no host")]
    NoHost,
    /// The URL holds `user:password@`.
    #[error("url must not hold a user name or password; give an authorization header instead")]
    UserInfo,
    /// The URL holds a `#`.
    #[error("url must not hold a fragment (#): it would never be sent")]
    Fragment,
    /// The port is not a number of 1 to 65535.
    #[error("url has a port that is not a number from 1 to 65535")]
    Port,
    /// The host is neither a host name nor an IP address.
    #[error("url has a host that is neither a host name nor an IP address")]
    Host,
    /// The host ends in a number but is not four decimal numbers: `2130706433`, `0x7f.1`, `127.1`.
    #[error("url has a host that ends in a number: write an IPv4 address as four decimal numbers")]
    NumericHost,
    /// The host is an address that no request is sent to.
    #[error("url is not allowed: {0}")]
    Forbidden(#[from] ForbiddenAddress),
}

impl AddressGuard {
    /// Checks whether a webhook may have the URL, and parses it.
    ///
    /// It refuses:
    ///
    /// - schemes other than http and https, user information, fragments;
    /// - odd spellings of IPv4 addresses, because a resolver may read them as loopback;
    /// - literal addresses that [`AddressGuard::check`] refuses;
    /// - `localhost` and the names under it (RFC 6761), unless a loopback address is allowed.
    ///
    /// # Errors
    /// [`UrlError`] with the first rule that the URL breaks.
    pub fn check_url(&self, url: &str) -> Result<Uri, UrlError> {
        let uri = parse_url(url)?;
        let host = bare_host(&uri);
        if let Some(address) = literal_address(host) {
            self.check(address)?;
        } else if host.eq_ignore_ascii_case("localhost")
            || host.rsplit_once('.').is_some_and(|(_, last)| last.eq_ignore_ascii_case("localhost"))
        {
            self.check(Ipv4Addr::LOCALHOST.into()).or_else(|_| self.check(Ipv6Addr::LOCALHOST.into()))?;
        }
        Ok(uri)
    }
}

/// Parses a URL by the rules of [`AddressGuard::check_url`], except those about addresses.
pub(in crate::delivery) fn parse_url(url: &str) -> Result<Uri, UrlError> {
    if url.is_empty() {
        return Err(UrlError::Empty);
    }
    if url.len() > MAX_LENGTH {
        return Err(UrlError::TooLong { length: url.len() });
    }
    if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(UrlError::NotAscii);
    }
    // The parser below drops a fragment without an error.
    if url.contains('#') {
        return Err(UrlError::Fragment);
    }
    let lower = url.get(..8).unwrap_or(url).to_ascii_lowercase();
    if !lower.starts_with("http://") && !lower.starts_with("https://") {
        return Err(UrlError::Scheme);
    }
    let after_scheme = url.split_once("://").map_or("", |(_, rest)| rest);
    let authority = after_scheme.split(['/', '?']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(UrlError::UserInfo);
    }
    if authority.is_empty() || authority.starts_with(':') {
        return Err(UrlError::NoHost);
    }
    let uri: Uri =
        url.parse().map_err(|error: hyper::http::uri::InvalidUri| UrlError::Syntax(error.to_string()))?;
    check_port(&uri)?;
    check_host(bare_host(&uri), uri.host().is_some_and(|host| host.starts_with('[')))?;
    Ok(uri)
}

/// The host without the brackets of an IPv6 address and without the final dot of an absolute name.
pub(in crate::delivery) fn bare_host(uri: &Uri) -> &str {
    let host = uri.host().unwrap_or_default();
    if let Some(inside) = host.strip_prefix('[') {
        return inside.strip_suffix(']').unwrap_or(inside);
    }
    host.strip_suffix('.').unwrap_or(host)
}

/// The address, if a host without brackets is one.
pub(in crate::delivery) fn literal_address(host: &str) -> Option<IpAddr> {
    host.parse().ok()
}

/// The address, if the host of a parsed URL is one.
pub(in crate::delivery) fn uri_address(uri: &Uri) -> Option<IpAddr> {
    literal_address(bare_host(uri))
}

/// Whether a parsed URL is `https`.
pub(in crate::delivery) fn is_https(uri: &Uri) -> bool {
    uri.scheme() == Some(&Scheme::HTTPS)
}

fn check_port(uri: &Uri) -> Result<(), UrlError> {
    // The port is read from the text: the parser ignores a port that is out of range.
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let port = authority.strip_prefix(uri.host().unwrap_or_default()).unwrap_or_default();
    if port.is_empty() {
        return Ok(());
    }
    let digits = port.strip_prefix(':').ok_or(UrlError::Port)?;
    match digits.parse::<u16>() {
        Ok(1..) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Ok(()),
        _ => Err(UrlError::Port),
    }
}

fn check_host(host: &str, bracketed: bool) -> Result<(), UrlError> {
    if bracketed {
        return host.parse::<Ipv6Addr>().map(drop).map_err(|_| UrlError::Host);
    }
    let label_fits = |label: &str| {
        !label.is_empty()
            && label.len() <= MAX_LABEL_LENGTH
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    if host.len() > MAX_HOST_LENGTH || !host.split('.').all(label_fits) {
        return Err(UrlError::Host);
    }
    let last = host.rsplit('.').next().unwrap_or_default();
    if is_number(last) && host.parse::<Ipv4Addr>().is_err() {
        return Err(UrlError::NumericHost);
    }
    Ok(())
}

/// Whether a label is a number for programs that also read the old spellings of addresses: decimal
/// or octal digits, or `0x` and hexadecimal digits or none. This is the "ends in a number" rule of
/// the WHATWG URL standard.
fn is_number(label: &str) -> bool {
    let hexadecimal = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    match hexadecimal {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => label.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn check(url: &str, allow: &[&str]) -> Result<Uri, UrlError> {
        let allow = allow.iter().map(|network| network.parse().expect("a network")).collect();
        AddressGuard::new(allow).check_url(url)
    }

    #[rstest]
    #[case("https://example.com")]
    #[case("http://example.com:8080/hooks?x=1&y=a%20b")]
    #[case("HTTPS://Example.COM./")]
    #[case("https://xn--mnchen-3ya.example/")]
    #[case("https://8.8.8.8/")]
    #[case("https://[2606:4700::1111]:443/")]
    #[case("https://my_service.example/@handle")]
    #[case("https://3com.example:65535/")]
    fn accepts(#[case] url: &str) {
        check(url, &[]).expect(url);
    }

    #[rstest]
    #[case("", UrlError::Empty)]
    #[case("example.com/hook", UrlError::Scheme)]
    #[case("ftp://example.com/", UrlError::Scheme)]
    #[case("file:///etc/passwd", UrlError::Scheme)]
    #[case("http:/example.com/", UrlError::Scheme)]
    #[case("http://", UrlError::NoHost)]
    #[case("http:///path", UrlError::NoHost)]
    #[case("http://:80/", UrlError::NoHost)]
    #[case("http://user@example.com/", UrlError::UserInfo)]
    #[case("http://user:secret@example.com/", UrlError::UserInfo)]
    #[case("http://@example.com/", UrlError::UserInfo)]
    #[case("http://example.com/#part", UrlError::Fragment)]
    #[case("http://exam ple.com/", UrlError::NotAscii)]
    #[case("http://münchen.example/", UrlError::NotAscii)]
    #[case("http://example.com/ä", UrlError::NotAscii)]
    #[case("http://example.com/\r\nx: y", UrlError::NotAscii)]
    #[case("http://example.com:0/", UrlError::Port)]
    #[case("http://example.com:/", UrlError::Port)]
    #[case("http://example.com:65536/", UrlError::Port)]
    #[case("http://example.com:99999/", UrlError::Port)]
    #[case("http://a..b/", UrlError::Host)]
    #[case("http://2130706433/", UrlError::NumericHost)]
    #[case("http://0x7f.1/", UrlError::NumericHost)]
    #[case("http://0x7f000001/", UrlError::NumericHost)]
    #[case("http://0X/", UrlError::NumericHost)]
    #[case("http://127.1/", UrlError::NumericHost)]
    #[case("http://127.1./", UrlError::NumericHost)]
    #[case("http://0177.0.0.1/", UrlError::NumericHost)]
    #[case("http://127.0.0.0x1/", UrlError::NumericHost)]
    #[case("http://1.2.3.4.5/", UrlError::NumericHost)]
    fn refuses(#[case] url: &str, #[case] error: UrlError) {
        assert_eq!(check(url, &["0.0.0.0/0", "::/0"]), Err(error), "{url}");
    }

    #[rstest]
    #[case("http://%31%32%37.0.0.1/")]
    #[case("http://[::1")]
    #[case("http://[fe80::1%25eth0]/")]
    #[case("http://[example.com]/")]
    #[case("http://exam\\ple.com/")]
    #[case("http://127.0.0.1\\@example.com/")]
    fn refuses_by_some_rule(#[case] url: &str) {
        check(url, &["0.0.0.0/0", "::/0"]).expect_err(url);
    }

    #[rstest]
    #[case("http://127.0.0.1/", "127.0.0.0/8")]
    #[case("http://127.0.0.1./", "127.0.0.0/8")]
    #[case("http://169.254.169.254/latest/meta-data", "169.254.0.0/16")]
    #[case("http://[::1]:8080/", "::1/128")]
    #[case("http://[::ffff:127.0.0.1]/", "127.0.0.0/8")]
    #[case("http://[fd00:ec2::254]/", "fd00::/8")]
    #[case("http://localhost/", "127.0.0.0/8")]
    #[case("http://LocalHost./", "::1/128")]
    #[case("http://a.localhost:9000/", "127.0.0.1/32")]
    fn refuses_unless_allowed(#[case] url: &str, #[case] network: &str) {
        assert!(matches!(check(url, &[]), Err(UrlError::Forbidden(_))), "{url}");
        check(url, &[network]).expect(url);
    }

    #[test]
    fn length_is_bounded() {
        let prefix = "https://example.com/";
        let url = |length: usize| format!("{prefix}{}", "a".repeat(length - prefix.len()));
        check(&url(2048), &[]).expect("2048 bytes");
        assert_eq!(check(&url(2049), &[]), Err(UrlError::TooLong { length: 2049 }));
        assert_eq!(check(&format!("https://{}/", "a".repeat(64)), &[]), Err(UrlError::Host));
    }

    proptest! {
        #[test]
        fn never_panics_and_errors_are_one_line(url in "(https?://)?\\PC{0,60}") {
            if let Err(error) = check(&url, &[]) {
                let text = error.to_string();
                prop_assert!(!text.is_empty() && !text.contains('\n'));
            }
        }

        #[test]
        fn an_accepted_url_keeps_its_text(host in "[a-z][a-z0-9]{0,10}(\\.[a-z]{2,5}){1,2}", port in 1u16.., path in "[a-z0-9/._~-]{0,20}") {
            let url = format!("http://{host}:{port}/{path}");
            prop_assume!(!host.ends_with("localhost"));
            let uri = check(&url, &[]).expect("a plain URL");
            prop_assert_eq!(uri.to_string(), url);
            prop_assert_eq!(uri.port_u16(), Some(port));
        }

        #[test]
        fn a_literal_address_gets_the_guards_answer(bits: u32, wide: u128) {
            let guard = AddressGuard::default();
            let v4 = Ipv4Addr::from(bits);
            prop_assert_eq!(guard.check_url(&format!("http://{v4}/")).is_ok(), guard.check(v4.into()).is_ok());
            let v6 = Ipv6Addr::from(wide);
            prop_assert_eq!(guard.check_url(&format!("http://[{v6}]/")).is_ok(), guard.check(v6.into()).is_ok());
        }
    }
}
