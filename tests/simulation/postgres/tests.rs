//! The model's own semantics, one rule a test. Conformity holds them to the real server.

use std::{cell::RefCell, rc::Rc};

use super::{
    Database, Settings,
    error::{Error, Result},
    row_lock::{Locked, RowLock},
    session::Session,
    tables::{Delivery, Worker},
    transaction::Level::{self, ReadCommitted, RepeatableRead},
};
use crate::schedule::{SECOND, Schedule};

/// What a task will have returned.
type Answer<T> = Rc<RefCell<Option<T>>>;

struct World {
    schedule: Schedule,
    database: Database,
}

impl World {
    fn new() -> Self {
        let schedule = Schedule::new(1);
        let database = Database::new(&schedule, Settings::default());
        Self { schedule, database }
    }

    /// A session with an open transaction.
    fn open(&self, level: Level) -> Session {
        let session = self.database.connect();
        session.begin(level).unwrap();
        session
    }

    /// Runs until nothing is runnable. The answer is there unless somebody waits.
    fn start<T: 'static>(&self, work: impl Future<Output = T> + 'static) -> Answer<T> {
        let answer = Answer::default();
        let slot = Rc::clone(&answer);
        self.schedule.spawn(async move {
            let done = work.await;
            *slot.borrow_mut() = Some(done);
        });
        self.schedule.run_until_idle();
        answer
    }

    fn run<T: 'static>(&self, work: impl Future<Output = T> + 'static) -> T {
        self.start(work).take().expect("nobody makes it wait")
    }
}

fn worker(id: u32) -> Worker {
    Worker { id, lock_key: 0, gone: false, heartbeat_at: 0 }
}

async fn insert(session: Session, id: u32) -> Result<()> {
    session.call(async || session.statement().await?.insert(worker(id)).await).await
}

async fn ignore(session: Session, id: u32) -> Result<bool> {
    session.call(async || session.statement().await?.insert_or_ignore(worker(id)).await).await
}

/// UPDATE ... SET heartbeat_at = heartbeat_at + 1. The new value.
async fn beat(session: Session, id: u32) -> Result<Option<i64>> {
    session
        .call(async || {
            let statement = session.statement().await?;
            let Some(place) = statement.read(|view| view.find::<Worker>(&id).map(|(place, _)| place)) else {
                return Ok(None);
            };
            let more = |row: &Worker| Some(Worker { heartbeat_at: row.heartbeat_at + 1, ..row.clone() });
            Ok(statement.update(place, more).await?.map(|row| row.heartbeat_at))
        })
        .await
}

async fn delete(session: Session, id: u32) -> Result<bool> {
    session
        .call(async || {
            let statement = session.statement().await?;
            match statement.read(|view| view.find::<Worker>(&id).map(|(place, _)| place)) {
                Some(place) => Ok(statement.delete(place, |_: &Worker| true).await?.is_some()),
                None => Ok(false),
            }
        })
        .await
}

async fn lock(session: Session, id: u32, mode: RowLock, locked: Locked) -> Result<Option<i64>> {
    session
        .call(async || {
            let statement = session.statement().await?;
            match statement.read(|view| view.find::<Worker>(&id).map(|(place, _)| place)) {
                Some(place) => {
                    let row = statement.lock(place, mode, locked, |_: &Worker| true).await?;
                    Ok(row.map(|(_, row)| row.heartbeat_at))
                }
                None => Ok(None),
            }
        })
        .await
}

async fn read(session: Session, id: u32) -> Result<Option<i64>> {
    session
        .call(async || {
            let statement = session.statement().await?;
            Ok(statement.read(|view| view.get::<Worker>(&id).map(|row| row.heartbeat_at)))
        })
        .await
}

async fn advisory(session: Session, key: i32) -> Result<()> {
    session.call(async || session.advisory_lock(key).await).await
}

#[test]
fn each_level_sees_its_own_snapshot() {
    let world = World::new();
    world.run(insert(world.database.connect(), 1)).unwrap();
    let (committed, repeatable) = (world.open(ReadCommitted), world.open(RepeatableRead));
    assert_eq!(world.run(read(committed.clone(), 1)), Ok(Some(0)));
    assert_eq!(world.run(read(repeatable.clone(), 1)), Ok(Some(0)));
    world.run(beat(world.database.connect(), 1)).unwrap();
    assert_eq!(world.run(read(committed, 1)), Ok(Some(1)));
    assert_eq!(world.run(read(repeatable.clone(), 1)), Ok(Some(0)));
    assert_eq!(world.run(beat(repeatable, 1)), Err(Error::Serialization));
}

