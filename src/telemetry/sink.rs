//! Lines for a pipe, a file or a terminal that may be slow, full or gone.
//!
//! Handing over a line never waits for the other side, and never fails. One thread writes the
//! lines. A line is lost if the queue is full, or if writing it fails. Lost lines are counted. As
//! soon as a line can be written again, another line says how many were lost.
//!
//! The crate `tracing-appender` does a part of this. It does not count lines that could not be
//! written, and it bounds lines but not bytes. At the end of a process with a full queue it prints
//! to standard output. That waits for ever if both outputs are the same pipe.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, Write},
    mem,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

/// How many lines wait to be written, at most. Further ones are lost.
pub const QUEUE_LINES: usize = 8192;

/// How many bytes the waiting lines have, at most. A line that does not fit is lost.
pub const QUEUE_BYTES: usize = 4 * 1024 * 1024;

/// The least time between two lines that say how many were lost.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// How long to wait before the next try, if a non-blocking pipe cannot take a byte now.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// Makes the line that says how many lines were lost, its end included. The line may be empty.
type Tell = Box<dyn FnMut(u64) -> Vec<u8> + Send>;

/// Where lines are handed over. The thread behind it lives as long as the process.
pub(crate) struct Sink(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    /// Wakes the thread: there is something to do.
    wanted: Condvar,
    /// Signals that the thread has nothing left to do.
    idle: Condvar,
    lost: AtomicU64,
}

#[derive(Default)]
struct Queue {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Whether the thread is writing.
    busy: bool,
    /// Whether the loss is to be reported after the waiting lines, even if it was reported just
    /// before.
    tell_now: bool,
}

impl Sink {
    /// Starts the thread. `tell` makes the line that says how many lines were lost.
    pub(crate) fn start(
        name: &str,
        writer: impl Write + Send + 'static,
        tell: impl FnMut(u64) -> Vec<u8> + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            wanted: Condvar::new(),
            idle: Condvar::new(),
            lost: AtomicU64::new(0),
        });
        let worker = Worker {
            shared: Arc::clone(&shared),
            writer,
            tell: Box::new(tell),
            broken_off: false,
            failing: false,
            told: 0,
            told_at: None,
            tell_at: Instant::now(),
        };
        thread::Builder::new().name(name.to_owned()).spawn(move || worker.run())?;
        Ok(Self(shared))
    }

    /// Hands over a line, its end included. If the queue has no room, the line is lost.
    pub(crate) fn push(&self, line: Vec<u8>) {
        let queue = self.0.lock();
        if queue.lines.len() < QUEUE_LINES && queue.bytes + line.len() <= QUEUE_BYTES {
            self.0.add(queue, line);
        } else {
            // This is done under the lock, so that the thread does not miss it when it is about to
            // wait.
            self.0.lost.fetch_add(1, Relaxed);
            drop(queue);
            self.0.wanted.notify_one();
        }
    }

    /// Hands over a line for which there is always room: for the last words of a process.
    pub(crate) fn push_always(&self, line: Vec<u8>) {
        self.0.add(self.0.lock(), line);
    }

    /// Waits until everything is written or lost, and the loss is reported, but not longer than
    /// `limit`.
    pub(crate) fn flush(&self, limit: Duration) {
        let mut queue = self.0.lock();
        queue.tell_now = true;
        self.0.wanted.notify_one();
        let pending = |queue: &mut Queue| queue.busy || queue.tell_now || !queue.lines.is_empty();
        drop(self.0.idle.wait_timeout_while(queue, limit, pending));
    }

    /// How many lines were lost so far.
    pub(crate) fn lost(&self) -> u64 {
        self.0.lost.load(Relaxed)
    }
}

impl Shared {
    /// Locks the queue. A poisoned lock is fine: no holder can panic in the middle of a change.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, mut queue: MutexGuard<'_, Queue>, line: Vec<u8>) {
        queue.bytes += line.len();
        queue.lines.push_back(line);
        drop(queue);
        self.wanted.notify_one();
    }
}

