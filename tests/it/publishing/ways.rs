//! Ways to publish, what is refused, and filters.

use bytes::Bytes;
use futures_util::SinkExt as _;
use pgtopic_testkit::{Broker, Scene, publish};
use rstest::rstest;
use tokio_postgres::error::SqlState;

/// Checks that the open transaction has read few rows for each of its ten thousand messages. With a
/// bad plan it reads a whole table for each message: millions of rows.
async fn check_reads(scene: &Scene) {
    let read = scene.rows_read().await;
    println!("{read} rows were read for 10,000 messages");
    assert!(read < 10 * 10_000, "{read} rows");
}

#[rstest]
#[case::in_a_fresh_session(false)]
#[case::after_single_rows(true)]
#[tokio::test]
async fn ten_thousand_rows_at_once_are_quick(#[case] after_single_rows: bool) {
    let scene = Scene::with_webhook(&[]).await;
    if after_single_rows {
        // Now the session has plans that were made for one row.
        for _ in 0..10 {
            scene.publish(&["single"]).await;
        }
        scene.sql("DELETE FROM deliveries; DELETE FROM lanes").await;
    }
    scene
        .sql(
            "BEGIN;
             INSERT INTO messages (topic_id, partition_key, payload)
             SELECT 1, 'key-' || n % 500, json_build_object('n', n) FROM generate_series(1, 10000) AS n
              ORDER BY stripe(1, 'key-' || n % 500), n",
        )
        .await;
    check_reads(&scene).await;
    scene.sql("COMMIT").await;
    scene.check_fan_out(10_000, 500).await;
}

#[tokio::test]
async fn copy_publishes() {
    let scene = Scene::with_webhook(&[]).await;
    scene.sql("BEGIN").await;
    let sink =
        scene.client.copy_in("COPY messages (topic_id, partition_key, payload) FROM STDIN").await.unwrap();
    let mut sink = std::pin::pin!(sink);
    for row in 0..10_000 {
        let row = format!("1\tkey-{}\t{{\"n\": {row}}}\n", row % 20);
        sink.feed(Bytes::from(row)).await.unwrap();
    }
    assert_eq!(sink.finish().await.unwrap(), 10_000);
    check_reads(&scene).await;
    scene.sql("COMMIT").await;
    scene.check_fan_out(10_000, 20).await;
    let _broker = Broker::start(scene.store());
    assert_eq!(scene.all_delivered(&["/"]).await, 0);
}

#[tokio::test]
async fn rows_of_one_statement_keep_their_order_and_a_missing_key_is_the_default_one() {
    let scene = Scene::with_webhook(&[]).await;
    scene
        .sql(
            r#"INSERT INTO messages (topic_id, partition_key, payload)
               VALUES (1, NULL, '[1]'), (1, 'default', '[2]'), (1, NULL, '[3]');
               INSERT INTO messages (topic_id, payload) VALUES (1, '[ 4,  "\u0000", 1e200000, {"a":1,"a":2} ]')"#,
        )
        .await;
    let _broker = Broker::start(scene.store());
    assert_eq!(scene.all_delivered(&["/"]).await, 0);
    let bodies: Vec<_> = scene.receiver.received().into_iter().map(|one| one.body).collect();
    let last = r#"[ 4,  "\u0000", 1e200000, {"a":1,"a":2} ]"#;
    assert_eq!(bodies, ["[1]", "[2]", "[3]", last], "the bodies have the same bytes, in order");
}

#[tokio::test]
async fn an_idempotency_key_publishes_once() {
    let scene = Scene::with_webhook(&[]).await;
    let publish = "SELECT publish('orders', 'a', '{}', NULL, 'k')";
    let first = scene.number(publish).await;
    assert_eq!(scene.number(publish).await, first);
    assert_ne!(scene.number("SELECT publish('orders', 'a', '{}', NULL, 'other')").await, first);
    let insert =
        "INSERT INTO messages (topic_id, payload, idempotency_key) VALUES (1, '{}', 'k'), (1, '{}', 'new')
                  ON CONFLICT";
    scene
        .sql(&format!("{insert} (topic_id, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING"))
        .await;
    scene.sql(&format!("{insert} DO NOTHING")).await;
    scene.check_fan_out(3, 2).await;
}