#[test]
fn a_transaction_sees_its_own_changes_and_others_do_not() {
    let world = World::new();
    let session = world.open(ReadCommitted);
    world.run(insert(session.clone(), 1)).unwrap();
    assert_eq!(world.run(read(session.clone(), 1)), Ok(Some(0)));
    assert_eq!(world.run(read(world.database.connect(), 1)), Ok(None));
    session.rollback().unwrap();
    assert_eq!(world.run(read(session, 1)), Ok(None));
}

#[test]
fn an_update_waits_and_changes_the_newest_version() {
    let world = World::new();
    world.run(insert(world.database.connect(), 1)).unwrap();
    let (first, second) = (world.open(ReadCommitted), world.open(ReadCommitted));
    assert_eq!(world.run(beat(first.clone(), 1)), Ok(Some(1)));
    let waiting = world.start(beat(second.clone(), 1));
    assert!(second.waits());
    first.commit().unwrap();
    world.schedule.run_until_idle();
    assert_eq!(waiting.take(), Some(Ok(Some(2))));
}

#[test]
fn a_row_that_was_deleted_meanwhile_is_not_updated() {
    let world = World::new();
    world.run(insert(world.database.connect(), 1)).unwrap();
    let (first, second) = (world.open(ReadCommitted), world.open(ReadCommitted));
    assert_eq!(world.run(delete(first.clone(), 1)), Ok(true));
    let waiting = world.start(beat(second, 1));
    first.commit().unwrap();
    world.schedule.run_until_idle();
    assert_eq!(waiting.take(), Some(Ok(None)));
}

#[test]
fn row_locks_conflict_as_their_table_says() {
    use RowLock::{KeyShare, NoKeyUpdate, Share, Update};
    let modes = [KeyShare, Share, NoKeyUpdate, Update];
    let conflicts = modes.map(|held| modes.map(|wanted| held.conflicts(wanted)));
    let expected = [
        [false, false, false, true],
        [false, false, true, true],
        [false, true, true, true],
        [true, true, true, true],
    ];
    assert_eq!(conflicts, expected);
}

#[test]
fn locked_rows_are_skipped_or_refused() {
    let world = World::new();
    world.run(insert(world.database.connect(), 1)).unwrap();
    let (first, second) = (world.open(ReadCommitted), world.open(ReadCommitted));
    assert_eq!(world.run(lock(first.clone(), 1, RowLock::KeyShare, Locked::Wait)), Ok(Some(0)));
    assert_eq!(world.run(lock(second.clone(), 1, RowLock::NoKeyUpdate, Locked::Skip)), Ok(Some(0)));
    assert_eq!(world.run(lock(second.clone(), 1, RowLock::Update, Locked::Skip)), Ok(None));
    assert_eq!(world.run(lock(second, 1, RowLock::Update, Locked::Refuse)), Err(Error::LockNotAvailable));
}

#[test]
fn a_key_share_lock_lives_on_through_an_update() {
    let world = World::new();
    world.run(insert(world.database.connect(), 1)).unwrap();
    let (claim, beats) = (world.open(ReadCommitted), world.open(ReadCommitted));
    assert_eq!(world.run(lock(claim.clone(), 1, RowLock::KeyShare, Locked::Wait)), Ok(Some(0)));
    assert_eq!(world.run(beat(beats.clone(), 1)), Ok(Some(1)));
    beats.commit().unwrap();
    let removal = world.start(delete(world.database.connect(), 1));
    assert!(removal.borrow().is_none());
    claim.commit().unwrap();
    world.schedule.run_until_idle();
    assert_eq!(removal.take(), Some(Ok(true)));
}

#[test]
fn an_insert_waits_for_a_key_that_is_being_inserted_or_deleted() {
    let world = World::new();
    let (first, second) = (world.open(ReadCommitted), world.open(ReadCommitted));
    world.run(insert(first.clone(), 1)).unwrap();
    let waiting = world.start(ignore(second.clone(), 1));
    assert!(second.waits());
    first.commit().unwrap();
    world.schedule.run_until_idle();
    assert_eq!(waiting.take(), Some(Ok(false)));
    second.commit().unwrap();

    let (first, second) = (world.open(ReadCommitted), world.open(ReadCommitted));
    assert_eq!(world.run(delete(first.clone(), 1)), Ok(true));
    let waiting = world.start(ignore(second.clone(), 1));
    assert!(second.waits());
    first.commit().unwrap();
    world.schedule.run_until_idle();
    assert_eq!(waiting.take(), Some(Ok(true)));
}