/// The thread that writes.
struct Worker<W> {
    shared: Arc<Shared>,
    writer: W,
    tell: Tell,
    /// Whether only a part of a line was written before an error, so that its end is missing.
    broken_off: bool,
    /// Whether the last line could not be written.
    failing: bool,
    /// How many lost lines were reported.
    told: u64,
    told_at: Option<Instant>,
    /// From this instant on a loss may be reported.
    tell_at: Instant,
}

/// What the thread does next.
enum Next {
    Write(Vec<u8>),
    Tell,
}

impl<W: Write> Worker<W> {
    fn run(mut self) {
        loop {
            match self.next() {
                Next::Write(line) => self.write(&line),
                Next::Tell => self.tell(),
            }
        }
    }

    fn next(&self) -> Next {
        let mut queue = self.shared.lock();
        loop {
            let now = Instant::now();
            let untold = self.shared.lost.load(Relaxed) > self.told;
            if untold && now >= self.tell_at {
                queue.busy = true;
                return Next::Tell;
            }
            if let Some(line) = queue.lines.pop_front() {
                queue.bytes -= line.len();
                queue.busy = true;
                return Next::Write(line);
            }
            if mem::take(&mut queue.tell_now) && untold {
                queue.busy = true;
                return Next::Tell;
            }
            queue.busy = false;
            self.shared.idle.notify_all();
            queue = if untold {
                let wait = self.shared.wanted.wait_timeout(queue, self.tell_at - now);
                wait.unwrap_or_else(PoisonError::into_inner).0
            } else {
                self.shared.wanted.wait(queue).unwrap_or_else(PoisonError::into_inner)
            };
        }
    }

    fn write(&mut self, line: &[u8]) {
        if self.write_whole(line).is_err() {
            self.failing = true;
            self.shared.lost.fetch_add(1, Relaxed);
        } else if mem::take(&mut self.failing) {
            // Lines can be written again. The loss is reported at once, or when the next report is
            // allowed.
            self.tell_at = self.told_at.map_or_else(Instant::now, |told_at| told_at + REPORT_INTERVAL);
        }
    }

    fn tell(&mut self) {
        let lost = self.shared.lost.load(Relaxed);
        let line = (self.tell)(lost - self.told);
        let written = self.write_whole(&line);
        let now = Instant::now();
        self.tell_at = now + REPORT_INTERVAL;
        self.failing = written.is_err();
        if written.is_ok() {
            self.told = lost;
            self.told_at = Some(now);
        }
    }

    fn write_whole(&mut self, line: &[u8]) -> io::Result<()> {
        if self.broken_off {
            self.write_bytes(b"\n")?;
            self.broken_off = false;
        }
        self.write_bytes(line)
    }

    fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.writer.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    rest = &rest[written..];
                    self.broken_off = !rest.is_empty();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(RETRY_INTERVAL),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// No test reaches it, unless something is wrong.
    const LIMIT: Duration = Duration::from_secs(30);

    /// A writer whose writes wait for a word of the test: how many bytes to take, or which error to
    /// give.
    struct Gate {
        asked: Sender<()>,
        words: Receiver<io::Result<usize>>,
        written: Sender<Vec<u8>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.asked.send(()).map_err(|_| ErrorKind::BrokenPipe)?;
            // Once the test has dropped its sender, everything is taken.
            let taken = self.words.recv().unwrap_or(Ok(usize::MAX))?.min(bytes.len());
            self.written.send(bytes[..taken].to_vec()).map_err(|_| ErrorKind::BrokenPipe)?;
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Gated {
        sink: Sink,
        /// Gets one item for each write that has begun.
        asked: Receiver<()>,
        words: Option<Sender<io::Result<usize>>>,
        written: Receiver<Vec<u8>>,
    }

    impl Gated {
        fn new() -> Self {
            let ((begun, asked), (words, heard), (written, shown)) = (channel(), channel(), channel());
            let gate = Gate { asked: begun, words: heard, written };
            let sink = Sink::start("gated", gate, |lost| format!("lost {lost}\n").into_bytes()).unwrap();
            Self { sink, asked, words: Some(words), written: shown }
        }

        fn push(&self, line: &str) {
            self.sink.push(format!("{line}\n").into_bytes());
        }

