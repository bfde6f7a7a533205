//! Standard error that is slow, full or closed. Lines of the log may be lost. Everything else goes
//! on.
//!
//! Linux only: another system has no `/dev/full`, and no second loopback address.

use std::{
    fs::File,
    io::{self, ErrorKind, PipeReader, PipeWriter, Read, Write},
    net::{SocketAddr, TcpListener},
    process::Stdio,
};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use pgtopic::telemetry::QUEUE_BYTES;
use pgtopic_testkit::{Http, LIMIT, Process, Scene, eventually};
use rstest::rstest;
use serde_json::Value;
use tokio::task::spawn_blocking;

/// How many messages there are. Each has a request of its own. Their lines of the log do not fit
/// into a pipe.
const MESSAGES: usize = 500;

/// Where the lines go, and what must stay open for the time of the test.
type Output = (Stdio, Option<PipeReader>);

/// A pipe that is full. Who writes to it waits until somebody reads.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = io::pipe().unwrap();
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    // The last bytes are written one by one. A larger write is refused if it does not fit whole.
    for size in [4096, 1] {
        while writer.write(&vec![b'\n'; size]).is_ok() {}
    }
    assert_eq!(writer.write(b"\n").unwrap_err().kind(), ErrorKind::WouldBlock);
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
    (reader, writer)
}

fn unread_pipe() -> Output {
    let (reader, writer) = full_pipe();
    (writer.into(), Some(reader))
}

fn closed_pipe() -> Output {
    let (_, writer) = io::pipe().unwrap();
    (writer.into(), None)
}

fn full_disk() -> Output {
    (File::options().write(true).open("/dev/full").unwrap().into(), None)
}

/// An address for an API whose log cannot be read. No other test uses this address, so the port
/// stays free.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.77.0.1:0").unwrap().local_addr().unwrap()
}

/// `serve` with this standard error. Its log has many lines.
fn serve(scene: &Scene, address: SocketAddr, stderr: Stdio) -> Process {
    let mut environment = scene.database.environment();
    environment.push(("RUST_LOG", "trace"));
    let address = address.to_string();
    let arguments = ["serve", "--bind", &address, "--allow-network", "127.0.0.0/8"];
    Process::start_with(&arguments, &environment, |command| {
        command.stderr(stderr);
    })
}

async fn publish_many(scene: &Scene) {
    let sql = "INSERT INTO messages (topic_id, partition_key, payload)
               SELECT 1, 'key-' || n % 50, '{}' FROM generate_series(1, $1::bigint) n";
    scene.client.execute(sql, &[&i64::try_from(MESSAGES).unwrap()]).await.unwrap();
}

/// Sends many requests. The API logs several lines for each: more bytes than the queue holds.
async fn serve_many(api: &Http) {
    let path = format!("/{}", "x".repeat(32 * 1024));
    for _ in 0..2 * QUEUE_BYTES / path.len() {
        let answered = async || api.try_post(&path, &Value::Null).await;
        eventually("the API answers", answered).await;
    }
}

#[rstest]
#[case::unread_pipe(unread_pipe)]
#[case::closed_pipe(closed_pipe)]
#[case::full_disk(full_disk)]
#[tokio::test]
async fn a_log_that_cannot_be_written_holds_up_nothing(#[case] output: fn() -> Output) {
    let scene = Scene::with_webhook(&[]).await;
    let address = free_address();
    let (stderr, _reader) = output();
    let mut serve = serve(&scene, address, stderr);
    publish_many(&scene).await;
    scene.receiver.wait_for_ended(MESSAGES).await;
    scene.all_delivered(&["/"]).await;
    Http::at(address).get("/healthz").await;
    // The process ends with exit code 0.
    serve.stop().await;
}

#[tokio::test]
async fn a_log_that_is_read_again_says_how_many_lines_were_lost() {
    let scene = Scene::with_webhook(&[]).await;
    let (mut reader, writer) = full_pipe();
    let address = free_address();
    let mut serve = serve(&scene, address, writer.into());
    serve_many(&Http::at(address)).await;

    let reading = spawn_blocking(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    });
    serve.stop().await;
    let text = tokio::time::timeout(LIMIT, reading).await.unwrap().unwrap();
    let told: Vec<&str> = text.lines().filter(|line| line.contains("log lines were lost")).collect();
    assert!(!told.is_empty(), "only {} lines", text.lines().count());
    for line in told {
        let lost = line.split("lines=").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap();
        assert!(line.contains(" WARN ") && lost.parse::<u64>().unwrap() > 0, "{line}");
    }
    // There was room again, so the last lines were not lost.
    assert!(text.lines().any(|line| line.ends_with("service: stopped")));
}

#[rstest]
#[case::unread_pipe(unread_pipe)]
#[case::closed_pipe(closed_pipe)]
#[case::full_disk(full_disk)]
#[tokio::test]
async fn an_error_that_cannot_be_written_keeps_its_exit_code(#[case] output: fn() -> Output) {
    // The first command has no database. The second command does not exist.
    for arguments in [["migrate"], ["serv"]] {
        let (stderr, _reader) = output();
        let process = Process::start_with(&arguments, &[], |command| {
            command.stderr(stderr);
        });
        assert_eq!(process.wait().await.code(), 2, "{arguments:?}");
    }
}

#[tokio::test]
async fn a_demo_whose_output_nobody_reads_ends() {
    let arguments = ["dev", "--temporary", "--bind", "127.0.0.1:0", "--demo", "--messages", "10"];
    let (stdout, _reader) = unread_pipe();
    let process = Process::start_with(&arguments, &[], |command| {
        command.stdout(stdout);
    });
    let ended = process.wait().await;
    assert_eq!(ended.code(), 0, "{}", ended.output);
}
