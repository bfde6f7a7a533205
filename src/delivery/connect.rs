//! TCP and TLS to resolved names, behind the address guard.
//!
//! The guard stands at two places, and both are needed: the resolver sees what a name leads to, at the moment it is
//! used; a literal address in a URL never reaches a resolver, so it is judged before.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
    vec,
};

use hyper::{Uri, rt};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{HttpConnector, dns::Name};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tower::{Service, ServiceExt as _};

use super::{AddressGuard, resolve::Lookups, url};

/// How long resolution, TCP and TLS may take together.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a silent connection stays unprobed. Middleboxes forget idle connections without telling.
const TCP_KEEPALIVE: Duration = Duration::from_secs(15);

/// Whatever went wrong below HTTP.
pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Opens connections to addresses that the guard permits.
#[derive(Clone)]
pub(super) struct Connector {
    guard: Arc<AddressGuard>,
    https: HttpsConnector<HttpConnector<GuardedResolver>>,
}

impl Connector {
    pub(super) fn new(guard: AddressGuard) -> Result<Self, rustls::Error> {
        let guard = Arc::new(guard);
        let mut tcp = HttpConnector::new_with_resolver(GuardedResolver {
            guard: Arc::clone(&guard),
            lookups: Arc::default(),
        });
        // TLS is a layer above, so this one must not insist on `http://`.
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(TCP_KEEPALIVE));
        // Shared out among a name's addresses, so that one that does not answer leaves time for the next.
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls_config()?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        Ok(Self { guard, https })
    }

    /// Connects to the host and port of `uri`, within [`CONNECT_TIMEOUT`].
    pub(super) async fn connect(
        &self,
        uri: &Uri,
    ) -> Result<impl rt::Read + rt::Write + Unpin + Send + 'static, BoxError> {
        if let Some(address) = url::uri_address(uri) {
            self.guard.check(address)?;
        }
        tokio::time::timeout(CONNECT_TIMEOUT, self.https.clone().oneshot(uri.clone()))
            .await
            .map_err(|_| format!("no connection within {} s", CONNECT_TIMEOUT.as_secs()))?
    }
}

/// Certificates are verified the way the platform does, with its trust store.
fn tls_config() -> Result<ClientConfig, rustls::Error> {
    let builder = || {
        ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
    };
    match builder()?.with_platform_verifier() {
        Ok(verified) => Ok(verified.with_no_client_auth()),
        // Bare containers have no trust store. Webhooks over http still work there; https fails as it must.
        Err(error) => {
            tracing::warn!(%error, "no trusted certificates found: https webhooks will fail; install ca-certificates");
            Ok(builder()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
        }
    }
}

/// Resolves names by the system's resolver and keeps only the addresses that the guard permits.
#[derive(Clone)]
pub(super) struct GuardedResolver {
    guard: Arc<AddressGuard>,
    lookups: Arc<Lookups>,
}

impl Service<Name> for GuardedResolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let Self { guard, lookups } = self.clone();
        Box::pin(async move {
            // The connector puts the port in.
            let resolved = lookups.lookup(name.as_str()).await?;
            Ok(permitted(&guard, resolved.into_iter())?.into_iter())
        })
    }
}

/// The addresses that may be reached; an error if there is none.
fn permitted(
    guard: &AddressGuard,
    resolved: impl Iterator<Item = SocketAddr>,
) -> Result<Vec<SocketAddr>, BoxError> {
    let mut refused = None;
    let mut kept = Vec::new();
    for address in resolved {
        match guard.check(address.ip()) {
            Ok(()) => kept.push(address),
            Err(error) => refused = Some(error),
        }
    }
    match refused {
        Some(error) if kept.is_empty() => Err(error.into()),
        None if kept.is_empty() => {
            Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address").into())
        }
        _ => Ok(kept),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::ForbiddenAddress, *};

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().expect("an address")).collect()
    }

    #[test]
    fn a_name_leads_only_to_permitted_addresses() {
        let guard = AddressGuard::default();
        let mixed = addresses(&["10.0.0.1:0", "8.8.8.8:0", "[::1]:0"]);
        assert_eq!(permitted(&guard, mixed.into_iter()).expect("one is public"), addresses(&["8.8.8.8:0"]));
    }

    #[test]
    fn a_name_that_leads_nowhere_permitted_is_forbidden() {
        let inside = addresses(&["10.0.0.1:0", "[::1]:0"]);
        let error = permitted(&AddressGuard::default(), inside.into_iter()).expect_err("all are private");
        assert!(error.is::<ForbiddenAddress>(), "{error}");
        let error = permitted(&AddressGuard::default(), std::iter::empty()).expect_err("nothing resolved");
        assert!(!error.is::<ForbiddenAddress>(), "{error}");
    }
}
