//! An attacker has planted functions in `public`. No session of pgtopic may call them.
//!
//! An attacker needs a role that may create in `public`. The functions and operators have the names
//! of functions that pgtopic calls. If `migrate` called one, it would run with the rights of
//! whoever runs `migrate`, perhaps a superuser.

use std::{collections::BTreeSet, fs, path::Path};

use pgtopic_testkit::{Broker, Http, Process, TestDatabase, TestReceiver, eventually};
use rstest::rstest;
use serde_json::json;

/// SQL: plants functions with the names NAMES, and counts them. Each of them fails when it is
/// called.
const PLANT: &str = r"
    DO $do$
    DECLARE
        one record;
        -- What nextval counts stays, also where somebody catches the error.
        body text := 'BEGIN PERFORM pg_catalog.nextval(''public.captured''); RAISE EXCEPTION ''captured %%''; END';
    BEGIN
        CREATE SEQUENCE public.captured;
        FOR one IN
            SELECT p.proname, pg_get_function_identity_arguments(p.oid) AS args, pg_get_function_result(p.oid) AS result
              FROM pg_proc p
             WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND p.proname = ANY (NAMES)
        LOOP
            BEGIN
                EXECUTE format('CREATE FUNCTION public.%I (%s) RETURNS %s LANGUAGE plpgsql AS %L', one.proname, one.args, one.result,
                               replace(body, '%%', one.proname));
            EXCEPTION WHEN OTHERS THEN
                NULL;   -- of a type that no function of a user may have
            END;
        END LOOP;
        -- These fit what is written better than PostgreSQL's own: they are meant even where
        -- pg_catalog comes first.
        EXECUTE format('CREATE FUNCTION public.hashtextextended(text, integer) RETURNS bigint LANGUAGE plpgsql AS %L', body);
        EXECUTE format('CREATE FUNCTION public.pg_advisory_lock(integer) RETURNS void LANGUAGE plpgsql AS %L', body);
        EXECUTE format('CREATE FUNCTION public.to_regclass(varchar) RETURNS regclass LANGUAGE plpgsql AS %L', body);
        FOR one IN
            SELECT row_number() OVER () AS n, o.oprname, format_type(oprleft, NULL) AS l, format_type(oprright, NULL) AS r,
                   format_type(oprresult, NULL) AS result
              FROM pg_operator o
             WHERE oprname IN ('=', '<>', '<', '<=', '>', '>=', '+', '-', '&', '|', '||', '<<')
               AND oprleft = ANY ('{int4,int8,text,float8,timestamptz,bool,uuid,name}'::regtype[])
               AND oprright = ANY ('{int4,int8,text,float8,timestamptz,bool,uuid,name,interval}'::regtype[])
        LOOP
            EXECUTE format('CREATE FUNCTION public.planted_%s (%s, %s) RETURNS %s LANGUAGE plpgsql AS %L', one.n, one.l, one.r,
                           one.result, replace(body, '%%', one.oprname));
            EXECUTE format('CREATE OPERATOR public.%s (FUNCTION = public.planted_%s, LEFTARG = %s, RIGHTARG = %s)',
                           one.oprname, one.n, one.l, one.r);
        END LOOP;
        CREATE TABLE public.topics (captured integer);
        CREATE TABLE public.installed (captured integer);
    END
    $do$";

/// Every word that stands before a parenthesis in our SQL.
fn words_that_are_called() -> BTreeSet<String> {
    let mut words: BTreeSet<String> =
        ["to_regclass", "to_regnamespace", "pg_advisory_lock", "hashtextextended", "current_database"]
            .map(str::to_owned)
            .into();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("sql"), root.join("migrations")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(path).unwrap();
            for (at, _) in text.match_indices('(') {
                let word = text[..at].rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_').next();
                words.extend(word.filter(|word| !word.is_empty()).map(str::to_lowercase));
            }
        }
    }
    words
}

#[rstest]
// With this path, a name means the planted function first.
#[case::planted_first("public, pg_catalog")]
// The default path. A name means the planted function only if its types fit better.
#[case::as_installed("\"$user\", public")]
#[tokio::test]
async fn no_planted_function_is_run(#[case] path: &str) {
    let (database, receiver) = (TestDatabase::empty().await, TestReceiver::accepting().await);
    let client = database.client().await;
    let names: Vec<String> = words_that_are_called().into_iter().map(|word| format!("'{word}'")).collect();
    client.batch_execute(&PLANT.replace("NAMES", &format!("ARRAY[{}]", names.join(", ")))).await.unwrap();
    let planted = "SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace";
    let planted: i64 = client.query_one(planted, &[]).await.unwrap().get(0);
    assert!(planted > 100, "{planted}");
    let set =
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = PATH', current_database()); END $$";
    client.batch_execute(&set.replace("PATH", path)).await.unwrap();

    for arguments in
        [&["migrate"][..], &["migrate", "status"], &["migrate", "--print"], &["migrate", "--repair"]]
    {
        let ended = Process::run(arguments, &database.environment()).await;
        assert_eq!(ended.code(), 0, "{arguments:?}: {}", ended.output);
    }
    let broker = Broker::start(database.store());
    let http = Http::serve(database.store()).await;
    http.post("/topics", &json!({"name": "orders"})).await;
    let webhook = http
        .post(
            "/webhooks",
            &json!({"topic": "orders", "url": receiver.url("/"), "filter": "$.a == 1", "headers": {"H": "1"}}),
        )
        .await;
    let message =
        json!({"partition_key": "a", "payload": {"a": 1}, "headers": {"X-h": "1"}, "idempotency_key": "k"});
    http.post("/topics/orders/messages", &message).await;
    http.post("/topics/orders/messages", &json!({"payload": {"a": 1}})).await;
    // The path of this publisher begins with the schema of the planted functions.
    for sql in [
        "SET search_path = public, pg_catalog, pgtopic",
        "INSERT INTO pgtopic.messages (topic_id, partition_key, payload) VALUES (1, 'a', '{\"a\": 1}')",
        "BEGIN ISOLATION LEVEL REPEATABLE READ;
         INSERT INTO pgtopic.messages (topic_id, payload) VALUES (1, '{\"a\": 1}');
         COMMIT",
        "SET search_path = pg_catalog",
        "SELECT pgtopic.publish('orders', 'b', '{\"a\": 1}')",
    ] {
        client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
    receiver.wait_for(5).await;
    let settled = async || {
        let sql = "SELECT count(*) FROM pgtopic.deliveries";
        (client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == 0).then_some(())
    };
    eventually("all deliveries are settled", settled).await;
    let deliveries = format!("/webhooks/{}/deliveries", webhook["id"]);
    for path in [
        "/topics/orders",
        "/topics/orders/messages",
        "/messages/1",
        &deliveries,
        "/dead-letter",
        "/dead-letter/count",
    ] {
        http.get(path).await;
    }
    broker.stop().await;
    let captured = "SELECT is_called FROM public.captured";
    assert!(!client.query_one(captured, &[]).await.unwrap().get::<_, bool>(0), "an error was caught");
}