        fn answer(&self, word: io::Result<usize>) {
            self.words.as_ref().unwrap().send(word).unwrap();
        }

        /// From now on everything is taken. Returns everything that was ever written.
        fn open(&mut self) -> String {
            self.words = None;
            self.sink.flush(LIMIT);
            String::from_utf8(self.written.try_iter().flatten().collect()).unwrap()
        }
    }

    fn full() -> io::Result<usize> {
        Err(ErrorKind::StorageFull.into())
    }

    #[test]
    fn lines_are_written_in_order() {
        let mut gated = Gated::new();
        for line in ["a", "b", "c"] {
            gated.push(line);
        }
        assert_eq!(gated.open(), "a\nb\nc\n");
        assert_eq!(gated.sink.lost(), 0);
    }

    #[test]
    fn a_sink_that_takes_nothing_holds_up_nobody_and_says_later_what_was_lost() {
        let mut gated = Gated::new();
        gated.push("first");
        gated.asked.recv_timeout(LIMIT).unwrap();
        for _ in 0..QUEUE_LINES + 10 {
            gated.push("more");
        }
        let lost = gated.sink.lost();
        assert_eq!(lost, 10);
        gated.sink.flush(Duration::from_millis(1));
        let written = gated.open();
        assert_eq!(written.matches("more").count(), QUEUE_LINES);
        assert_eq!(written.matches("lost").count(), 1);
        assert!(written.starts_with(&format!("first\nlost {lost}\nmore\n")), "{}", &written[..40]);
    }

    #[test]
    fn waiting_lines_are_bounded_in_bytes_too_and_last_words_are_not() {
        let mut gated = Gated::new();
        gated.sink.push(vec![b'x'; QUEUE_BYTES + 1]);
        assert_eq!(gated.sink.lost(), 1);
        gated.sink.push(vec![b'\n'; QUEUE_BYTES]);
        gated.sink.push(vec![b'\n'; QUEUE_BYTES]);
        gated.sink.push(vec![b'\n'; QUEUE_BYTES]);
        // The thread is just reporting that the first line was lost. The second one waits.
        assert_eq!(gated.sink.lost(), 3);
        gated.sink.push_always(b"last\n".to_vec());
        assert!(gated.open().contains("\nlast\n"));
    }

    #[test]
    fn lines_that_cannot_be_written_are_lost_and_told_when_the_next_one_is_written() {
        let mut gated = Gated::new();
        // The first line, the report of the loss, the next two lines.
        for _ in 0..4 {
            gated.answer(full());
        }
        for line in ["a", "b", "c", "d"] {
            gated.push(line);
        }
        let written = gated.open();
        assert_eq!(gated.sink.lost(), 3);
        assert_eq!(written, "d\nlost 3\n");
    }

    #[test]
    fn a_line_that_was_broken_off_gets_its_end() {
        let mut gated = Gated::new();
        gated.answer(Ok(2));
        gated.answer(full());
        gated.push("broken");
        assert_eq!(gated.open(), "br\nlost 1\n");
    }

    #[test]
    fn a_sink_that_does_not_take_a_line_just_now_gets_it_later() {
        let mut gated = Gated::new();
        gated.answer(Err(ErrorKind::WouldBlock.into()));
        gated.answer(Err(ErrorKind::Interrupted.into()));
        gated.push("later");
        assert_eq!(gated.open(), "later\n");
        assert_eq!(gated.sink.lost(), 0);
    }

    #[test]
    fn losses_are_told_once_in_a_while_and_at_the_end() {
        let mut gated = Gated::new();
        gated.answer(full());
        gated.push("a");
        gated.answer(Ok(usize::MAX));
        let told = gated.written.recv_timeout(LIMIT).unwrap();
        assert_eq!(told, b"lost 1\n");
        gated.answer(full());
        gated.push("b");
        gated.answer(Ok(usize::MAX));
        gated.push("c");
        // Nothing is reported in between: the last report was just before.
        assert_eq!(gated.written.recv_timeout(LIMIT).unwrap(), b"c\n");
        assert_eq!(gated.open(), "lost 1\n");
    }
}
