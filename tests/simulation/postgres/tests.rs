//! The model's own semantics, one rule a test. Conformity holds them to the real server.

use std::{cell::RefCell, rc::Rc};

mod locks;

use super::{
    Database, Settings,
    error::{Error, Result},
    row_lock::{Locked, RowLock},
    session::Session,
    tables::Worker,
    transaction::Level::{self, ReadCommitted, RepeatableRead},
};
use crate::schedule::Schedule;

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

/// An UPDATE that adds 1. The new value.
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

/// A function may fail before it reads anything. The statement that called it had its snapshot.
#[test]
fn a_statement_that_fails_at_once_has_taken_the_snapshot_of_the_transaction() {
    let world = World::new();
    let session = world.open(RepeatableRead);
    session.savepoint(0).unwrap();
    let failing = session.clone();
    let failed = world.run(async move { failing.call(async || Err::<(), _>(Error::Unique)).await });
    assert_eq!(failed, Err(Error::Unique));
    world.run(insert(world.database.connect(), 1)).unwrap();
    session.rollback_to(0).unwrap();
    assert_eq!(world.run(read(session, 1)), Ok(None));
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
