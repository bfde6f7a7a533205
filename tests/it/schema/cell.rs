//! `pgtopic migrate --cell N`: message ids are unique across several installations.

use pgtopic::store::{CELLS, Store};
use pgtopic_testkit::{Broker, Ended, Process, Puppet, Scene, TestDatabase};

async fn migrate(database: &TestDatabase, cell: &str) -> Ended {
    Process::run(&["migrate", "--cell", cell], &database.environment()).await
}

#[tokio::test]
async fn a_cell_is_set_once_and_ids_are_given_out_interleaved_from_then_on() {
    let scene = Scene::with_webhook(&[]).await;
    let before = scene.publish(&["a", "b"]).await;
    for (cell, code, said) in [
        ("1024", 2, "1024"),
        ("-1", 2, "-1"),
        ("5", 0, "message ids begin at 1029, and are 5 modulo 1024"),
        ("5", 0, "This is cell 5 already."),
        ("6", 1, "this installation has cell 5 already, and a cell never changes"),
    ] {
        let ended = migrate(&scene.database, cell).await;
        assert_eq!(ended.code(), code, "{cell}: {}", ended.output);
        assert!(ended.output.contains(said), "{said}: {}", ended.output);
    }
    let status = Process::run(&["migrate", "status"], &scene.database.environment()).await;
    assert!(status.code() == 0 && status.output.contains("It is cell 5."), "{}", status.output);
    let after = scene.publish(&["a", "b", "a"]).await;
    assert_eq!(after, [1029, 1029 + 1024, 1029 + 2048]);
    assert!(before.iter().all(|id| *id < after[0]));

    let broker = Broker::start(scene.store());
    assert_eq!(scene.all_delivered(&["/"]).await, 0);
    broker.stop().await;
}

/// The first id is also above the last value of the sequence. Otherwise ids of deleted messages
/// would come again.
#[tokio::test]
async fn the_first_id_is_above_all_that_exist_or_were_given() {
    let database = TestDatabase::new().await;
    let client = database.broker_client().await;
    client
        .batch_execute("INSERT INTO topics (name) VALUES ('orders'); SELECT setval('message_ids', 5000)")
        .await
        .unwrap();
    let store = database.store();
    assert_eq!(store.set_cell(0).await.unwrap(), Some(5 * 1024));
    // After a restore, the sequence may be below the ids in the table.
    client
        .batch_execute(
            "UPDATE installation SET cell = NULL;
             ALTER SEQUENCE message_ids RESTART WITH 1;
             INSERT INTO dead_letters (webhook_id, lane, message_id, topic_id, partition_key, reason, attempts)
             VALUES (1, 1, 9000, 1, 'a', 'message_missing', 0)",
        )
        .await
        .unwrap();
    assert_eq!(store.set_cell(CELLS - 1).await.unwrap(), Some(8 * 1024 + 2047));
}

/// Messages that were copied from another system may have any id. The error says how to raise the
/// sequence. After that, ids are still of the cell.
#[tokio::test]
async fn a_sequence_that_is_raised_keeps_its_cell() {
    let database = TestDatabase::new().await;
    let client = database.broker_client().await;
    client.batch_execute("INSERT INTO topics (name) VALUES ('orders')").await.unwrap();
    database.store().set_cell(5).await.unwrap();
    client
        .batch_execute(
            "INSERT INTO dead_letters (webhook_id, lane, message_id, topic_id, partition_key, reason, attempts)
             VALUES (1, 1, 9000, 1, 'a', 'message_missing', 0)",
        )
        .await
        .unwrap();
    let refused = Process::run(&["migrate"], &database.environment()).await;
    let (_, remedy) =
        refused.output.trim().split_once("run: ").unwrap_or_else(|| panic!("{}", refused.output));
    client.batch_execute(remedy).await.unwrap();
    assert_eq!(Process::run(&["migrate"], &database.environment()).await.code(), 0);
    let id: i64 = client.query_one("SELECT publish('orders', 'a', '{}'::json)", &[]).await.unwrap().get(0);
    assert_eq!(id, 9 * 1024 + 5 + 1024);
}

/// An id from before the cell must not be committed after ids of the cell.
#[tokio::test]
async fn setting_a_cell_waits_for_transactions_that_have_published() {
    let scene = Scene::with_webhook(&[]).await;
    let publisher = scene.another_client().await;
    publisher.batch_execute("BEGIN; INSERT INTO messages (topic_id, payload) VALUES (1, '1')").await.unwrap();
    let store: Store = scene.store();
    let setting = tokio::spawn(async move { store.set_cell(7).await });
    scene.somebody_waits("l.relation = 'pgtopic.message_ids'::regclass").await;
    assert!(!setting.is_finished());
    publisher.batch_execute("COMMIT").await.unwrap();
    assert_eq!(setting.await.unwrap().unwrap(), Some(1024 + 7));
}

/// The rate of messages decides whether publishers notify. With a cell, ids are 1024 apart. That
/// must not look like more messages.
#[tokio::test]
async fn workers_count_messages_and_not_ids() {
    let scene = Scene::new().await;
    scene.publish(&["a"]).await;
    scene.store().set_cell(9).await.unwrap();
    scene.publish(&["a"]).await;
    let puppet = Puppet::new(&scene).await;
    let before = puppet.beat().await.unwrap().given_ids;
    let ids = scene.publish(&["a"; 10]).await;
    assert_eq!(puppet.beat().await.unwrap().given_ids - before, 10);
    let news = puppet.store.list_news(Some(ids[0]), &[], 100).await.unwrap();
    assert_eq!(news.len(), 9);
    assert!(news.iter().all(|news| news.step == 1024));
}
