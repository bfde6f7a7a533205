//! All tails of this process.
//!
//! One task looks for all tails of this process, [`POLL`] after [`POLL`], while there is a tail. So
//! a hundred tails cost the database what one costs.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};
use tokio_util::sync::CancellationToken;

use super::error::BrokerError;
use crate::{
    domain::tail::{Allowance, LeftOut, Seen, TAILS_MAX, TailItem},
    store::{Newest, Store, StoreError},
};

/// The pause between two looks.
const POLL: Duration = Duration::from_millis(250);
/// How many items wait for a tail that is slow. Then it loses some, and is told.
const ITEMS_MAX: usize = 512;

/// What a tail watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    Topic(i64),
    Webhook(i64),
}

/// All tails of this process.
pub(super) struct Tails {
    open: Arc<Semaphore>,
    ended: CancellationToken,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    channels: HashMap<Subject, Channel>,
    /// The newest messages at the last look; `None` while no topic is watched.
    messages: Option<Seen>,
    /// The newest attempts at the last look; `None` while no webhook is watched.
    attempts: Option<Seen>,
    /// Whether the task runs that looks.
    looks: bool,
}

struct Channel {
    sender: broadcast::Sender<Arc<TailItem>>,
    allowance: Allowance,
}

/// A tail: what happens from now on. It ends when it is dropped, or when all tails end.
pub struct Tail {
    items: broadcast::Receiver<Arc<TailItem>>,
    ended: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

impl Tail {
    /// The next item; `None` if the process ends.
    pub async fn next(&mut self) -> Option<Arc<TailItem>> {
        match self.ended.run_until_cancelled(self.items.recv()).await? {
            Ok(item) => Some(item),
            Err(broadcast::error::RecvError::Lagged(lost)) => {
                let of = usize::try_from(lost).unwrap_or(usize::MAX);
                Some(Arc::new(TailItem::LeftOut(LeftOut { shown: 0, of, at_least: false })))
            }
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

impl Default for Tails {
    fn default() -> Self {
        let open = Arc::new(Semaphore::new(TAILS_MAX));
        Self { open, ended: CancellationToken::new(), state: Mutex::default() }
    }
}

impl Tails {
    /// Opens a tail.
    ///
    /// # Errors
    /// [`BrokerError::Busy`] if as many tails are open as may be.
    pub(super) async fn open(self: &Arc<Self>, store: &Store, subject: Subject) -> Result<Tail, BrokerError> {
        let permit = Arc::clone(&self.open).try_acquire_owned().map_err(|_| {
            BrokerError::Busy(format!(
                "{TAILS_MAX} tails are open here, and more may not be; close one first"
            ))
        })?;
        // What was there before is not shown. A look under way has its own, older one.
        let seen = match subject {
            Subject::Topic(_) => store.list_newest_messages(&[]).await?,
            Subject::Webhook(_) => store.list_newest_attempts(&[]).await?,
        };
        let mut state = self.lock();
        let last = match subject {
            Subject::Topic(_) => &mut state.messages,
            Subject::Webhook(_) => &mut state.attempts,
        };
        last.get_or_insert(seen.places);
        let channel = state.channels.entry(subject).or_insert_with(|| Channel {
            sender: broadcast::Sender::new(ITEMS_MAX),
            allowance: Allowance::default(),
        });
        let items = channel.sender.subscribe();
        if !state.looks {
            state.looks = true;
            tokio::spawn(look(Arc::clone(self), store.clone()));
        }
        Ok(Tail { items, ended: self.ended.clone(), _permit: permit })
    }

    /// Ends when they do.
    pub(super) fn until_end(&self) -> impl Future<Output = ()> + Send + 'static {
        self.ended.clone().cancelled_owned()
    }

    /// Ends all tails.
    pub(super) fn end(&self) {
        self.ended.cancel();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Held by the task that looks. If it panics, all tails end, and the next one starts a new task.
struct Looking<'a>(&'a Tails);

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            *self.0.lock() = State::default();
        }
    }
}

/// Looks for what is new while somebody watches.
async fn look(tails: Arc<Tails>, store: Store) {
    let _looking = Looking(&tails);
    let mut last = Instant::now();
    while tails.ended.run_until_cancelled(tokio::time::sleep(POLL)).await.is_some() {
        let Some((topics, webhooks)) = tails.lock().watched() else { return };
        let (newest, passed) = (newest(&store, &topics, &webhooks).await, last.elapsed());
        match newest {
            Ok((messages, attempts)) => {
                last = Instant::now();
                let mut state = tails.lock();
                if let Some(messages) = messages {
                    state.show(messages, passed, Subject::Topic);
                }
                if let Some(attempts) = attempts {
                    state.show(attempts, passed, Subject::Webhook);
                }
            }
            Err(error) => tracing::debug!(%error, "could not look for what is new"),
        }
    }
}

async fn newest(
    store: &Store,
    topics: &[i64],
    webhooks: &[i64],
) -> Result<(Option<Newest>, Option<Newest>), StoreError> {
    let messages = if topics.is_empty() { None } else { Some(store.list_newest_messages(topics).await?) };
    let attempts = if webhooks.is_empty() { None } else { Some(store.list_newest_attempts(webhooks).await?) };
    Ok((messages, attempts))
}

impl State {
    /// The topics and the webhooks that are watched; `None` if there are none. Then the task ends.
    fn watched(&mut self) -> Option<(Vec<i64>, Vec<i64>)> {
        self.channels.retain(|_, channel| channel.sender.receiver_count() > 0);
        let (mut topics, mut webhooks) = (Vec::new(), Vec::new());
        for subject in self.channels.keys() {
            match subject {
                Subject::Topic(id) => topics.push(*id),
                Subject::Webhook(id) => webhooks.push(*id),
            }
        }
        if topics.is_empty() {
            self.messages = None;
        }
        if webhooks.is_empty() {
            self.attempts = None;
        }
        self.looks = !self.channels.is_empty();
        self.looks.then_some((topics, webhooks))
    }

