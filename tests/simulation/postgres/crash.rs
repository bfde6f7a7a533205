//! A crash of the server: sessions end, and the newest asynchronous commits may be lost.

use std::task::Waker;

use super::{
    Database,
    error::Error,
    state::{Owner, SessionId, State},
};

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
        // Nobody of them gets a lock that another one leaves.
        let wakers: Vec<_> = ids.iter().filter_map(|id| state.leave_wait(*id)).collect();
        for id in ids {
            state.terminate(id);
        }
        wakers.into_iter().for_each(Waker::wake);
        state.xids.lose_after(lsn);
        state.lsn = lsn;
        state.flush();
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

    /// `pg_terminate_backend`.
    pub(crate) fn terminate(&self, id: SessionId) {
        let state = &mut *self.state();
        let waker = state.leave_wait(id);
        state.terminate(id);
        waker.into_iter().for_each(Waker::wake);
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

impl State {
    /// The session waits no more. Who is to be woken for that.
    fn leave_wait(&mut self, id: SessionId) -> Option<Waker> {
        let waker = self.session(id).wait.as_mut().and_then(|(_, waker)| waker.take());
        self.forget_wait(id);
        waker
    }

    fn terminate(&mut self, id: SessionId) {
        self.abort_all(id);
        self.advisory.release_all(Owner::Session(id));
        let session = self.session(id);
        session.lost = true;
        session.listens = false;
        session.oldest = None;
        if let Some(listener) = session.listener.take() {
            listener.wake();
        }
        self.interrupt(id, Error::ConnectionLost);
        self.wake_waiting();
    }
}
