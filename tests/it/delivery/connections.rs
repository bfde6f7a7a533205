//! Connections to receivers: kept connections that are closed, and the file of authorities.

use std::sync::Mutex;

use pgtopic_testkit::{Answer, Broker, Process, Scene};

/// For every second message, the receiver closes the kept connection once without an answer. That
/// is not a failed attempt. The webhook allows one attempt, and nothing becomes a dead letter.
#[tokio::test]
async fn a_kept_connection_that_the_receiver_closed_costs_no_attempt() {
    let scene = Scene::with_webhook(&[("max_retries", "1")]).await;
    let ids = scene.publish(&["a"; 10]).await;
    let swallowed = Mutex::new(Vec::new());
    scene.receiver.set_script(move |received| {
        let mut swallowed = swallowed.lock().unwrap();
        if received.position() % 2 == 1 || swallowed.contains(&received.position()) {
            return Answer::Status(204);
        }
        swallowed.push(received.position());
        Answer::Close
    });
    let broker = Broker::start(scene.store());
    scene.nothing_owed().await;
    assert_eq!(scene.number("SELECT count(*) FROM dead_letters").await, 0);
    let received = scene.receiver.received();
    assert_eq!(received.len(), ids.len() + ids.len() / 2, "every second message came twice");
    assert!(received.iter().all(|one| one.header("webhook-attempt") == "1"));
    scene.until("(SELECT count(*) FROM attempts) = 10").await;
    assert_eq!(scene.number("SELECT count(*) FROM attempts WHERE outcome <> 'accepted'").await, 0);
    broker.stop().await;
}

#[tokio::test]
async fn an_unusable_ca_file_is_reported_at_the_start() {
    let scene = Scene::new().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut environment = scene.database.environment();
    environment.push(("PGTOPIC_DELIVERY__CA_FILE", file.path().to_str().unwrap()));
    for command in ["serve", "worker"] {
        let ended = Process::run(&[command], &environment).await;
        assert_eq!(ended.code(), 2, "{}", ended.output);
        assert!(ended.output.contains("delivery.ca_file /"), "{}", ended.output);
        assert!(ended.output.contains("it holds no certificate"), "{}", ended.output);
    }
}
