//! What a measurement cost: write-ahead log, statements, processor time, memory.

use std::time::Duration;

use super::{
    CliError,
    figures::{each, float, ratio},
    process::Usage,
    server::{Database, Server},
    sql::Counters,
    system,
};

/// Counters when the measurement began.
pub(super) struct Meter {
    counters: Counters,
    server: Option<Duration>,
    bench: Option<Duration>,
    workers: Option<Duration>,
    worker_peak: Option<u64>,
}

/// Processor times when it ended. They are taken while all processes still live.
pub(super) struct Reading {
    server: Option<Duration>,
    bench: Option<Duration>,
    workers: Option<Duration>,
    worker_peak: Option<u64>,
}

/// What each message cost. Unknown values are left out: processor times of a server that is not
/// ours, and everything but the log on systems without `/proc`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cost {
    /// Bytes of write-ahead log of the whole server.
    pub(super) wal_bytes: f64,
    /// Each statement of a worker or publisher is a transaction, and one round trip once it is
    /// prepared. So transactions are counted. They include what the bench asks meanwhile,
    /// heartbeats and idle looks.
    pub(super) statements: Option<f64>,
    pub(super) server_microseconds: Option<f64>,
    pub(super) worker_microseconds: Option<f64>,
    /// Of the bench itself: the receiver, and the publishers if there are any.
    pub(super) bench_microseconds: Option<f64>,
    /// The most memory that the largest worker ever had, in MiB.
    pub(super) worker_peak_mib: Option<f64>,
    /// How much more that is than when the measurement began.
    pub(super) worker_grew_mib: Option<f64>,
}

/// Processor seconds a second, of what was spent within this time.
pub(super) fn seconds_each(before: Duration, after: Duration, within: Duration) -> Option<f64> {
    Some(ratio(after.checked_sub(before)?.as_secs_f64(), within.as_secs_f64()))
}

/// Bytes in MiB.
pub(super) fn mebibytes(bytes: u64) -> f64 {
    each(float(bytes.cast_signed()), 1 << 20)
}

impl Meter {
    pub(super) async fn start(
        server: &Server,
        database: &Database,
        workers: Usage,
    ) -> Result<Self, CliError> {
        Ok(Self {
            counters: database.counters().await?,
            server: server.processor_time(),
            bench: system::processor_time(std::process::id()),
            workers: workers.processor,
            worker_peak: workers.peak_memory,
        })
    }

    /// Processor times now.
    pub(super) fn read(server: &Server, workers: Usage) -> Reading {
        Reading {
            server: server.processor_time(),
            bench: system::processor_time(std::process::id()),
            workers: workers.processor,
            worker_peak: workers.peak_memory,
        }
    }

    /// What each of this many messages cost. Call it when workers and publishers are gone: a
    /// session reports its transactions when it ends.
    pub(super) async fn finish(
        self,
        reading: &Reading,
        database: &Database,
        messages: u64,
    ) -> Result<Cost, CliError> {
        let counters = database.counters().await?;
        let spent = |before: Option<Duration>, after: Option<Duration>| {
            Some(each(after?.checked_sub(before?)?.as_secs_f64() * 1e6, messages))
        };
        Ok(Cost {
            wal_bytes: each(float(counters.wal_bytes - self.counters.wal_bytes), messages),
            statements: Some(each(float(counters.transactions - self.counters.transactions), messages)),
            server_microseconds: spent(self.server, reading.server),
            worker_microseconds: spent(self.workers, reading.workers),
            bench_microseconds: spent(self.bench, reading.bench),
            worker_peak_mib: reading.worker_peak.map(mebibytes),
            worker_grew_mib: reading
                .worker_peak
                .zip(self.worker_peak)
                .map(|(end, start)| mebibytes(end - start)),
        })
    }
}
