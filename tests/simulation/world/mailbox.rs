//! How tasks tell one another something: mailboxes, and answers that are given once.

use std::{
    cell::RefCell,
    collections::VecDeque,
    future::poll_fn,
    rc::Rc,
    task::{Poll, Waker},
};

use crate::schedule::{Micros, Schedule};

/// A queue with one reader. Clones are handles to the same one.
pub(super) struct Mailbox<T>(Rc<RefCell<Letters<T>>>);

struct Letters<T> {
    waiting: VecDeque<T>,
    waker: Option<Waker>,
    /// The timer that is set already.
    armed: Option<Micros>,
}

impl<T> Clone for Mailbox<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Self(Rc::new(RefCell::new(Letters { waiting: VecDeque::new(), waker: None, armed: None })))
    }
}

impl<T> Mailbox<T> {
    pub(super) fn push(&self, letter: T) {
        let mut letters = self.0.borrow_mut();
        letters.waiting.push_back(letter);
        if let Some(waker) = letters.waker.take() {
            waker.wake();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.borrow().waiting.is_empty()
    }

    pub(super) fn take(&self) -> Option<T> {
        self.0.borrow_mut().waiting.pop_front()
    }

    /// Waits until something is there, or until some time.
    pub(super) async fn wait(&self, schedule: &Schedule, until: Micros) {
        poll_fn(|context| {
            let mut letters = self.0.borrow_mut();
            let now = schedule.now();
            if !letters.waiting.is_empty() || now >= until {
                return Poll::Ready(());
            }
            letters.waker = Some(context.waker().clone());
            if letters.armed.is_none_or(|armed| armed <= now || armed > until) {
                letters.armed = Some(until);
                schedule.wake_at(until, context.waker());
            }
            Poll::Pending
        })
        .await;
    }
}

/// Where an answer comes. `None`: none will come.
pub(super) struct Answer<T>(Rc<RefCell<Given<T>>>);

/// Who answers. If it is dropped, no answer will come.
pub(super) struct Answerer<T>(Rc<RefCell<Given<T>>>);

struct Given<T> {
    answer: Option<T>,
    over: bool,
    waker: Option<Waker>,
}

pub(super) fn answer<T>() -> (Answerer<T>, Answer<T>) {
    let given = Rc::new(RefCell::new(Given { answer: None, over: false, waker: None }));
    (Answerer(Rc::clone(&given)), Answer(given))
}

impl<T> Answerer<T> {
    pub(super) fn give(self, answer: T) {
        self.0.borrow_mut().answer = Some(answer);
    }
}

impl<T> Drop for Answerer<T> {
    fn drop(&mut self) {
        let mut given = self.0.borrow_mut();
        given.over = true;
        if let Some(waker) = given.waker.take() {
            waker.wake();
        }
    }
}

impl<T> Answer<T> {
    /// Waits for the answer, at most until some time. `None`: there is none.
    pub(super) async fn until(self, schedule: &Schedule, at: Micros) -> Option<T> {
        let mut armed = false;
        poll_fn(|context| {
            let mut given = self.0.borrow_mut();
            if given.over || schedule.now() >= at {
                return Poll::Ready(given.answer.take());
            }
            given.waker = Some(context.waker().clone());
            if !std::mem::replace(&mut armed, true) {
                schedule.wake_at(at, context.waker());
            }
            Poll::Pending
        })
        .await
    }
}
