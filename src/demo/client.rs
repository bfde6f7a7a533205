//! A small HTTP client for the API of this process.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, header};
use hyper_util::{
    client::legacy::{Client as HttpClient, connect::HttpConnector},
    rt::TokioExecutor,
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::error::DemoError;
use crate::config::ApiConfig;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub(super) struct Client {
    http: HttpClient<HttpConnector, Full<Bytes>>,
    api: SocketAddr,
    token: Option<SecretString>,
}

impl Client {
    pub(super) fn new(config: &ApiConfig, api: SocketAddr) -> Self {
        let admin = config.tokens.iter().find_map(|token| token.expose_secret().strip_prefix("admin:"));
        Self {
            http: HttpClient::builder(TokioExecutor::new()).build_http(),
            api,
            token: admin.map(SecretString::from),
        }
    }

    /// Sends a request and returns the JSON of the answer.
    ///
    /// # Errors
    /// [`DemoError`] if no answer comes within 10 s, or if its status is not one of `expected`.
    pub(super) async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        expected: &[u16],
    ) -> Result<Value, DemoError> {
        let failed = |reason: String| DemoError(format!("{method} {path}: {reason}"));
        let mut request = Request::builder()
            .method(&method)
            .uri(format!("http://{}{path}", self.api))
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.expose_secret()));
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = request.body(Full::from(body)).map_err(|error| failed(error.to_string()))?;
        let exchange = async {
            let answer = self.http.request(request).await.map_err(|error| failed(error.to_string()))?;
            let status = answer.status().as_u16();
            let body = answer.into_body().collect().await.map_err(|error| failed(error.to_string()))?;
            Ok::<_, DemoError>((status, body.to_bytes()))
        };
        let (status, body) = tokio::time::timeout(TIMEOUT, exchange)
            .await
            .map_err(|_| failed(format!("no answer within {} s", TIMEOUT.as_secs())))??;
        if !expected.contains(&status) {
            return Err(failed(format!("answered {status}: {}", String::from_utf8_lossy(&body))));
        }
        Ok(serde_json::from_slice(&body).unwrap_or(Value::Null))
    }
}
