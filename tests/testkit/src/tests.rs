//! Tests of the receiver and the link, on which other tests rely.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode};
use hyper_util::{
    client::legacy::{Client, Error, connect::HttpConnector},
    rt::TokioExecutor,
};

use super::{Answer, Link, TestProxy, TestReceiver, Upstream};

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

#[tokio::test]
async fn an_answer_may_break_off() {
    let receiver = TestReceiver::start(|_| Answer::Half).await;
    let request = Request::post(receiver.url("/")).header("webhook-position", "7").body(Full::default());
    let answer = client().request(request.unwrap()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.into_body().collect().await.is_err(), "half a body");
    let received = receiver.wait_for_ended(1).await;
    assert!(received[0].broken && received[0].status.is_none() && !received[0].accepted());
}

#[tokio::test]
async fn a_link_may_be_slow_cut_or_dead() {
    let receiver = TestReceiver::accepting().await;
    let proxy = TestProxy::start(Upstream::Tcp(receiver.address())).await;
    let (client, url) = (client(), format!("http://{}/", proxy.address()));
    post(&client, &url, "good").await.unwrap();

    proxy.set(Link::Slow(Duration::from_millis(100)));
    let begun = std::time::Instant::now();
    post(&client, &url, "slow").await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(200), "there and back");

    proxy.set(Link::Good);
    receiver.set_script(|_| Answer::Hang);
    let (cut, to) = (client.clone(), url.clone());
    let cut = tokio::spawn(async move { post(&cut, &to, "cut").await });
    receiver.wait_for(3).await;
    proxy.cut();
    assert!(cut.await.unwrap().is_err());
    receiver.wait_until("the receiver hears of it", |all| all[2].ended.is_some()).await;

    receiver.set_script(|_| Answer::Status(204));
    post(&client, &url, "a new connection").await.unwrap();
    proxy.set(Link::Dead);
    let dead = tokio::time::timeout(Duration::from_millis(200), post(&client, &url, "dead")).await;
    assert!(dead.is_err(), "nothing is said");
    assert_eq!(receiver.received().len(), 4);
    proxy.set(Link::Good);
    while post(&client, &url, "good again").await.is_err() {}
    let received = receiver.received();
    assert_eq!(received.len(), 5, "what was sent over the dead link is gone");
    assert_eq!(&received[4].body[..], b"good again");
}