    /// Passes on what is new.
    fn show(&mut self, newest: Newest, passed: Duration, subject: impl Fn(i64) -> Subject) {
        let seen = match subject(0) {
            Subject::Topic(_) => &mut self.messages,
            Subject::Webhook(_) => &mut self.attempts,
        };
        let Some(seen) = seen else { return };
        let (new, is_gap) = seen.take_in(newest.places);
        let mut by_subject: HashMap<Subject, Vec<TailItem>> = HashMap::new();
        for (place, id, item) in newest.items {
            if new.contains(&place) {
                by_subject.entry(subject(id)).or_default().push(item);
            }
        }
        for (of, channel) in &mut self.channels {
            if subject(0).is_like(*of) {
                channel.show(by_subject.remove(of).unwrap_or_default(), is_gap, passed);
            }
        }
    }
}

impl Subject {
    fn is_like(self, other: Self) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }
}

impl Channel {
    fn show(&mut self, items: Vec<TailItem>, is_gap: bool, passed: Duration) {
        let of = items.len();
        let shown = self.allowance.sample(of, passed);
        let left_out = LeftOut { shown: shown.len(), of, at_least: is_gap };
        let notice = (left_out.shown < of || is_gap).then_some(TailItem::LeftOut(left_out));
        let items = items.into_iter().enumerate().filter(|(index, _)| shown.binary_search(index).is_ok());
        for item in notice.into_iter().chain(items.map(|(_, item)| item)) {
            // It fails only if nobody watches any more.
            let _ = self.sender.send(Arc::new(item));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tails_end_if_the_task_panics_that_looks() {
        let tails = Arc::new(Tails::default());
        let channel = Channel { sender: broadcast::Sender::new(ITEMS_MAX), allowance: Allowance::default() };
        let permit = Arc::clone(&tails.open).try_acquire_owned().unwrap();
        let mut tail =
            Tail { items: channel.sender.subscribe(), ended: tails.ended.clone(), _permit: permit };
        {
            let mut state = tails.lock();
            state.channels.insert(Subject::Topic(1), channel);
            state.looks = true;
        }
        let looking = Arc::clone(&tails);
        let task = tokio::spawn(async move {
            let _looking = Looking(&looking);
            panic!("on purpose");
        });
        assert!(task.await.unwrap_err().is_panic());
        assert!(tail.next().await.is_none());
        assert!(!tails.lock().looks);
    }
}
