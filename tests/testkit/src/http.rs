//! The HTTP API. This process serves it, and the test calls it over a connection.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use pgtopic::{
    api::{self, ApiState},
    broker::Broker,
    config::Config,
    store::Store,
};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::Process;

use super::quick_delivery;

/// What a process says that serves the API, before its address.
pub const LISTENS: &str = "the API listens address=";

/// Where a process serves the API that has said this.
pub fn address_in(output: &str) -> Option<SocketAddr> {
    let (_, rest) = output.split_once(LISTENS)?;
    rest.split_whitespace().next()?.parse().ok()
}

/// A served API and a client of it.
pub struct Http {
    address: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Http {
    /// Serves on a free port, without tokens, and lets webhooks reach loopback.
    pub async fn serve(store: Store) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let broker = Broker::new(store, quick_delivery().allow_networks);
        let state = ApiState::new(broker, &Config::default().api).unwrap();
        let serving = tokio::spawn(api::run(listener, state, CancellationToken::new()));
        Self { address, client: Client::builder(TokioExecutor::new()).build_http(), serving }
    }

    /// `None` if there was no answer.
    async fn send(&self, request: Request<Full<Bytes>>) -> Option<(StatusCode, Value)> {
        let answer = self.client.request(request).await.ok()?;
        let status = answer.status();
        let body = answer.into_body().collect().await.ok()?.to_bytes();
        Some((status, serde_json::from_slice(&body).unwrap()))
    }

    /// A client of the API that another process serves.
    pub async fn of(process: &mut Process) -> Self {
        let output = process.wait_for_output(LISTENS).await;
        Self::at(address_in(&output).unwrap())
    }

    /// Where it is served.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A client of the API that is served there, or will be.
    pub fn at(address: SocketAddr) -> Self {
        let serving = tokio::spawn(std::future::pending());
        Self { address, client: Client::builder(TokioExecutor::new()).build_http(), serving }
    }

    /// POST with any answer. `None` if there was no answer.
    pub async fn try_post(&self, path: &str, body: &Value) -> Option<(StatusCode, Value)> {
        self.try_post_text(path, &body.to_string()).await
    }

    /// The same, with a body that is sent unchanged.
    pub async fn try_post_text(&self, path: &str, body: &str) -> Option<(StatusCode, Value)> {
        let request = Request::post(format!("http://{}{path}", self.address));
        let request = request.header("content-type", "application/json");
        self.send(request.body(Full::from(body.to_owned())).unwrap()).await
    }

    /// POST with one more header, which must make something.
    pub async fn post_with(&self, path: &str, (name, value): (&str, &str), body: &Value) -> Value {
        let request = Request::post(format!("http://{}{path}", self.address));
        let request = request.header("content-type", "application/json").header(name, value);
        let (status, answer) = self.send(request.body(Full::from(body.to_string())).unwrap()).await.unwrap();
        assert_eq!(status, StatusCode::CREATED, "{path}: {answer}");
        answer
    }

    /// GET with any answer. `None` if there was no answer.
    pub async fn try_get(&self, path: &str) -> Option<(StatusCode, Value)> {
        let request = Request::get(format!("http://{}{path}", self.address));
        self.send(request.body(Full::default()).unwrap()).await
    }

    /// GET, which must succeed.
    pub async fn get(&self, path: &str) -> Value {
        let request = Request::get(format!("http://{}{path}", self.address));
        let (status, answer) = self.send(request.body(Full::default()).unwrap()).await.unwrap();
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        answer
    }

    /// GET of a text, which must succeed.
    pub async fn text(&self, path: &str) -> String {
        let request = Request::get(format!("http://{}{path}", self.address)).body(Full::default()).unwrap();
        let answer = self.client.request(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }

    /// PATCH, which must succeed.
    pub async fn patch(&self, path: &str, body: &Value) -> Value {
        let request = Request::patch(format!("http://{}{path}", self.address));
        let request = request.header("content-type", "application/json");
        let (status, answer) = self.send(request.body(Full::from(body.to_string())).unwrap()).await.unwrap();
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        answer
    }

    /// POST, which must succeed and makes nothing. A body that is null is left out.
    pub async fn act(&self, path: &str, body: &Value) -> Value {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let (status, answer) = self.try_post_text(path, &text).await.unwrap();
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        answer
    }

    /// POST, which must make something.
    pub async fn post(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = self.try_post(path, body).await.unwrap();
        assert_eq!(status, StatusCode::CREATED, "{path}: {answer}");
        answer
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