#[test]
fn an_insert_of_a_newer_row_is_refused_above_read_committed() {
    let world = World::new();
    let repeatable = world.open(RepeatableRead);
    assert_eq!(world.run(read(repeatable.clone(), 1)), Ok(None));
    world.run(insert(world.database.connect(), 1)).unwrap();
    assert_eq!(world.run(ignore(repeatable, 1)), Err(Error::Serialization));
    assert_eq!(world.run(insert(world.database.connect(), 1)), Err(Error::Unique));
}

#[test]
fn a_savepoint_undoes_rows_and_frees_locks() {
    let world = World::new();
    world.run(insert(world.database.connect(), 1)).unwrap();
    let session = world.open(ReadCommitted);
    world.run(insert(session.clone(), 2)).unwrap();
    session.savepoint(0).unwrap();
    world.run(advisory(session.clone(), 7)).unwrap();
    assert_eq!(world.run(beat(session.clone(), 1)), Ok(Some(1)));
    let other = world.open(ReadCommitted);
    let (row, key) = (world.start(beat(world.database.connect(), 1)), world.start(advisory(other, 7)));
    assert!(row.borrow().is_none() && key.borrow().is_none());
    assert_eq!(world.run(insert(session.clone(), 2)), Err(Error::Unique));
    world.schedule.run_until_idle();
    assert_eq!((row.take(), key.take()), (Some(Ok(Some(1))), Some(Ok(()))));
    assert_eq!(world.run(read(session.clone(), 1)), Err(Error::Failed));
    session.rollback_to(0).unwrap();
    assert_eq!(world.run(read(session.clone(), 2)), Ok(Some(0)));
    session.commit().unwrap();
    assert_eq!(world.run(read(world.database.connect(), 2)), Ok(Some(0)));
}

#[test]
fn advisory_locks_go_to_those_who_wait_in_their_order() {
    let world = World::new();
    let sessions: Vec<_> = (0..3).map(|_| world.open(ReadCommitted)).collect();
    world.run(advisory(sessions[0].clone(), 1)).unwrap();
    let second = world.start(advisory(sessions[1].clone(), 1));
    let third = world.start(advisory(sessions[2].clone(), 1));
    sessions[0].commit().unwrap();
    assert!(!world.database.connect().try_session_lock(1));
    world.schedule.run_until_idle();
    assert!(second.borrow().is_some() && third.borrow().is_none());
    sessions[1].commit().unwrap();
    world.schedule.run_until_idle();
    assert!(third.borrow().is_some());
}

#[test]
fn a_session_lock_ends_with_the_session() {
    let world = World::new();
    let (first, second) = (world.database.connect(), world.database.connect());
    assert!(first.try_session_lock(-1));
    assert!(!second.try_session_lock(-1));
    drop(first);
    assert!(second.try_session_lock(-1));
    assert!(second.session_unlock(-1));
    assert!(!second.session_unlock(-1));
}

#[test]
fn a_deadlock_ends_the_one_that_closed_the_circle() {
    let world = World::new();
    let (first, second) = (world.open(ReadCommitted), world.open(ReadCommitted));
    world.run(advisory(first.clone(), 1)).unwrap();
    world.run(advisory(second.clone(), 2)).unwrap();
    let waiting = world.start(advisory(first, 2));
    assert_eq!(world.run(advisory(second, 1)), Err(Error::Deadlock));
    world.schedule.run_until_idle();
    assert_eq!(waiting.take(), Some(Ok(())));
}

#[test]
fn a_wait_ends_at_its_lock_timeout() {
    let world = World::new();
    let (first, second) = (world.open(ReadCommitted), world.open(ReadCommitted));
    world.run(advisory(first.clone(), 1)).unwrap();
    second.set_lock_timeout(Some(SECOND));
    let waiting = world.start(advisory(second, 1));
    let began = world.schedule.now();
    world.schedule.run_until(began + SECOND - 1);
    assert!(waiting.borrow().is_none());
    world.schedule.run_until(began + SECOND);
    assert_eq!(waiting.take(), Some(Err(Error::LockNotAvailable)));
}