#[tokio::test]
async fn two_transactions_with_one_idempotency_key_publish_once() {
    let scene = Scene::with_webhook(&[]).await;
    let (one, other) = (scene.another_client().await, scene.another_client().await);
    let sql = "SELECT publish('orders', $1, '{}', NULL, 'k')";
    one.batch_execute("BEGIN").await.unwrap();
    let first: i64 = one.query_one(sql, &[&"a"]).await.unwrap().get(0);
    let waiting = tokio::spawn(async move { other.query_one(sql, &[&"b"]).await.unwrap().get::<_, i64>(0) });
    scene.somebody_waits("l.locktype = 'transactionid'").await;
    one.batch_execute("COMMIT").await.unwrap();
    assert_eq!(waiting.await.unwrap(), first);
    scene.check_fan_out(1, 1).await;
}

#[rstest]
#[case::unknown_topic("VALUES (77, '{}')", "23503", "topic 77 does not exist")]
#[case::paused_topic("VALUES (2, '{}')", "55000", "\"paused\" is paused")]
#[case::payload_too_large(
    "VALUES (3, '\"123456789\"')",
    "54000",
    "payload of 11 bytes is larger than the 10 bytes"
)]
#[case::no_json("VALUES (1, '{')", "22P02", "invalid input syntax for type json")]
#[tokio::test]
async fn a_refused_message_says_why(#[case] values: &str, #[case] code: &str, #[case] words: &str) {
    let scene = Scene::with_webhook(&[]).await;
    scene.sql("INSERT INTO topics (name, paused) VALUES ('paused', 'refuse')").await;
    scene.sql("INSERT INTO topics (name, max_payload_bytes) VALUES ('small', 10)").await;
    let sql = format!("INSERT INTO messages (topic_id, payload) {values}");
    let error = scene.client.batch_execute(&sql).await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code(), &SqlState::from_code(code));
    assert!(error.message().contains(words), "{}", error.message());
    scene.check_fan_out(0, 0).await;
}

#[rstest]
#[case::no_key("partition_key", "''", "1 to 1024 bytes")]
#[case::long_key("partition_key", "repeat('k', 1025)", "1 to 1024 bytes")]
#[case::no_object("headers", "'[1]'", "JSON object")]
#[case::no_idempotency_key("idempotency_key", "''", "1 to 255 bytes")]
#[case::long_idempotency_key("idempotency_key", "repeat('k', 256)", "1 to 255 bytes")]
#[case::never("created_at", "'infinity'", "0001-01-01 to 9999-12-29")]
#[case::before_all("created_at", "'-infinity'", "0001-01-01 to 9999-12-29")]
#[case::later_than_workers_can_read("created_at", "'9999-12-30 23:30+00'", "0001-01-01 to 9999-12-29")]
#[tokio::test]
async fn a_column_out_of_bounds_is_named(#[case] column: &str, #[case] value: &str, #[case] words: &str) {
    let scene = Scene::with_webhook(&[]).await;
    let sql = format!("INSERT INTO messages (topic_id, payload, {column}) VALUES (1, '{{}}', {value})");
    let error = scene.client.batch_execute(&sql).await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code(), &SqlState::CHECK_VIOLATION);
    assert_eq!(error.column(), Some(column));
    assert!(error.message().contains(words), "{}", error.message());
    scene.check_fan_out(0, 0).await;
}

#[tokio::test]
async fn a_lane_begins_before_its_first_message_however_many_come_at_once() {
    let scene = Scene::with_webhook(&[]).await;
    scene.sql("INSERT INTO webhooks (topic_id, url, secrets) VALUES (1, 'http://127.0.0.1:1/', '{}')").await;
    scene.sql("INSERT INTO topics (name, ordering) VALUES ('loose', 'none')").await;
    scene.sql("INSERT INTO webhooks (topic_id, url, secrets) VALUES (2, 'http://127.0.0.1:1/', '{}')").await;
    for level in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
        scene.sql("TRUNCATE messages, deliveries, lanes").await;
        scene
            .sql(&format!(
                "BEGIN ISOLATION LEVEL {level};
                 INSERT INTO messages (topic_id, partition_key, payload)
                 SELECT 1 + n % 2, 'key-' || n * 7919 % 40, '{{}}' FROM generate_series(1, 3000) AS n;
                 COMMIT"
            ))
            .await;
        let wrong = "SELECT count(*) FROM (SELECT d.webhook_id, d.lane, min(d.message_id) AS first
                       FROM deliveries d GROUP BY 1, 2) f
                       FULL JOIN lanes l USING (webhook_id, lane) WHERE l.position IS DISTINCT FROM f.first - 1";
        assert_eq!(scene.number(wrong).await, 0, "{level}");
        assert_eq!(scene.number("SELECT count(*) FROM deliveries").await, 2 * 1500 + 1500, "{level}");
        let lane = "SELECT count(*) FROM messages m JOIN topics t ON t.id = m.topic_id WHERE m.lane <>
                    CASE t.ordering WHEN 'none' THEN m.id ELSE hashtextextended(m.partition_key, t.id) END";
        assert_eq!(scene.number(lane).await, 0, "{level}");
    }
}

