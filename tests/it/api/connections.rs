//! Many clients and few descriptors.

use std::time::Duration;

use pgtopic_testkit::{Http, Process, TestDatabase, TestReceiver};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

/// The process may have 256 descriptors. 250 clients ask for a large file and never read it. The
/// worker in the same process still delivers, and always gets a descriptor.
#[tokio::test]
async fn clients_that_do_not_read_take_no_descriptor_from_the_worker() {
    let database = TestDatabase::new().await;
    let receiver = TestReceiver::accepting().await;
    let arguments = ["serve", "--bind", "127.0.0.1:0", "--allow-network", "127.0.0.0/8"];
    let mut serve = Process::start_with_descriptors(256, &arguments, &database.environment());
    let http = Http::of(&mut serve).await;
    let address = http.address();
    let sql = format!(
        "INSERT INTO pgtopic.topics (name) VALUES ('orders');
         INSERT INTO pgtopic.webhooks (topic_id, url, secrets)
         VALUES (1, '{}', '{{whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw}}')",
        receiver.url("/")
    );
    database.client().await.batch_execute(&sql).await.unwrap();

    let mut hogs = Vec::new();
    for _ in 0..250 {
        // Above the limit, connections wait in the queue of the listener. This queue is limited,
        // too.
        let connecting = tokio::time::timeout(Duration::from_secs(5), TcpStream::connect(address));
        let Ok(Ok(mut stream)) = connecting.await else { break };
        let request = format!("GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nhost: {address}\r\n\r\n");
        // The answers are larger than the buffers of the connection.
        stream.write_all(request.repeat(10).as_bytes()).await.unwrap();
        hogs.push(stream);
    }
    assert!(hogs.len() > 100, "{}", hogs.len());
    serve.wait_for_output("as many connections as api.max_connections permits are open").await;
    for _ in 0..20 {
        let sql = "SELECT pgtopic.publish('orders', 'user-42', '{}')";
        database.client().await.query_one(sql, &[]).await.unwrap();
    }
    receiver.wait_for_ended(20).await;
    let output = serve.output();
    assert!(!output.contains("Too many open files") && !output.contains("os error 24"), "{output}");

    // Connections that have ended make room at once.
    drop(hogs);
    http.get("/healthz").await;
    serve.stop().await;
}

/// The processor time that a process has used.
fn processor_time(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // Its name, in parentheses, may hold spaces.
    let fields = stat.rsplit_once(") ").unwrap().1.split(' ');
    let ticks: u64 = fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

/// Without a free descriptor an accept fails at once. To try again without a pause would take a
/// whole core.
#[tokio::test]
async fn an_api_without_descriptors_waits_and_goes_on() {
    let database = TestDatabase::new().await;
    let mut environment = database.environment();
    // The limit of open files permits fewer.
    environment.push(("PGTOPIC_API__MAX_CONNECTIONS", "1000"));
    let mut api = Process::start_with_descriptors(64, &["api", "--bind", "127.0.0.1:0"], &environment);
    let http = Http::of(&mut api).await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(http.address()).await.unwrap());
    }
    api.wait_for_output("cannot accept a connection").await;
    let before = processor_time(api.id());
    tokio::time::sleep(Duration::from_secs(2)).await;
    let used = processor_time(api.id()).checked_sub(before).unwrap();
    assert!(used < Duration::from_millis(300), "{used:?} of 2 s");
    assert_eq!(api.output().matches("cannot accept a connection").count(), 1, "{}", api.output());

    drop(silent);
    let answered = tokio::time::timeout(Duration::from_secs(20), http.get("/healthz"));
    answered.await.expect("it accepts again");
    api.stop().await;
}
