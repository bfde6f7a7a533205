//! Lines for a pipe, a file or a terminal that may be slow, full or gone.
//!
//! Handing over a line never waits for the other side, and never fails. One thread writes the
//! lines. A line is lost if the queue is full, or if writing it fails. Lost lines are counted. As
//! soon as a line can be written again, another line says how many were lost.
//!
//! The crate `tracing-appender` does a part of this. It does not count lines that could not be
//! written, and it bounds lines but not bytes. At the end of a process with a full queue it prints
//! to standard output. That waits for ever if both outputs are the same pipe.

mod queue;
mod writer;

use std::{
    io::{self, Write},
    sync::Arc,
    thread,
    time::Duration,
};

pub use self::queue::{QUEUE_BYTES, QUEUE_LINES};
use self::{queue::Queue, writer::Writer};

/// Where lines are handed over. The thread behind it lives as long as the process.
pub(crate) struct Sink(Arc<Queue>);

impl Sink {
    /// Starts the thread. `tell` makes the line that says how many lines were lost.
    pub(crate) fn start(
        name: &str,
        output: impl Write + Send + 'static,
        tell: impl FnMut(u64) -> Vec<u8> + Send + 'static,
    ) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let writer = Writer::new(Arc::clone(&queue), output, tell);
        thread::Builder::new().name(name.to_owned()).spawn(move || writer.run())?;
        Ok(Self(queue))
    }

    /// Hands over a line, its end included. If the queue has no room, the line is lost.
    pub(crate) fn push(&self, line: Vec<u8>) {
        self.0.push(line);
    }

    /// Hands over a line for which there is always room: for the last line of a process.
    pub(crate) fn push_always(&self, line: Vec<u8>) {
        self.0.push_always(line);
    }

    /// Waits until everything is written or lost, and the loss is reported. It waits for `limit` at
    /// most.
    pub(crate) fn flush(&self, limit: Duration) {
        self.0.flush(limit);
    }

    /// How many lines were lost so far.
    pub(crate) fn lost(&self) -> u64 {
        self.0.lost()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::ErrorKind,
        sync::mpsc::{Receiver, Sender, channel},
    };

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
