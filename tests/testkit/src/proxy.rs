//! A TCP link that is cut, slow or dead on demand.

use std::{net::SocketAddr, path::PathBuf, pin::Pin, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// What the link leads to.
#[derive(Debug, Clone)]
pub enum Upstream {
    /// An address.
    Tcp(SocketAddr),
    /// PostgreSQL's socket. It needs no password.
    Unix(PathBuf),
}

/// The state of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Passes everything on at once.
    Good,
    /// Passes every packet on after this time, in both directions.
    Slow(Duration),
    /// Passes nothing on, and reports nothing. When it is over, the connections of that time are
    /// cut, and what was sent on them is lost.
    Dead,
}

type Reader = Pin<Box<dyn AsyncRead + Send>>;
type Writer = Pin<Box<dyn AsyncWrite + Send>>;

#[derive(Debug, Clone, Copy)]
struct State {
    link: Link,
    /// Counts cuts. Connections that are older than the newest cut end.
    cuts: u32,
    /// Counts calls of [`TestProxy::swallow`]. Connections that are older than the newest call
    /// bring no answers.
    swallows: u32,
}

/// Listens on a port of 127.0.0.1, and passes everything on. Every connection ends when it is
/// dropped.
pub struct TestProxy {
    address: SocketAddr,
    state: watch::Sender<State>,
    serving: JoinHandle<()>,
}

impl TestProxy {
    /// A good link.
    pub async fn start(upstream: Upstream) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = watch::Sender::new(State { link: Link::Good, cuts: 0, swallows: 0 });
        let serving = tokio::spawn(serve(listener, upstream, state.subscribe()));
        Self { address, state, serving }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the link.
    pub fn set(&self, link: Link) {
        self.state.send_modify(|state| {
            state.cuts += u32::from(state.link == Link::Dead && link != Link::Dead);
            state.link = link;
        });
    }

    /// Resets all open connections. New ones are accepted.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }

    /// From now on no answer comes back on the open connections. Requests still arrive. New
    /// connections are good.
    pub fn swallow(&self) {
        self.state.send_modify(|state| state.swallows += 1);
    }
}

impl Drop for TestProxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, upstream: Upstream, state: watch::Receiver<State>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(connection(client, upstream.clone(), state.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(client: TcpStream, upstream: Upstream, state: watch::Receiver<State>) {
    // When the connection ends, both sides hear of it at once. A client is reset, as by a firewall.
    let _ = client.set_zero_linger();
    let _ = client.set_nodelay(true);
    let (mut cut, mut up) = (state.clone(), state.clone());
    let State { cuts, swallows, .. } = *cut.borrow();
    let passing = async {
        // Over a dead link no connection can be made either.
        let _ = up.wait_for(|state| state.link != Link::Dead).await;
        let (reader, writer): (Reader, Writer) = match upstream {
            Upstream::Tcp(address) => {
                let Ok(stream) = TcpStream::connect(address).await else { return };
                let _ = stream.set_nodelay(true);
                let (reader, writer) = stream.into_split();
                (Box::pin(reader), Box::pin(writer))
            }
            Upstream::Unix(path) => {
                let Ok(stream) = UnixStream::connect(path).await else { return };
                let (reader, writer) = stream.into_split();
                (Box::pin(reader), Box::pin(writer))
            }
        };
        let (from_client, to_client) = client.into_split();
        // If one side ends, both end. Neither PostgreSQL nor HTTP needs half-open connections here.
        tokio::select! {
            () = pass(from_client, writer, state.clone(), None) => {}
            () = pass(reader, to_client, state.clone(), Some(swallows)) => {}
        }
    };
    tokio::select! {
        () = passing => {}
        _ = cut.wait_for(|state| state.cuts != cuts) => {}
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut state: watch::Receiver<State>,
    swallows: Option<u32>,
) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let Ok(count @ 1..) = from.read(&mut buffer).await else {
            // Over a dead link an end does not arrive either.
            let _ = state.wait_for(|state| state.link != Link::Dead).await;
            return;
        };
        let now = *state.borrow_and_update();
        if swallows.is_some_and(|swallows| swallows != now.swallows) {
            continue;
        }
        match now.link {
            Link::Good => {}
            Link::Slow(delay) => tokio::time::sleep(delay).await,
            // The connection is cut when the link is good again.
            Link::Dead => return std::future::pending().await,
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
