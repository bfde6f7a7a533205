//! Advisory locks, deadlocks, limits of waits, notifications, crashes, and what is kept of versions.

use super::{
    super::{
        error::Error,
        tables::Delivery,
        transaction::Level::{ReadCommitted, RepeatableRead},
    },
    World, advisory, beat, insert, read,
};
use crate::schedule::SECOND;

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
fn a_statement_ends_at_its_timeout_or_when_it_is_canceled() {
    let world = World::new();
    let (first, second, third) =
        (world.open(ReadCommitted), world.open(ReadCommitted), world.open(ReadCommitted));
    world.run(advisory(first.clone(), 1)).unwrap();
    let limited = second.clone();
    let waiting = world.start(async move {
        limited.with_statement_timeout(SECOND, async || advisory(limited.clone(), 1).await).await
    });
    let canceled = world.start(advisory(third.clone(), 1));
    third.cancel();
    world.schedule.run_until_idle();
    assert_eq!(canceled.take(), Some(Err(Error::Canceled)));
    assert!(waiting.borrow().is_none());
    world.schedule.run_until(world.schedule.now() + 2 * SECOND);
    assert_eq!(waiting.take(), Some(Err(Error::Canceled)));
    assert_eq!(world.run(advisory(second, 2)), Err(Error::Failed));
}

#[test]
fn who_waits_for_a_block_that_has_ended_waits_for_the_whole_transaction() {
    let world = World::new();
    let session = world.open(ReadCommitted);
    session.savepoint(0).unwrap();
    let inner = session.clone();
    world.run(async move { inner.clone().block(async || insert(inner.clone(), 1).await).await }).unwrap();
    let waiting = world.start(insert(world.database.connect(), 1));
    session.rollback_to(0).unwrap();
    world.schedule.run_until_idle();
    assert!(waiting.borrow().is_none());
    session.commit().unwrap();
    world.schedule.run_until_idle();
    assert_eq!(waiting.take(), Some(Ok(())));
}

#[test]
fn notifications_arrive_at_commit_and_once() {
    use super::super::notify::Notification::{Message, Webhooks};
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