#[test]
fn notifications_arrive_at_commit_and_once() {
    use super::notify::Notification::{Message, Webhooks};
    let world = World::new();
    let listener = world.database.connect();
    listener.listen();
    let session = world.open(ReadCommitted);
    session.notify(Message(1, None)).unwrap();
    session.notify(Message(1, None)).unwrap();
    session.savepoint(0).unwrap();
    session.notify(Webhooks).unwrap();
    session.rollback_to(0).unwrap();
    assert_eq!(listener.notifications(), []);
    session.commit().unwrap();
    assert_eq!(listener.notifications(), [Message(1, None)]);
}

#[test]
fn a_prepared_transaction_keeps_its_locks_over_a_crash() {
    let world = World::new();
    let session = world.open(ReadCommitted);
    world.run(insert(session.clone(), 1)).unwrap();
    world.run(advisory(session.clone(), 1)).unwrap();
    session.prepare(5).unwrap();
    world.database.crash();
    assert_eq!(session.commit(), Err(Error::ConnectionLost));
    let next = world.open(ReadCommitted);
    let waiting = world.start(advisory(next, 1));
    assert!(waiting.borrow().is_none());
    assert_eq!(world.run(read(world.database.connect(), 1)), Ok(None));
    world.database.connect().end_prepared(5, true).unwrap();
    world.schedule.run_until_idle();
    assert!(waiting.borrow().is_some());
    assert_eq!(world.run(read(world.database.connect(), 1)), Ok(Some(0)));
}

#[test]
fn a_crash_loses_the_last_asynchronous_commits_alone() {
    let world = World::new();
    for (id, flush) in [(1, false), (2, true), (3, false), (4, false)] {
        let session = world.open(ReadCommitted);
        world.run(insert(session.clone(), id)).unwrap();
        session.set_flush(flush).unwrap();
        session.commit().unwrap();
    }
    let flushed = world.database.state().flushed;
    world.database.crash_at(flushed + 1);
    let found: Vec<_> =
        (1..=4).map(|id| world.run(read(world.database.connect(), id)).unwrap().is_some()).collect();
    assert_eq!(found, [true, true, true, false]);
}

#[test]
fn sequences_are_never_rolled_back() {
    let world = World::new();
    let next = || {
        let state = &mut *world.database.state();
        state.sequences.message_ids.next(&mut state.lsn)
    };
    assert_eq!((next(), next()), (1, 2));
    let session = world.open(ReadCommitted);
    world.run(insert(session.clone(), 1)).unwrap();
    session.rollback().unwrap();
    assert_eq!(next(), 3);
    let lsn = world.database.state().lsn;
    world.database.crash_at(lsn);
    assert!(next() > 3);
}

#[test]
fn places_of_dead_versions_are_used_again() {
    let world = World::new();
    world.run(insert(world.database.connect(), 1)).unwrap();
    for _ in 0..100 {
        world.run(beat(world.database.connect(), 1)).unwrap();
    }
    assert!(world.database.state().tables.workers.places(&1).len() < 10);
    let old = world.open(RepeatableRead);
    assert_eq!(world.run(read(old.clone(), 1)), Ok(Some(100)));
    for _ in 0..100 {
        world.run(beat(world.database.connect(), 1)).unwrap();
    }
    assert_eq!(world.run(read(old, 1)), Ok(Some(100)));
    assert!(world.database.state().tables.workers.places(&1).len() > 100);
    world.database.vacuum();
}

#[test]
fn rows_of_a_range_come_in_the_order_of_their_keys() {
    let world = World::new();
    let session = world.open(ReadCommitted);
    let found = world.run(async move {
        let fill = async || {
            let statement = session.statement().await?;
            for message in [3, 1, 2] {
                statement.insert(Delivery { webhook: 1, lane: 1, message, replayed: false }).await?;
            }
            let statement = session.statement().await?;
            let keys = (1, 1, 2)..=(1, 1, i64::MAX);
            Ok(statement
                .read(|view| view.range::<Delivery>(keys).map(|(_, row)| row.message).collect::<Vec<_>>()))
        };
        session.call(fill).await
    });
    assert_eq!(found, Ok(vec![2, 3]));
}
