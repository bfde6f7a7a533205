//! The rules that sending sets for URLs, headers and secrets: a stand-in until `crate::delivery` holds them.

use base64::{Engine, engine::general_purpose::STANDARD};
use ipnet::IpNet;
use secrecy::SecretString;

pub(super) struct AddressGuard(Vec<IpNet>);

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct UrlError(&'static str);

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct HeaderError(&'static str);

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct SecretError(&'static str);

impl AddressGuard {
    pub(super) fn new(allow: Vec<IpNet>) -> Self {
        Self(allow)
    }

    pub(super) fn check_url(&self, url: &str) -> Result<hyper::Uri, UrlError> {
        let uri: hyper::Uri = url.parse().map_err(|_| UrlError("not a URL"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(UrlError("must begin with http:// or https://"));
        }
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        if let Ok(address) = host.parse::<std::net::IpAddr>()
            && address.is_loopback()
            && !self.0.iter().any(|network| network.contains(&address))
        {
            return Err(UrlError("is a loopback address"));
        }
        Ok(uri)
    }
}

pub(super) fn check_header(name: &str, value: &str) -> Result<(), HeaderError> {
    if hyper::header::HeaderName::try_from(name).is_err() || name.starts_with("webhook-") || name == "host" {
        return Err(HeaderError("is no header name, or a reserved one"));
    }
    hyper::header::HeaderValue::try_from(value)
        .map_err(|_| HeaderError("has a value that no header can have"))?;
    Ok(())
}

pub(super) struct SigningKey;

impl SigningKey {
    pub(super) fn parse(secret: &str) -> Result<Self, SecretError> {
        let bytes = STANDARD
            .decode(secret.strip_prefix("whsec_").unwrap_or(secret))
            .map_err(|_| SecretError("is not base64 after its whsec_ prefix"))?;
        if !(24..=64).contains(&bytes.len()) {
            return Err(SecretError("must hold 24 to 64 bytes"));
        }
        Ok(Self)
    }

    pub(super) fn generate() -> SecretString {
        format!("whsec_{}", STANDARD.encode(rand::random::<[u8; 32]>())).into()
    }
}
