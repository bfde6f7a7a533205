//! Filters: what a filter may be, and which messages it lets through.

use pgtopic_testkit::{Answer, Broker, Scene};
use rstest::rstest;
use tokio_postgres::error::SqlState;

#[tokio::test]
async fn a_filter_lets_through_what_matches_and_what_it_cannot_judge() {
    let scene = Scene::with_webhook(&[("filter", "'$.amount > 10'")]).await;
    scene.webhook("/strict", &[("filter", "'strict $.missing.deeper == 1'")]).await;
    let publish =
        async |payload: &str| scene.number(&format!("SELECT publish('orders', 'a', '{payload}')")).await;
    let big = publish(r#"{"amount": 11}"#).await;
    let small = publish(r#"{"amount": 10}"#).await;
    let other = publish(r#"{"amount": "many"}"#).await;
    let nul = publish(r#"{"amount": 1, "text": "\u0000"}"#).await;
    let huge = publish(r#"{"amount": 1e200000}"#).await;
    scene.receiver.set_script(|_| Answer::Status(204));
    let _broker = Broker::start(scene.store());
    scene.nothing_owed().await;
    let to = |path: &str| -> Vec<i64> {
        let received = scene.receiver.received();
        received.iter().filter(|one| one.path == path).map(pgtopic_testkit::Received::position).collect()
    };
    assert_eq!(to("/"), [big, nul, huge]);
    assert_eq!(to("/strict"), [nul, huge]);
    assert!(!to("/").contains(&small) && !to("/").contains(&other));
    assert_eq!(scene.number("SELECT last_value FROM filter_errors").await, 4);
}

/// How many bytes a filter is evaluated for, or why it is refused.
async fn limit(scene: &Scene, filter: &str) -> Result<i32, String> {
    let sql = "UPDATE webhooks SET filter = $1::text::jsonpath RETURNING filter_limit";
    let row = scene.client.query_one(sql, &[&filter]).await;
    row.map(|row| row.get(0)).map_err(|error| {
        let error = error.as_db_error().unwrap();
        assert_eq!((error.table(), error.column()), (Some("webhooks"), Some("filter")), "{error:?}");
        error.message().to_owned()
    })
}

#[rstest]
#[case::nested("$.**.**.a == 1", ".** within another")]
#[case::nested_in_brackets("(($.**).a).** == 1", ".** within another")]
#[case::nested_in_a_filter("exists($.** ? (@.**.a == 1))", ".** within another")]
#[case::nested_in_a_subscript("$.**[$.**] == 1", ".** within another")]
#[case::two_lists("$.a[*] == $.b[*]", "compare two paths")]
#[case::two_lists_strictly("strict $.a[*] == $.b[*]", "compare two paths")]
#[case::two_objects("$.a.* > $.b.*", "compare two paths")]
#[case::two_ranges("$.a[0 to last] == $.b[1 to last]", "compare two paths")]
#[case::calculated_lists("($.a[*] + 1) == ($.b[*] + 2)", "compare two paths")]
#[case::filtered_lists("($.a[*] ? (@ > 1)) == $.b.**", "compare two paths")]
#[case::a_list_for_each("exists($.a[*] ? (@.c[*] == $.b[*]))", "compare two paths")]
#[case::a_cube("exists($.a ? (exists($.b ? (exists($.c ? (@ == 1))))))", "too costly")]
#[case::a_list_of_pairs("exists($[*] ? (@ == $.x ? (@ == $.y)))", "too costly")]
#[case::backward(r#"$.a like_regex "(x)\\1""#, "refers back")]
#[case::around(r#"$.a like_regex "a(?=b)""#, "looks around")]
#[case::path("$.a[*]", "must be a predicate")]
#[case::variable("$.a == $b", "must not name variables")]
#[tokio::test]
async fn a_filter_that_would_cost_publishers_too_much_is_refused(#[case] filter: &str, #[case] why: &str) {
    let scene = Scene::with_webhook(&[]).await;
    let refused = limit(&scene, filter).await.unwrap_err();
    assert!(refused.contains(why), "{refused}");
    let insert = "INSERT INTO webhooks (topic_id, url, secrets, filter) VALUES (1, 'http://a/', '{}', $1::text::jsonpath)";
    scene.client.execute(insert, &[&filter]).await.unwrap_err();
    assert_eq!(scene.number("SELECT count(*) FROM webhooks WHERE filter IS NULL").await, 1);
}

const LINEAR: i32 = 2 << 20;
const SQUARE: i32 = 8 << 10;

#[rstest]
#[case::simple("$.type == \"order.created\"", LINEAR)]
#[case::a_pattern(r#"$.a like_regex "^a\\\\1(?:b)" flag "i""#, LINEAR)]
#[case::two("$.a == 1 && !($.b.c > 2)", LINEAR / 2)]
#[case::a_list("$.a[*] == 1", LINEAR / 2)]
#[case::each("exists($.a[*] ? (@.b == 1 || @.c starts with \"x\"))", LINEAR / 4)]
#[case::everywhere("$.**.a == 1 && $.**.b == 2", LINEAR / 4)]
#[case::one_place("$.a[last - 1] == 1", LINEAR / 2)]
#[case::strict("strict $.a == $.b", LINEAR / 2)]
#[case::names_that_look_like_wildcards(r#"strict $."a[*].**" == $."b[*]""#, LINEAR / 2)]
// An array on each side would be unwrapped.
#[case::lax("$.a == $.b", 5793)]
#[case::looked_up("exists($.a[*] ? (@.id == $.id))", 4096)]
#[case::calculated("$.a * 2 == 4", 5793)]
#[case::converted("$.a.double() > 4", 5793)]
#[tokio::test]
async fn a_filter_is_evaluated_for_payloads_up_to_a_size_that_its_shape_permits(
    #[case] filter: &str,
    #[case] expected: i32,
) {
    let scene = Scene::with_webhook(&[]).await;
    assert_eq!(limit(&scene, filter).await, Ok(expected), "of {LINEAR} and {SQUARE}");
}

#[tokio::test]
async fn a_payload_that_is_too_large_for_a_filter_is_owed_and_counted() {
    let scene = Scene::with_webhook(&[("filter", "'$.a == $.b'")]).await;
    let limit = scene.number("SELECT filter_limit::bigint FROM webhooks").await;
    for (bytes, owed) in [(limit, 0), (limit + 1, 1)] {
        let around = r#"{"a": 1, "b": 2, "c": ""}"#.len();
        let text = "x".repeat(usize::try_from(bytes).unwrap() - around);
        scene.sql(&format!(r#"SELECT publish('orders', 'a', '{{"a": 1, "b": 2, "c": "{text}"}}')"#)).await;
        assert_eq!(scene.number("SELECT count(*) FROM deliveries").await, owed, "{bytes}");
        assert_eq!(scene.number("SELECT last_value FROM filter_errors").await, owed);
    }
}

/// A filter was stored without the trigger. It still has a size limit, and its webhook can be
/// changed.
#[tokio::test]
async fn an_unchecked_filter_is_limited_too() {
    let scene = Scene::with_webhook(&[]).await;
    scene
        .sql(
            "SET session_replication_role = replica;
             UPDATE webhooks SET filter = '$.a[*] == $.b[*]';
             RESET session_replication_role;
             UPDATE topics SET webhook_ids = NULL;
             UPDATE webhooks SET paused = true, filter = filter",
        )
        .await;
    scene.publish(&["a"]).await;
    assert_eq!(scene.number("SELECT count(*) FROM deliveries").await, 1, "the filter is not evaluated");
    let error = scene.client.execute("UPDATE webhooks SET filter = '$.**.** == 1'", &[]).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::PROGRAM_LIMIT_EXCEEDED));
}
