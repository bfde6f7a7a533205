//! A page of the console that somebody looks at: the process that serves it, and the page's stream.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, StatusCode, body::Incoming, header};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use pgtopic_testkit::{LISTENS, address_in};
use tokio::task::JoinHandle;

use super::{CliError, child::Role, failed, process::Process, server::Database};

/// An open page. Its process is killed on drop.
pub(super) struct ConsolePage {
    api: Process,
    reading: JoinHandle<u64>,
}

impl ConsolePage {
    /// Starts a process that serves the console, and opens the page at this path.
    pub(super) async fn open(database: &Database, path: &str) -> Result<Self, CliError> {
        let mut settings = database.settings();
        settings.extend([
            ("PGTOPIC_API__BIND".to_owned(), "127.0.0.1:0".to_owned()),
            // Its first lines tell its address.
            ("PGTOPIC_LOG__LEVEL".to_owned(), "info".to_owned()),
        ]);
        let mut api = Process::start("API", Role::Pgtopic, &["api".to_owned()], &settings)?;
        let said = api.wait_for_word(LISTENS).await?;
        let address = address_in(&said).ok_or_else(|| failed("the API has no address".to_owned()))?;
        let not_made = |error: hyper::http::Error| failed(format!("no request can be made: {error}"));
        let request = Request::get(format!("http://{address}{path}"))
            .header(header::ACCEPT, "text/event-stream")
            .body(Empty::<Bytes>::new())
            .map_err(not_made)?;
        let client: Client<HttpConnector, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let answer = client.request(request).await;
        let answer = answer.map_err(|error| failed(format!("the console does not answer: {error}")))?;
        if answer.status() != StatusCode::OK {
            return Err(failed(format!("the console answered {}", answer.status())));
        }
        let reading = tokio::spawn(read(answer.into_body()));
        Ok(Self { api, reading })
    }

    /// Closes it. Returns how many bytes its stream has sent.
    pub(super) async fn close(self) -> Result<u64, CliError> {
        self.api.stop().await?;
        self.reading.await.map_err(|error| failed(format!("the page failed: {error}")))
    }
}

/// Reads to the end. The process ends the stream when it stops.
async fn read(mut stream: Incoming) -> u64 {
    let mut bytes = 0;
    while let Some(Ok(frame)) = stream.frame().await {
        bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
    }
    bytes
}
