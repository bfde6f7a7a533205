//! A request that its client does not wait for.

use std::time::Duration;

use pgtopic_testkit::{Http, Scene};
use serde_json::json;

/// Much less than the statement would take, which the server would end after 25 s.
const SOON: Duration = Duration::from_secs(15);

#[tokio::test]
async fn the_statement_of_a_request_that_nobody_waits_for_is_canceled() {
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
        // The client goes away.
    }
    let canceled = format!("NOT {sleeping}");
    tokio::time::timeout(SOON, scene.until(&canceled)).await.expect("it is canceled");
    assert_eq!(scene.number("SELECT count(*) FROM messages").await, 0);
}
