//! Opens TCP and TLS connections to addresses that the address guard permits.
//!
//! The guard checks the addresses themselves: a literal address before anything else is done, and
//! the addresses of a name right before one of them is used.
//!
//! Name resolution, TCP and TLS are separate steps, so that an error says which one failed. The
//! cause is a name server, a firewall or a certificate.

use std::{convert::Infallible, future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use hyper::Uri;
use hyper_util::client::legacy::connect::{HttpConnector, dns::Name};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{net::TcpStream, time::Instant};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::either::Either;
use tower::ServiceExt as _;

use super::{
    super::{
        guard::{AddressGuard, ForbiddenAddress, Lookups, bare_host, is_https, uri_address},
        request::Identity,
    },
    tls::TlsError,
    watched::Watched,
};
use crate::domain::attempt::ErrorClass;

/// How long name resolution, TCP and TLS may take together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection may be silent before TCP probes it. Routers and firewalls may forget an
/// idle connection without notice.
const TCP_KEEPALIVE: Duration = Duration::from_secs(15);

/// Any error below HTTP.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An open connection; with TLS if the URL is `https`.
pub(super) type Stream = Watched<Either<TcpStream, TlsStream<TcpStream>>>;

/// Why no connection could be made. There is one variant for each step that can fail.
#[derive(Debug, thiserror::Error)]
pub(in crate::delivery) enum ConnectError {
    /// The guard refused every address of the host.
    #[error(transparent)]
    Forbidden(#[from] ForbiddenAddress),
    /// The host's name has no address, or its name server did not answer in time.
    #[error("the host's name did not resolve")]
    Name(#[source] io::Error),
    /// No address accepted a TCP connection in time.
    #[error(transparent)]
    Tcp(BoxError),
    /// The handshake failed or took too long, or the certificate is not trusted.
    #[error(transparent)]
    Tls(TlsError),
}

impl ConnectError {
    /// The error class of an attempt that ended with this error.
    pub(in crate::delivery) fn class(&self) -> ErrorClass {
        match self {
            Self::Forbidden(_) => ErrorClass::Forbidden,
            Self::Name(_) => ErrorClass::Dns,
            Self::Tcp(_) => ErrorClass::Connect,
            Self::Tls(_) => ErrorClass::Tls,
        }
    }
}

/// Opens connections to addresses that the guard permits.
#[derive(Clone)]
pub(super) struct Connector {
    guard: Arc<AddressGuard>,
    lookups: Arc<Lookups>,
    tls: TlsConnector,
    timeout: Duration,
}

impl Connector {
    pub(super) fn new(guard: AddressGuard, config: ClientConfig) -> Self {
        Self {
            guard: Arc::new(guard),
            lookups: Arc::default(),
            tls: TlsConnector::from(Arc::new(config)),
            timeout: CONNECT_TIMEOUT,
        }
    }

    /// Opens a connection of this identity, within [`CONNECT_TIMEOUT`].
    ///
    /// # Errors
    /// [`ConnectError`] with the step that failed, or that was under way when the time was over.
    pub(super) async fn connect(&self, identity: &Identity) -> Result<Stream, ConnectError> {
        let uri = identity.origin();
        let deadline = Instant::now() + self.timeout;
        let addresses = self.addresses(uri, deadline).await?;
        let tcp = self.by(deadline, self.open(uri, addresses)).await.map_err(ConnectError::Tcp)?;
        if !is_https(uri) {
            return Ok(Watched::new(Either::Left(tcp)));
        }
        let name = ServerName::try_from(bare_host(uri).to_owned())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
            .map_err(|error| ConnectError::Tls(error.into()))?;
        let tls = self.by(deadline, self.tls.connect(name, tcp)).await;
        Ok(Watched::new(Either::Right(tls.map_err(|error| ConnectError::Tls(error.into()))?)))
    }

    /// The addresses of a URL's host that the guard permits. There is at least one.
    async fn addresses(&self, uri: &Uri, deadline: Instant) -> Result<Vec<SocketAddr>, ConnectError> {
        if let Some(address) = uri_address(uri) {
            self.guard.check(address)?;
            return Ok(vec![SocketAddr::new(address, 0)]);
        }
        let name = uri.host().unwrap_or_default();
        let resolved = self.by(deadline, self.lookups.lookup(name)).await.map_err(ConnectError::Name)?;
        permitted(&self.guard, resolved)
    }

    /// Opens a TCP connection to one of these addresses, and to no other one.
    async fn open(&self, uri: &Uri, addresses: Vec<SocketAddr>) -> Result<TcpStream, BoxError> {
        let resolver = tower::service_fn(move |_: Name| {
            // The connector adds the port.
            std::future::ready(Ok::<_, Infallible>(addresses.clone().into_iter()))
        });
        let mut tcp = HttpConnector::new_with_resolver(resolver);
        // TLS is added afterwards, so `https://` must be accepted here.
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(TCP_KEEPALIVE));
        // The connector divides this time among the addresses. So an address that does not answer
        // leaves time for the next one.
        tcp.set_connect_timeout(Some(self.timeout));
        Ok(tcp.oneshot(uri.clone()).await?.into_inner())
    }

    /// The result of a step; an error if it does not end in time.
    async fn by<T, E: From<io::Error>>(
        &self,
        deadline: Instant,
        step: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        tokio::time::timeout_at(deadline, step).await.unwrap_or_else(|_| {
            let text = format!("it took longer than {} s", self.timeout.as_secs_f64());
            Err(io::Error::new(io::ErrorKind::TimedOut, text).into())
        })
    }
}

/// The addresses that the guard permits; an error if there is none.
fn permitted(guard: &AddressGuard, resolved: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, ConnectError> {
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
            let none = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            Err(ConnectError::Name(none))
        }
        _ => Ok(kept),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpListener;

    use super::{super::tls::tls_config, *};

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().expect("an address")).collect()
    }

    #[test]
    fn a_name_leads_only_to_permitted_addresses() {
        let guard = AddressGuard::default();
        let mixed = addresses(&["10.0.0.1:0", "8.8.8.8:0", "[::1]:0"]);
        assert_eq!(permitted(&guard, mixed).expect("one is public"), addresses(&["8.8.8.8:0"]));
    }

    #[test]
    fn a_name_that_leads_nowhere_permitted_is_forbidden() {
        let inside = addresses(&["10.0.0.1:0", "[::1]:0"]);
        let error = permitted(&AddressGuard::default(), inside).expect_err("all are private");
        assert_eq!(error.class(), ErrorClass::Forbidden, "{error}");
        let error = permitted(&AddressGuard::default(), Vec::new()).expect_err("nothing resolved");
        assert_eq!(error.class(), ErrorClass::Dns, "{error}");
    }

    /// Each step hangs in turn. The error names that step, and comes when the time is over.
    #[tokio::test]
    async fn a_step_that_hangs_is_named_when_the_time_is_over() {
        let guard = AddressGuard::new(vec!["127.0.0.0/8".parse().expect("a network")]);
        let timeout = Duration::from_millis(100);
        let lookups = Arc::new(Lookups::with_resolver(|_| {
            std::thread::sleep(Duration::from_secs(2));
            Ok(Vec::new())
        }));
        let tls = tls_config(None).expect("TLS");
        let connector = Connector { lookups, timeout, ..Connector::new(guard, tls) };
        let class = async |url: &str| {
            let begun = Instant::now();
            let identity = Identity::of(&url.parse().expect("a URL")).expect("an identity");
            let error = connector.connect(&identity).await.expect_err("no connection");
            assert!(begun.elapsed() >= timeout, "{error:?}");
            error.class()
        };

        assert_eq!(class("http://hangs.invalid/").await, ErrorClass::Dns);

        // Its queue of connections is full, so further connections get no answer.
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
        let full = socket.listen(1).expect("a listener");
        let address = full.local_addr().expect("bound");
        let mut waiting = Vec::new();
        while let Ok(Ok(stream)) = tokio::time::timeout(timeout, TcpStream::connect(address)).await {
            waiting.push(stream);
        }
        assert_eq!(class(&format!("http://{address}/")).await, ErrorClass::Connect);

        let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = silent.local_addr().expect("bound");
        assert_eq!(class(&format!("https://{address}/")).await, ErrorClass::Tls);
    }
}
