//! A crash of the server: sessions end, and the newest asynchronous commits may be lost.

use super::{Database, error::Error, state::Owner};

impl Database {
    /// The server crashes and starts again. Commits after the last one that waited for the disk are
    /// lost from some point on, which the seed decides.
    pub(crate) fn crash(&self) {
        let lsn = {
            let state = self.state();
            let unsafe_ones = usize::try_from(state.lsn - state.flushed).unwrap_or(0);
            state.flushed + self.schedule().random(|random| random.below(unsafe_ones + 1)) as u64
        };
        self.crash_at(lsn);
    }

    /// The same; what was written to the log after a place is lost.
    pub(crate) fn crash_at(&self, lsn: u64) {
        let state = &mut *self.state();
        let ids: Vec<_> = state.sessions().collect();
        for id in ids {
            state.abort_all(id);
            state.advisory.release_all(Owner::Session(id));
            state.session(id).lost = true;
            state.session(id).listens = false;
            state.session(id).oldest = None;
            state.interrupt(id, Error::ConnectionLost);
        }
        state.xids.lose_after(lsn);
        state.lsn = lsn;
        state.flushed = lsn;
        let sequences = &mut state.sequences;
        let all = [
            &mut sequences.message_ids,
            &mut sequences.topic_ids,
            &mut sequences.webhook_ids,
            &mut sequences.dead_letter_ids,
            &mut sequences.worker_lock_keys,
            &mut sequences.job_ids,
        ];
        for sequence in all {
            sequence.crash(lsn);
        }
        state.tables.used_keys.clear();
    }

    /// Removes row versions that nobody can see any more.
    pub(crate) fn vacuum(&self) {
        let state = &mut *self.state();
        let oldest = state.oldest();
        let tables = &mut state.tables;
        tables.deliveries.vacuum(&state.xids, oldest);
        tables.lanes.vacuum(&state.xids, oldest);
        tables.messages.vacuum(&state.xids, oldest);
        tables.dead_letters.vacuum(&state.xids, oldest);
    }
}