#[tokio::test]
async fn an_application_role_needs_no_more_than_insert_and_publish() {
    let scene = Scene::with_webhook(&[("filter", "'$.a == 1'")]).await;
    let role = format!("app_{}", scene.text("SELECT current_database()").await);
    scene
        .sql(&format!(
            "CREATE ROLE {role}; GRANT USAGE ON SCHEMA pgtopic TO {role}; GRANT INSERT ON messages TO {role}"
        ))
        .await;
    let app = scene.another_client().await;
    // Functions and tables of this role must not be used in place of those of pgtopic.
    app.batch_execute(&format!(
        "SET ROLE {role}; CREATE TEMP TABLE topics (id bigint); SET search_path = pg_temp, pgtopic"
    ))
    .await
    .unwrap();
    for level in ["READ COMMITTED", "SERIALIZABLE"] {
        let insert =
            r#"INSERT INTO pgtopic.messages (topic_id, partition_key, payload) VALUES (1, 'a', '{"a": 1}')"#;
        let publish = r#"SELECT publish('orders', 'a', '{"a": 1}', NULL, NULL)"#;
        let sql = format!("BEGIN ISOLATION LEVEL {level}; {insert}; {publish}; COMMIT");
        app.batch_execute(&sql).await.unwrap();
    }
    for denied in
        ["SELECT FROM pgtopic.messages", "DELETE FROM pgtopic.deliveries", "SELECT FROM pgtopic.webhooks"]
    {
        let error = app.query(denied, &[]).await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{denied}");
    }
    let _broker = Broker::start(scene.store());
    assert_eq!(scene.all_delivered(&["/"]).await, 0);
    assert_eq!(scene.receiver.received().len(), 4);
    drop(app);
    scene.sql(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

/// SQL: a schema with the names of all operators and functions that publishing uses. Each of them
/// fails when it is called.
const NAMESAKES: &str = r"
    CREATE SCHEMA namesakes;
    DO $$
    DECLARE
        one record;
    BEGIN
        FOR one IN
            SELECT row_number() OVER () AS n, o.oprname, format_type(oprleft, NULL) AS l, format_type(oprright, NULL) AS r,
                   format_type(oprresult, NULL) AS result
              FROM pg_operator o
             WHERE oprname IN ('=', '<>', '<', '<=', '>', '>=', '+', '-', '*', '/', '&', '|', '||')
               AND oprleft = ANY ('{int4,int8,text,float8,timestamptz}'::regtype[])
               AND oprright = ANY ('{int4,int8,text,float8,timestamptz}'::regtype[])
        LOOP
            EXECUTE format('CREATE FUNCTION namesakes.f%s (%s, %s) RETURNS %s LANGUAGE plpgsql AS '
                           || '$f$ BEGIN RAISE EXCEPTION ''captured %s''; END $f$', one.n, one.l, one.r, one.result, one.oprname);
            EXECUTE format('CREATE OPERATOR namesakes.%s (FUNCTION = namesakes.f%s, LEFTARG = %s, RIGHTARG = %s)',
                           one.oprname, one.n, one.l, one.r);
        END LOOP;
        FOR one IN
            SELECT p.proname, pg_get_function_identity_arguments(p.oid) AS args, pg_get_function_result(p.oid) AS result
              FROM pg_proc p
             WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f'
               AND p.proname IN ('octet_length', 'hashtextextended', 'nextval', 'pg_advisory_xact_lock', 'clock_timestamp', 'now',
                                 'current_setting', 'date_part', 'pg_sequence_last_value', 'length', 'set_config', 'pg_notify',
                                 'pg_notification_queue_usage')
        LOOP
            EXECUTE format('CREATE FUNCTION namesakes.%s (%s) RETURNS %s LANGUAGE plpgsql AS '
                           || '$f$ BEGIN RAISE EXCEPTION ''captured %s''; END $f$', one.proname, one.args, one.result, one.proname);
        END LOOP;
        CREATE DOMAIN namesakes.text AS integer;
        CREATE DOMAIN namesakes.oid AS integer;
        CREATE DOMAIN namesakes.regclass AS integer;
    END
    $$";

/// Triggers run with the rights of their owner, and set no search path. So they must write every
/// name with its schema. Otherwise a publisher could run its own functions with the rights of the
/// owner.
#[tokio::test]
async fn no_function_of_a_publisher_is_run_in_place_of_postgresqls() {
    let scene = Scene::with_webhook(&[("filter", "'$.a == 1'")]).await;
    scene.sql(NAMESAKES).await;
    scene.sql("INSERT INTO topics (name, ordering) VALUES ('loose', 'none')").await;
    // Somebody listens. So publishers check every condition of notifying.
    let listening =
        "SELECT setval('notify_until', (extract(epoch FROM clock_timestamp()) * 1e6)::bigint + 9000000)";
    scene.number(listening).await;
    for level in ["READ COMMITTED", "READ UNCOMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
        let app = scene.another_client().await;
        app.batch_execute("SET search_path = namesakes, pg_catalog, pgtopic").await.unwrap();
        let captured = app.query_one("SELECT 1 = 1", &[]).await.unwrap_err();
        assert_eq!(captured.as_db_error().unwrap().message(), "captured =");
        let inserts = r#"INSERT INTO pgtopic.messages (topic_id, partition_key, payload) VALUES (1, 'a', '{"a": 1}'), (1, 'b', '{"a": 1}');
             INSERT INTO pgtopic.messages (topic_id, partition_key, payload, headers) VALUES (1, NULL, '{"a": 1}', '{"h": "1"}');
             INSERT INTO pgtopic.messages (topic_id, payload) VALUES (2, '{"a": 1}')"#;
        app.batch_execute(&format!("BEGIN ISOLATION LEVEL {level}; {inserts}; COMMIT")).await.unwrap();
    }
    scene.check_fan_out(12, 3).await;
}

/// Everybody who may use the schema may call `publish` and `stripe`. Only the owner may call the
/// rest.
#[tokio::test]
async fn only_what_publishers_need_may_be_called_by_everybody() {
    let scene = Scene::new().await;
    let granted = "SELECT string_agg(p.proname, ' ' ORDER BY p.proname)
                     FROM pg_proc p
                    WHERE p.pronamespace = 'pgtopic'::regnamespace AND has_function_privilege('pg_monitor', p.oid, 'EXECUTE')";
    assert_eq!(scene.text(granted).await, "publish publish publish publish publish stripe");
    let usable = "SELECT has_schema_privilege('pg_monitor', 'pgtopic', 'USAGE')::int::bigint";
    assert_eq!(scene.number(usable).await, 0);
}

#[tokio::test]
async fn publishing_waits_for_no_other_partition() {
    let scene = Scene::with_webhook(&[]).await;
    let open = scene.another_client().await;
    open.batch_execute("BEGIN").await.unwrap();
    publish(&open, "a").await.unwrap();
    let ids = scene.publish(&["b"]).await;
    let _broker = Broker::start(scene.store());
    let received = scene.receiver.wait_for_ended(1).await;
    assert_eq!(received[0].position(), ids[0]);
    let blocked = scene.another_client().await;
    blocked.batch_execute("SET lock_timeout = '50ms'").await.unwrap();
    let error = publish(&blocked, "a").await.unwrap_err();
    assert_eq!(
        error.code(),
        Some(&SqlState::LOCK_NOT_AVAILABLE),
        "one partition's commits follow one another"
    );
    open.batch_execute("COMMIT").await.unwrap();
    assert_eq!(scene.all_delivered(&["/"]).await, 0);
}
