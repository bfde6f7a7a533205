//! The use case "doctor": what is wrong with the database, the schema and the processes.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, timeout, timeout_at};

use super::Broker;
use crate::{
    delivery::AddressGuard,
    domain::doctor::{self, Check, Finding, Report, SessionFacts, Settings, WebhookSeen, WorkerSeen},
    store::StoreError,
};

/// How long one check may take.
const CHECK_LIMIT: Duration = Duration::from_secs(2);
/// How long all of them may take.
const ALL_LIMIT: Duration = Duration::from_secs(20);
/// How many run at once: the others that use the pool must not wait for them.
const AT_ONCE: usize = 2;

/// What the checks compare with, of the settings of this process.
#[derive(Debug, Clone)]
pub struct Expectations {
    /// The settings that should be the same in all processes. `None` if those of this process count
    /// for nothing.
    pub settings: Option<Settings>,
    /// For how many days messages are kept; 0: for ever.
    pub messages_days: u32,
    /// For how many days the attempt log is kept; 0: for ever.
    pub attempts_days: u32,
}

impl Default for Expectations {
    /// Nothing is past its retention, and nothing differs.
    fn default() -> Self {
        Self { settings: None, messages_days: 0, attempts_days: 0 }
    }
}

impl Broker {
    /// What the checks of `doctor` compare with.
    #[must_use]
    pub fn expecting(self, expectations: Expectations) -> Self {
        Self { expectations: expectations.into(), ..self }
    }

    /// Makes all checks, or one. It changes nothing. A check that this role may not make, or that
    /// gets no answer in time, is skipped. If the database cannot be reached, all but `connection`
    /// are. One report is made at a time in this process. Others wait for it.
    pub async fn diagnose(&self, only: Option<Check>) -> Report {
        let _one_at_a_time = self.diagnosing.lock().await;
        let until = Instant::now() + ALL_LIMIT;
        let checked_at = Timestamp::now();
        let session = timeout(CHECK_LIMIT * 3, self.store.diagnose_session()).await;
        let session = session.unwrap_or(Err(StoreError::Unanswered(CHECK_LIMIT * 3)));
        let asked = Check::ALL.into_iter().filter(|check| only.is_none_or(|only| only == *check));
        let session = match session {
            Ok(session) => Some(session),
            // A statement was refused, so somebody answers. `pooler` says why.
            Err(error) if error.is_refused() => None,
            Err(error) => {
                let unreached = doctor::unreachable(&error.to_string());
                let skip = |check| Finding::skipped(check, "the database cannot be reached", None);
                let others = asked.filter(|check| *check != Check::Connection).map(skip);
                let checks = [unreached].into_iter().chain(others).collect();
                return Report { checked_at, database: None, checks };
            }
        };
        let ahead = session.as_ref().map_or(SignedDuration::ZERO, |session| session.clock_ahead);
        let run = |check| self.check_in_time(check, session.as_ref(), checked_at + ahead, until);
        let checks = stream::iter(asked).map(run).buffered(AT_ONCE).collect().await;
        Report { checked_at, database: session.map(|session| session.database), checks }
    }

    async fn check_in_time(
        &self,
        check: Check,
        session: Option<&SessionFacts>,
        now: Timestamp,
        until: Instant,
    ) -> Finding {
        let limit = until.min(Instant::now() + CHECK_LIMIT);
        // Boxed, because this future is large.
        match timeout_at(limit, Box::pin(self.check(check, session, now))).await {
            Ok(Ok(finding)) => finding,
            Ok(Err(error)) if error.took_too_long() => doctor::unanswered(check, CHECK_LIMIT),
            Ok(Err(error)) => doctor::refused(check, &error.to_string(), error.is_missing_right()),
            Err(_) => doctor::unanswered(check, CHECK_LIMIT),
        }
    }

