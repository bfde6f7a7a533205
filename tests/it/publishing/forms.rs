//! Every form in which the function `publish` is called.

use pgtopic_testkit::Scene;
use rstest::rstest;
use tokio_postgres::error::SqlState;

/// What is stored: key, payload, headers, idempotency key, and the type if there is one.
async fn stored(scene: &Scene) -> String {
    let sql = "SELECT concat_ws(' | ', partition_key, payload::text, coalesce(headers::text, '-'), coalesce(idempotency_key, '-'), type)
                 FROM messages";
    scene.text(sql).await
}

#[rstest]
#[case(r#"'orders', 'k', '{"a":1}'"#, r#"k | {"a":1} | - | -"#)]
#[case(r#"'orders', 'k', '{"a":1}'::text"#, r#"k | {"a":1} | - | -"#)]
#[case(r#"'orders', 'k', '{"a":1}'::varchar"#, r#"k | {"a":1} | - | -"#)]
#[case(r#"'orders', 'k', '{"a":1}'::json"#, r#"k | {"a":1} | - | -"#)]
#[case(r#"'orders', 'k', '{"a":1}'::jsonb"#, r#"k | {"a": 1} | - | -"#)]
#[case(r"'orders', 'k'::varchar, jsonb_build_object('a', 1)", r#"k | {"a": 1} | - | -"#)]
#[case(r"'orders', 'k', to_json(ARRAY[1, 2])", "k | [1,2] | - | -")]
#[case(r#"'orders', NULL, '{"a":1}'"#, r#"default | {"a":1} | - | -"#)]
#[case(r#"'orders', 'k', '{"a":1}', '{"h":"v"}', 'i'"#, r#"k | {"a":1} | {"h":"v"} | i"#)]
#[case(r#"'orders', 'k', '{"a":1}'::text, '{"h":"v"}', 'i'"#, r#"k | {"a":1} | {"h":"v"} | i"#)]
#[case(r#"'orders', 'k', '{"a":1}'::json, '{"h":"v"}'::json, 'i'"#, r#"k | {"a":1} | {"h":"v"} | i"#)]
#[case(r#"'orders', 'k', '{"a":1}'::jsonb, '{"h":"v"}', 'i'"#, r#"k | {"a": 1} | {"h":"v"} | i"#)]
#[case(r#"'orders', 'k', '{"a":1}', idempotency_key => 'i'"#, r#"k | {"a":1} | - | i"#)]
#[case(r#"topic => 'orders', payload => '{"a":1}'"#, r#"default | {"a":1} | - | -"#)]
#[case(r#"topic => 'orders', payload => '{"a":1}'::text"#, r#"default | {"a":1} | - | -"#)]
#[case(r#"topic => 'orders', payload => '{"a":1}'::json"#, r#"default | {"a":1} | - | -"#)]
#[case(r#"topic => 'orders', payload => '{"a":1}'::jsonb"#, r#"default | {"a": 1} | - | -"#)]
#[case(
    r#"payload => '{"a":1}'::jsonb, partition_key => 'k', topic => 'orders', idempotency_key => 'i', headers => '{"h":"v"}'"#,
    r#"k | {"a": 1} | {"h":"v"} | i"#
)]
#[case(
    r#"payload => '{"a":1}', partition_key => 'k', topic => 'orders', idempotency_key => 'i', headers => '{"h":"v"}'"#,
    r#"k | {"a":1} | {"h":"v"} | i"#
)]
#[case(r#"'orders', payload => '{"a":1}', headers => '{"h":"v"}'"#, r#"default | {"a":1} | {"h":"v"} | -"#)]
#[case(r#"'orders', payload => '{"a":1}'::json, idempotency_key => 'i'"#, r#"default | {"a":1} | - | i"#)]
#[case(
    r#"'orders', payload => '{"a":1}'::jsonb, headers => '{"h":"v"}'"#,
    r#"default | {"a": 1} | {"h":"v"} | -"#
)]
#[case(r#"'orders', '{"a":1}'::json"#, r#"default | {"a":1} | - | -"#)]
#[case(r"'orders', jsonb_build_object('a', 1)", r#"default | {"a": 1} | - | -"#)]
#[case(r#"'orders', 'k', '{"a":1}', type => 'order.paid'"#, r#"k | {"a":1} | - | - | order.paid"#)]
#[case(r#"'orders', 'k', '{"a":1}'::json, type => 'order.paid'"#, r#"k | {"a":1} | - | - | order.paid"#)]
#[case(r#"'orders', 'k', '{"a":1}'::jsonb, type => 'order.paid'"#, r#"k | {"a": 1} | - | - | order.paid"#)]
#[case(r#"'orders', '{"a":1}'::json, type => 'order.paid'"#, r#"default | {"a":1} | - | - | order.paid"#)]
#[case(r#"'orders', '{"a":1}'::jsonb, type => 'order.paid'"#, r#"default | {"a": 1} | - | - | order.paid"#)]
#[case(
    r#"'orders', payload => '{"a":1}', type => 'order.paid'"#,
    r#"default | {"a":1} | - | - | order.paid"#
)]
#[case(
    r#"'orders', payload => '{"a":1}'::json, type => 'order.paid'"#,
    r#"default | {"a":1} | - | - | order.paid"#
)]
#[case(r#"'orders', 'k', '{"a":1}', '{"h":"v"}', 'i', 't'"#, r#"k | {"a":1} | {"h":"v"} | i | t"#)]
#[tokio::test]
async fn a_payload_of_any_type_is_published(#[case] arguments: &str, #[case] expected: &str) {
    let scene = Scene::new().await;
    // The role may use the schema and nothing more. Its search path does not name the schema.
    scene
        .sql(
            "DO $$ BEGIN
                 CREATE ROLE pgtopic_publisher; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
             END $$;
             GRANT USAGE ON SCHEMA pgtopic TO pgtopic_publisher",
        )
        .await;
    let publish =
        format!("SET ROLE pgtopic_publisher; SET search_path = public; SELECT pgtopic.publish({arguments})");
    scene.sql(&publish).await;
    scene.sql("RESET ROLE; SET search_path = pgtopic").await;
    assert_eq!(stored(&scene).await, expected);
}

#[tokio::test]
async fn parameters_without_a_type_are_text() {
    let scene = Scene::new().await;
    scene.sql("PREPARE p AS SELECT publish($1, $2, $3, $4, $5)").await;
    scene.sql(r#"EXECUTE p('orders', 'k', '{"a":1}', '{"h":"v"}', NULL)"#).await;
    assert_eq!(stored(&scene).await, r#"k | {"a":1} | {"h":"v"} | -"#);
}

#[rstest]
#[case::none(r#"'orders', '{"a":1}'"#, SqlState::NULL_VALUE_NOT_ALLOWED)]
#[case::null("'orders', 'k', NULL", SqlState::NULL_VALUE_NOT_ALLOWED)]
#[case::no_json("'orders', 'k', 'a'", SqlState::INVALID_TEXT_REPRESENTATION)]
#[case::no_topic("'nowhere', 'k', '1'", SqlState::FOREIGN_KEY_VIOLATION)]
#[case::no_topic_without_a_key("'nowhere', '1'::jsonb", SqlState::FOREIGN_KEY_VIOLATION)]
#[tokio::test]
async fn what_cannot_be_published_is_refused_by_one_error(#[case] arguments: &str, #[case] code: SqlState) {
    let scene = Scene::new().await;
    let error = scene.client.batch_execute(&format!("SELECT publish({arguments})")).await.unwrap_err();
    assert_eq!(error.code(), Some(&code), "{error:?}");
}
