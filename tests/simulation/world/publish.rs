//! Publishers.

use super::{Handle, history::Committed, plan::Ending};
use crate::{
    functions::messages_publish::{Publication, insert_message},
    postgres::{session::Session, tables::Message, transaction::Level},
    random::Random,
    schedule::SECOND,
};

/// A publisher's transaction.
pub(super) struct Publisher {
    pub(super) topic: usize,
    pub(super) level: Level,
    pub(super) messages: usize,
    pub(super) ending: Ending,
    /// Whether it uses idempotency keys.
    pub(super) once: bool,
    pub(super) random: Random,
}

impl Publisher {
    pub(super) async fn run(mut self, world: Handle) {
        let session = world.database.connect();
        let Some(topic) = world.topics.borrow().get(self.topic).copied() else { return };
        // What is there before the transaction begins must get the messages.
        let hooks: Vec<(i64, Option<u8>)> = world
            .hooks
            .borrow()
            .iter()
            .filter(|(_, hook)| hook.topic == topic && !hook.deleted && hook.since < world.now())
            .map(|(id, hook)| (*id, hook.types))
            .collect();
        if session.begin(self.level).is_err() {
            return;
        }
        let mut published: Vec<(i64, Option<u8>)> = Vec::new();
        for _ in 0..self.messages {
            let key = u32::try_from(self.random.below(world.plan.keys)).unwrap_or(0);
            let kind = self.random.pick(&[None, Some(1), Some(2)]);
            let idempotency_key = self.once.then(|| u32::try_from(self.random.below(6)).unwrap_or(0));
            let publication = Publication { topic, key, kind, idempotency_key };
            let statement = &session;
            let inserted = session.call(async || insert_message(statement, &publication).await).await;
            let Ok(id) = inserted else {
                let _ = session.rollback();
                return;
            };
            published.extend(id.map(|id| (id, kind)));
            if self.random.once_in(3) {
                world.schedule.sleep(world.part_of(3_000)).await;
            }
        }
        match self.ending {
            Ending::Rollback => {
                let _ = session.rollback();
                return;
            }
            Ending::Open(time) => world.schedule.sleep(time).await,
            Ending::Prepare(time) => return self.prepare(&world, &session, time, &published, &hooks).await,
            Ending::Commit => {}
        }
        if session.transaction().is_some_and(|(_, failed)| !failed) && session.commit().is_ok() {
            committed(&world, &published, &hooks);
        }
    }

    async fn prepare(
        &mut self,
        world: &Handle,
        session: &Session,
        time: i64,
        published: &[(i64, Option<u8>)],
        hooks: &[(i64, Option<u8>)],
    ) {
        let gid = u32::try_from(self.random.next() >> 33).unwrap_or(0);
        if session.transaction().is_none_or(|(_, failed)| failed) || session.prepare(gid).is_err() {
            return;
        }
        world.schedule.sleep(time).await;
        let other = world.database.connect();
        if other.end_prepared(gid, true).is_ok() {
            committed(world, published, hooks);
        }
        world.schedule.sleep(SECOND / 1_000).await;
    }
}

pub(super) fn committed(world: &Handle, published: &[(i64, Option<u8>)], hooks: &[(i64, Option<u8>)]) {
    let mut history = world.history.borrow_mut();
    for (id, kind) in published {
        let lane = world.database.peek(|view| view.get::<Message>(id).map(|message| message.lane));
        let matches = |types: &Option<u8>| types.is_none() || types == kind;
        let webhooks = hooks.iter().filter(|(_, types)| matches(types)).map(|(id, _)| *id).collect();
        history.note(world.now(), (0, lane.unwrap_or(0)), format!("{id} is committed"));
        history.counts.messages += 1;
        history.committed.insert(*id, Committed { webhooks, lane: lane.unwrap_or(0), at: world.now() });
    }
}
