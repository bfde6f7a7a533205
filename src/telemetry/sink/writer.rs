//! The writer of a sink. It runs on a thread of its own.

use std::{
    io::{self, ErrorKind, Write},
    mem,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::queue::{Next, Queue};

/// The least time between two lines that say how many were lost.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// How long to wait before the next try, if a non-blocking pipe cannot take a byte now.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// Makes the line that says how many lines were lost, its end included. The line may be empty.
type Tell = Box<dyn FnMut(u64) -> Vec<u8> + Send>;

pub(super) struct Writer<W> {
    queue: Arc<Queue>,
    output: W,
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

impl<W: Write> Writer<W> {
    pub(super) fn new(
        queue: Arc<Queue>,
        output: W,
        tell: impl FnMut(u64) -> Vec<u8> + Send + 'static,
    ) -> Self {
        Self {
            queue,
            output,
            tell: Box::new(tell),
            broken_off: false,
            failing: false,
            told: 0,
            told_at: None,
            tell_at: Instant::now(),
        }
    }

    /// Writes lines for ever.
    pub(super) fn run(mut self) {
        loop {
            match self.queue.next(self.told, self.tell_at) {
                Next::Write(line) => self.write(&line),
                Next::Tell => self.tell(),
            }
        }
    }

    fn write(&mut self, line: &[u8]) {
        if self.write_whole(line).is_err() {
            self.failing = true;
            self.queue.count_lost();
        } else if mem::take(&mut self.failing) {
            // Lines can be written again. The loss is reported at once, or when the next report is
            // allowed.
            self.tell_at = self.told_at.map_or_else(Instant::now, |told_at| told_at + REPORT_INTERVAL);
        }
    }

    fn tell(&mut self) {
        let lost = self.queue.lost();
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
            match self.output.write(rest) {
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
