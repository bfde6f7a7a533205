//! Types: from every way of publishing to the receivers that asked for them.

use pgtopic_testkit::{Broker, Http, Received, Scene};
use serde_json::{Value, json};

/// The types that a path was sent, in order; none is `-`.
fn sent(received: &[Received], path: &str) -> Vec<String> {
    let of = received.iter().filter(|one| one.path == path);
    of.map(|one| one.headers.get("webhook-type").map_or("-", |value| value.to_str().unwrap()).to_owned())
        .collect()
}

#[tokio::test]
async fn a_type_reaches_those_who_asked_for_it_whatever_way_it_was_published() {
    let scene = Scene::new().await;
    scene.webhook("/all", &[]).await;
    scene.webhook("/orders", &[("types", "'{order.*}'")]).await;
    scene.webhook("/paid", &[("types", "'{order.paid,user.gone}'"), ("filter", "'$.n > 1'")]).await;
    let http = Http::serve(scene.store()).await;
    let _broker = Broker::start(scene.store());

    let path = "/topics/orders/messages";
    http.post(path, &json!({"type": "order.paid", "payload": {"n": 1}})).await;
    let batch = json!({"messages": [{"type": "order.sent", "payload": 1}, {"payload": 2}]});
    http.post(&format!("{path}/batch"), &batch).await;
    scene.sql(r#"SELECT publish('orders', payload => '{"n": 2}', type => 'order.paid')"#).await;
    scene.sql("INSERT INTO messages (topic_id, type, payload) VALUES (1, 'order paid/ü', '{}')").await;
    let copy = scene.client.copy_in("COPY messages (topic_id, type, payload) FROM STDIN").await.unwrap();
    let mut copy = std::pin::pin!(copy);
    futures_util::SinkExt::send(&mut copy, bytes::Bytes::from_static(b"1\tuser.gone\t{\"n\": 7}\n"))
        .await
        .unwrap();
    copy.finish().await.unwrap();
    scene.nothing_owed().await;

    let received = scene.receiver.received();
    let all = ["order.paid", "order.sent", "-", "order.paid", "order%20paid/%C3%BC", "user.gone"];
    assert_eq!(sent(&received, "/all"), all);
    assert_eq!(sent(&received, "/orders"), ["order.paid", "order.sent", "order.paid"]);
    assert_eq!(sent(&received, "/paid"), ["order.paid", "user.gone"], "the filter counts too");

    // Lists and single messages show it.
    let list = http.get(path).await;
    let types: Vec<&Value> = list["items"].as_array().unwrap().iter().rev().map(|one| &one["type"]).collect();
    assert_eq!(
        json!(types),
        json!(["order.paid", "order.sent", null, "order.paid", "order paid/ü", "user.gone"])
    );
    let first = list["items"].as_array().unwrap().last().unwrap()["id"].clone();
    assert_eq!(http.get(&format!("/messages/{first}")).await["type"], "order.paid");
}

#[tokio::test]
async fn a_batch_has_a_type_if_all_of_its_messages_have_it() {
    let scene = Scene::new().await;
    scene.webhook("/", &[("batch_size", "2")]).await;
    let publish = "INSERT INTO messages (topic_id, type, payload)
                   SELECT 1, type, '{}' FROM unnest(ARRAY['a', 'a', 'a', 'b', NULL, 'b']) AS type";
    scene.sql(publish).await;
    let _broker = Broker::start(scene.store());
    scene.nothing_owed().await;
    let received = scene.receiver.received();
    assert_eq!(sent(&received, "/"), ["a", "-", "-"]);
    let items: Vec<Value> =
        received.iter().flat_map(|one| serde_json::from_slice::<Vec<Value>>(&one.body).unwrap()).collect();
    let types: Vec<&Value> = items.iter().map(|item| &item["type"]).collect();
    assert_eq!(json!(types), json!(["a", "a", "a", "b", null, "b"]));
}

/// The only matcher is in SQL.
#[tokio::test]
async fn a_webhooks_types_match_exactly_or_by_their_start() {
    let scene = Scene::new().await;
    for (types, kind, matches) in [
        (&["order.paid"][..], Some("order.paid"), true),
        (&["order.paid"], Some("order.paid.late"), false),
        (&["order.paid"], Some("order"), false),
        (&["order.*"], Some("order.paid"), true),
        (&["order.*"], Some("order."), true),
        (&["order.*"], Some("order"), false),
        (&["order.*"], Some("reorder.paid"), false),
        (&["order*"], Some("order"), true),
        (&["a", "b*"], Some("bc"), true),
        (&["a", "b*"], Some("c"), false),
        (&["*"], Some("anything"), true),
        (&["*"], None, false),
        (&["order.paid"], None, false),
        // No character means something else than itself.
        (&["order_paid", "order%", "o.*", "(order)*"], Some("orderxpaid"), false),
        (&["order%*"], Some("order%paid"), true),
        (&[r"o\*"], Some(r"o\rder"), true),
    ] {
        let row = scene.client.query_one("SELECT type_matches($1, $2)", &[&types, &kind]).await.unwrap();
        assert_eq!(row.get::<_, bool>(0), matches, "{types:?} {kind:?}");
    }
}
