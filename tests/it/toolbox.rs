//! The receiver that other tests rely on, itself.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode};
use hyper_util::{
    client::legacy::{Client, Error, connect::HttpConnector},
    rt::TokioExecutor,
};

use crate::support::{Answer, TestReceiver};

fn client() -> Client<HttpConnector, Full<Bytes>> {
    Client::builder(TokioExecutor::new()).retry_canceled_requests(false).build_http()
}

async fn post(
    client: &Client<HttpConnector, Full<Bytes>>,
    url: &str,
    body: &'static str,
) -> Result<(StatusCode, Bytes), Error> {
    let request = Request::post(url).header("webhook-partition", "a").header("webhook-position", "7");
    let answer = client.request(request.body(Full::from(body)).unwrap()).await?;
    Ok((answer.status(), answer.into_body().collect().await.unwrap().to_bytes()))
}

#[tokio::test]
async fn requests_are_recorded_and_answered_by_the_script() {
    let receiver = TestReceiver::start(|received| match received.number {
        0 => Answer::Status(204),
        1 => Answer::Full(429, vec![("retry-after", "3".to_owned())], Bytes::from_static(b"slow down")),
        _ => Answer::After(Duration::from_millis(20), Box::new(Answer::Status(200))),
    })
    .await;
    let client = client();
    assert_eq!(post(&client, &receiver.url("/x?y=1"), "one").await.unwrap().0, StatusCode::NO_CONTENT);
    let (status, body) = post(&client, &receiver.url("/x"), "two").await.unwrap();
    assert_eq!((status.as_u16(), &body[..]), (429, &b"slow down"[..]));
    post(&client, &receiver.url("/x"), "three").await.unwrap();

    let received = receiver.wait_for_ended(3).await;
    assert_eq!(received.iter().map(|one| &one.body[..]).collect::<Vec<_>>(), [&b"one"[..], b"two", b"three"]);
    assert_eq!(
        (received[0].path.as_str(), received[0].partition(), received[0].position()),
        ("/x?y=1", "a", 7)
    );
    assert!(received[2].ended.unwrap() - received[2].arrived >= Duration::from_millis(20));
    assert!(!received[0].overlaps(&received[1]));
}

#[tokio::test]
async fn a_request_may_hang_or_break() {
    let receiver = TestReceiver::start(|_| Answer::Close).await;
    let client = client();
    assert!(post(&client, &receiver.url("/"), "").await.is_err(), "closed without an answer");

    receiver.set_script(|_| Answer::Hang);
    let (hanging, url) = (client.clone(), receiver.url("/"));
    let hanging = tokio::spawn(async move { post(&hanging, &url, "").await });
    let received = receiver.wait_for(2).await;
    assert_eq!(received[1].ended, None);

    receiver.set_script(|_| Answer::Status(204));
    post(&client, &receiver.url("/"), "").await.unwrap();
    hanging.abort();
    let received = receiver.wait_until("the hanging request ends", |all| all[1].ended.is_some()).await;
    assert!(received[1].overlaps(&received[2]), "one hung while the other was answered");
}
