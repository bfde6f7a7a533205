//! The scheduler's own rules.

use super::{Micros, SECOND, Schedule};
use std::{cell::RefCell, rc::Rc};

type Log = Rc<RefCell<Vec<(u32, Micros)>>>;

fn note(log: &Log, who: u32, schedule: &Schedule) {
    log.borrow_mut().push((who, schedule.now()));
}

fn run(seed: u64) -> Vec<(u32, Micros)> {
    let schedule = Schedule::new(seed);
    let log = Log::default();
    for who in 0..8 {
        let (own, log) = (schedule.clone(), Rc::clone(&log));
        schedule.spawn(async move {
            for _ in 0..5 {
                note(&log, who, &own);
                own.pass().await;
                own.sleep(10).await;
            }
        });
    }
    schedule.run_until(Micros::MAX);
    log.take()
}

#[test]
fn a_seed_gives_the_same_run_and_another_seed_another() {
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
    assert_eq!(run(1).len(), 40);
}

#[test]
fn the_clock_moves_only_when_nothing_is_runnable() {
    let schedule = Schedule::new(1);
    let own = schedule.clone();
    schedule.spawn(async move { own.sleep(SECOND).await });
    let busy = schedule.clone();
    schedule.spawn(async move {
        for _ in 0..100 {
            busy.pass().await;
        }
    });
    let began = schedule.now();
    schedule.run_until_idle();
    assert_eq!(schedule.now(), began);
    assert!(schedule.advance());
    assert_eq!(schedule.now(), began + SECOND);
}

#[test]
fn a_paused_task_goes_on_when_it_is_resumed() {
    let schedule = Schedule::new(1);
    let log = Log::default();
    let (own, noted) = (schedule.clone(), Rc::clone(&log));
    let task = schedule.spawn(async move {
        own.sleep(10).await;
        note(&noted, 1, &own);
    });
    schedule.run_until_idle();
    schedule.pause(task);
    schedule.run_until(SECOND * 5);
    assert!(log.borrow().is_empty());
    schedule.resume(task);
    schedule.run_until_idle();
    assert_eq!(log.borrow().len(), 1);
    assert!(!schedule.is_alive(task));
}

#[test]
fn an_aborted_task_drops_what_it_holds() {
    let schedule = Schedule::new(1);
    let held = Rc::new(());
    let (own, holding) = (schedule.clone(), Rc::clone(&held));
    let task = schedule.spawn(async move {
        own.sleep(SECOND).await;
        drop(holding);
    });
    schedule.run_until_idle();
    assert_eq!(Rc::strong_count(&held), 2);
    schedule.abort(task);
    assert_eq!(Rc::strong_count(&held), 1);
    schedule.run_until(SECOND * 10);
}