    /// Makes one check. `now`: by the database's clock.
    async fn check(
        &self,
        check: Check,
        session: Option<&SessionFacts>,
        now: Timestamp,
    ) -> Result<Finding, StoreError> {
        let (store, expected) = (&self.store, &self.expectations);
        let of_session = |judge: fn(&SessionFacts) -> Finding| {
            let refused =
                || Finding::skipped(check, "the session refuses statements: see the check pooler", None);
            session.map_or_else(refused, judge)
        };
        Ok(match check {
            Check::Connection => of_session(doctor::judge_connection),
            Check::Clock => of_session(doctor::judge_clock),
            Check::Tls => doctor::judge_tls(&store.diagnose_tls().await?),
            Check::Pooler => doctor::judge_pooler(store.diagnose_pooler().await?),
            Check::Listen => doctor::judge_listen(store.diagnose_listen().await?),
            Check::Privileges => doctor::judge_privileges(&store.diagnose_privileges().await?),
            Check::Schema => doctor::judge_schema(&store.diagnose_schema().await?),
            Check::Functions => doctor::judge_functions(&store.diagnose_functions().await?),
            Check::Triggers => doctor::judge_triggers(&store.diagnose_triggers().await?),
            Check::Indexes => doctor::judge_indexes(&store.diagnose_indexes().await?),
            Check::Sequences => doctor::judge_sequences(&store.diagnose_sequences().await?),
            Check::Settings => doctor::judge_settings(&store.diagnose_settings().await?),
            Check::LockTable => doctor::judge_lock_table(store.diagnose_lock_table().await?),
            Check::NotificationQueue => {
                doctor::judge_notification_queue(now, &store.diagnose_notification_queue().await?)
            }
            Check::Sending => {
                let status = store.get_sending().await?;
                let why_not = status.switch.why_not(self.start_paused);
                doctor::judge_sending(why_not, status.changed_by.as_deref(), status.reason.as_deref())
            }
            Check::Workers => doctor::judge_workers(&store.diagnose_workers().await?),
            Check::Leader => doctor::judge_leader(now, &store.diagnose_leader().await?),
            Check::Processes => {
                let settings = expected.settings.clone().map(|settings| store.with_own_settings(settings));
                let workers = store.diagnose_workers().await?.workers;
                doctor::judge_processes((env!("CARGO_PKG_VERSION"), settings.as_ref()), &workers)
            }
            Check::HaltedLanes => {
                doctor::judge_halted_lanes(&store.diagnose_halted_lanes().await?, doctor::ITEMS_MAX)
            }
            Check::WaitingLanes => {
                let (failing, ready) = store.diagnose_waiting_lanes().await?;
                doctor::judge_waiting_lanes(now, &failing, &ready, doctor::ITEMS_MAX)
            }
            Check::LaneRows => doctor::judge_lane_rows(&store.diagnose_lane_rows().await?),
            Check::Webhooks => {
                let (mut webhooks, most) = store.diagnose_webhooks().await?;
                let workers = store.diagnose_workers().await?.workers;
                let guard = guard_of(&workers).unwrap_or_else(|| AddressGuard::clone(&self.guard));
                for webhook in &mut webhooks {
                    check_url(&guard, webhook);
                }
                doctor::judge_webhooks(now, &webhooks, most)
            }
            Check::Publishers => doctor::judge_publishers(now, &store.diagnose_publishers().await?),
            Check::ForeignLocks => doctor::judge_foreign_locks(now, &store.diagnose_foreign_locks().await?),
            Check::Snapshots => doctor::judge_snapshots(now, &store.diagnose_snapshots().await?),
            Check::DeadTuples => doctor::judge_dead_tuples(now, &store.diagnose_tables().await?),
            Check::AttemptPartitions => {
                let (missing, schema) = store.diagnose_attempt_partitions().await?;
                doctor::judge_attempt_partitions(&missing, schema)
            }
            Check::Retention => {
                let (messages, attempts) = (expected.messages_days, expected.attempts_days);
                doctor::judge_retention(now, &store.diagnose_retention(now, messages, attempts).await?)
            }
            Check::Disk => doctor::judge_disk(&store.diagnose_disk().await?),
        })
    }
}

/// The guard of the workers that live, since they send: it lets through what the settings of any of
/// them allow. `None` if none tells them.
fn guard_of(workers: &[WorkerSeen]) -> Option<AddressGuard> {
    let live = workers.iter().filter(|worker| worker.lives());
    let told: Vec<&String> =
        live.filter_map(|worker| worker.settings.get("delivery.allow_networks")).collect();
    let networks = told.iter().flat_map(|told| told.split(' ')).filter_map(|network| network.parse().ok());
    (!told.is_empty()).then(|| AddressGuard::new(networks.collect()))
}

/// Notes why a webhook cannot have its URL. Names are not looked up.
fn check_url(guard: &AddressGuard, webhook: &mut WebhookSeen) {
    webhook.invalid = guard.check_url(&webhook.url).err().map(|error| error.to_string());
}
