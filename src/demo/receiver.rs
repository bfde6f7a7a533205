//! The demo's receiver. It accepts everything on `…/1`, and refuses a request now and then on
//! `…/2`.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    routing::post,
};
use serde_json::Value;
use tokio::{net::TcpListener, sync::mpsc::UnboundedSender};
use tokio_util::task::AbortOnDropHandle;

use super::error::DemoError;

/// The path of the demo's webhooks. By it a later run finds the webhooks of an earlier run.
pub(super) const PATH: &str = "/pgtopic-demo/";

/// Of this many requests the second webhook refuses one.
const REFUSED: u64 = 9;

/// One request as it arrived.
#[derive(Debug, Clone)]
pub(super) struct Arrival {
    pub(super) webhook: u64,
    pub(super) partition: String,
    pub(super) position: i64,
    pub(super) attempt: u32,
    pub(super) event: String,
    /// Which run of the demo published it. `None` if somebody else did.
    pub(super) run: Option<String>,
    pub(super) accepted: bool,
}

pub(super) struct Receiver {
    address: SocketAddr,
    serving: AbortOnDropHandle<std::io::Result<()>>,
}

#[derive(Clone)]
struct Shared {
    arrivals: UnboundedSender<Arrival>,
    seen_by_second: Arc<AtomicU64>,
}

impl Receiver {
    pub(super) async fn start(arrivals: UnboundedSender<Arrival>) -> Result<Self, DemoError> {
        let failed = |error| DemoError(format!("the demo's receiver cannot listen: {error}"));
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let router = Router::new()
            .route(&format!("{PATH}{{webhook}}"), post(receive))
            .with_state(Shared { arrivals, seen_by_second: Arc::default() });
        let serving = AbortOnDropHandle::new(tokio::spawn(axum::serve(listener, router).into_future()));
        Ok(Self { address, serving })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns only if it does not serve any more: that is a defect.
    pub(super) async fn ended(&mut self) -> DemoError {
        let ended = (&mut self.serving).await;
        DemoError(format!("the demo's receiver has ended: {ended:?}"))
    }
}

async fn receive(
    State(shared): State<Shared>,
    Path(webhook): Path<u64>,
    headers: HeaderMap,
    body: String,
) -> StatusCode {
    let text =
        |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let payload: Value = serde_json::from_str(&body).unwrap_or_default();
    let refused =
        webhook == 2 && shared.seen_by_second.fetch_add(1, Ordering::Relaxed) % REFUSED == REFUSED - 1;
    let arrival = Arrival {
        webhook,
        partition: text("webhook-partition"),
        position: text("webhook-position").parse().unwrap_or_default(),
        attempt: text("webhook-attempt").parse().unwrap_or(1),
        event: payload["event"].as_str().unwrap_or("?").to_owned(),
        run: payload["run"].as_str().map(str::to_owned),
        accepted: !refused,
    };
    // This fails only if the demo has ended.
    let _ = shared.arrivals.send(arrival);
    if refused { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::NO_CONTENT }
}
