//! The section `api`.

use std::{
    fmt, io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use secrecy::SecretString;
use serde::Deserialize;

/// Settings of the HTTP API.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiConfig {
    /// Address or name, and port, to listen on. Default `127.0.0.1:8000`.
    pub bind: BindAddress,
    /// Bearer tokens as `role:token`, or `role@topics:token`. The roles are `admin`, `operate`,
    /// `publish`, `read` and `read-payloads`. Default none.
    #[serde(default)]
    pub tokens: Vec<SecretString>,
    /// Hosts that requests may name without a token, beside those of this machine. Default none.
    #[serde(default)]
    pub allowed_hosts: Vec<String>,
    /// Whether `GET /metrics` needs no token. Default false.
    pub metrics_open: bool,
    /// The most connections, up to 1000000. 0 means what the limit of open files permits. Default
    /// 0.
    pub max_connections: usize,
    /// The largest request body in bytes, 1024 to 1073741824. Default 2097152 (2 MiB).
    pub max_body_bytes: usize,
    /// The most bytes of the bodies of all requests together, 1024 to 1099511627776. There is always
    /// room for one body of `max_body_bytes`. Default 268435456 (256 MiB).
    pub max_bodies_bytes: usize,
}

/// Where to listen: an address or a name, and a port.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct BindAddress {
    host: String,
    port: u16,
}

impl BindAddress {
    /// The address. A name is resolved. If it has several addresses, the first IPv4 address is
    /// taken, otherwise the first address.
    ///
    /// # Errors
    /// The name has no address, or cannot be resolved.
    pub async fn resolve(&self) -> io::Result<SocketAddr> {
        let found: Vec<_> = tokio::net::lookup_host((self.host.as_str(), self.port)).await?.collect();
        let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
        first.copied().ok_or_else(|| io::Error::other("the name has no address"))
    }
}

impl FromStr for BindAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("must be address:port, such as 127.0.0.1:8000, not {text}");
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().map_err(|_| wrong())?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(inner) => inner.parse::<Ipv6Addr>().map_err(|_| wrong())?.to_string(),
            None if is_name(host) => host.to_owned(),
            None => return Err(wrong()),
        };
        Ok(Self { host, port })
    }
}

impl TryFrom<String> for BindAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// Whether this is an IPv4 address or the name of a host.
fn is_name(text: &str) -> bool {
    let of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    // Four numbers are an address, and a wrong one must not be asked for as a name.
    let numbers = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    !text.is_empty() && text.bytes().all(of_name) && (!numbers || text.parse::<IpAddr>().is_ok())
}

impl From<SocketAddr> for BindAddress {
    fn from(address: SocketAddr) -> Self {
        Self { host: address.ip().to_string(), port: address.port() }
    }
}

impl fmt::Display for BindAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("127.0.0.1:8000")]
    #[case("[::1]:8000")]
    #[case("localhost:8001")]
    #[case("my-host.example.com:1")]
    fn an_address_or_a_name_with_a_port(#[case] text: &str) {
        assert_eq!(text.parse::<BindAddress>().unwrap().to_string(), text);
    }

    #[rstest]
    #[case("")]
    #[case("localhost")]
    #[case(":8000")]
    #[case("localhost:")]
    #[case("localhost:http")]
    #[case("localhost:65536")]
    #[case("::1:8000")]
    #[case("[localhost]:1")]
    #[case("300.0.0.1:8000")]
    #[case("127.1:8000")]
    #[case("http://localhost:8000")]
    #[case("local host:8000")]
    fn anything_else_is_refused_with_an_example(#[case] text: &str) {
        let error = text.parse::<BindAddress>().unwrap_err();
        assert!(error.contains("127.0.0.1:8000") && error.ends_with(&format!("not {text}")), "{error}");
    }

    #[tokio::test]
    async fn a_name_is_resolved_and_keeps_its_port() {
        let address = "localhost:8001".parse::<BindAddress>().unwrap().resolve().await.unwrap();
        assert!(address.ip().is_loopback() && address.port() == 8001, "{address}");
        let address = "[::1]:8001".parse::<BindAddress>().unwrap().resolve().await.unwrap();
        assert_eq!(address.to_string(), "[::1]:8001");
    }
}
