//! Requests whose client goes away before the answer.

use std::time::Duration;

use pgtopic_testkit::{Http, Scene};
use serde_json::json;

/// The statement would take 60 s. The server would end it after 25 s. This is much less.
const SOON: Duration = Duration::from_secs(15);

#[tokio::test]
async fn the_statement_of_a_request_is_canceled_when_its_client_goes_away() {
    let scene = Scene::with_webhook(&[]).await;
    scene
        .sql(
            "CREATE FUNCTION take_long() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN NEW; END';
             CREATE TRIGGER a BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION take_long()",
        )
        .await;
    let http = Http::serve(scene.store()).await;
    let sleeping =
        "EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep')";
    {
        let body = json!({"payload": {}});
        let publish = http.try_post("/topics/orders/messages", &body);
        tokio::select! {
            answer = publish => panic!("{answer:?}"),
            () = scene.until(sleeping) => {}
        }
        // Here the request is dropped: the client goes away.
    }
    let canceled = format!("NOT {sleeping}");
    tokio::time::timeout(SOON, scene.until(&canceled)).await.expect("the statement is canceled");
    assert_eq!(scene.number("SELECT count(*) FROM messages").await, 0);
}
