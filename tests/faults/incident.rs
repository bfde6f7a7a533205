//! Faults that are in effect at the same time: which ones may be, and how they are healed.

use std::{fmt, time::Duration};

use crate::kind::Kind;

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) kind: Kind,
    /// Which worker, webhook or connection it hits, modulo how many there are.
    pub(crate) target: usize,
    /// How long it lasts, if it lasts.
    pub(crate) lasts: Duration,
    /// How long nothing else happens before it.
    pub(crate) pause: Duration,
}

impl Step {
    /// Which worker it hits.
    pub(crate) fn worker(&self) -> usize {
        self.kind.worker(self.target)
    }

    /// How long it stays in effect.
    fn holds(&self) -> Duration {
        match self.kind {
            Kind::KillWorker | Kind::StopWorker | Kind::StopApi => Duration::ZERO,
            Kind::PauseWorkerOverLease | Kind::KillApi => self.lasts / 2,
            // This is always longer than a worker sends without an answer.
            Kind::DatabaseLinkSlow | Kind::DatabaseLinkDead => Duration::from_secs(1) + self.lasts,
            // This is longer than it takes others to take over.
            Kind::WorkerCutOff => Duration::from_secs(2),
            kind if kind.remains() => self.lasts,
            _ => Duration::ZERO,
        }
    }
}

/// One fault, or several. Each one begins before any is healed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Incident {
    pub(crate) steps: Vec<Step>,
    /// Whether the last fault is healed first.
    pub(crate) backwards: bool,
}

impl Incident {
    /// Nothing else is broken meanwhile.
    pub(crate) fn is_alone(&self) -> bool {
        self.steps.len() == 1
    }

    /// How long all of it stays in effect after the last fault began.
    pub(crate) fn holds(&self) -> Duration {
        self.steps.iter().map(Step::holds).max().unwrap_or_default()
    }

    /// The order in which its faults are healed. Processes start last: they need a server and a
    /// link to it.
    pub(crate) fn healing(&self) -> Vec<Step> {
        let mut steps = self.steps.clone();
        if self.backwards {
            steps.reverse();
        }
        steps.sort_by_key(|step| step.kind.starts_a_process());
        steps
    }
}

impl fmt::Display for Incident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Step { kind, target, lasts, .. }) in self.steps.iter().enumerate() {
            let with = if at == 0 { "" } else { " + " };
            write!(f, "{with}{kind} (target {target}, {lasts:?})")?;
        }
        Ok(())
    }
}

/// Whether a fault may be made while these are in effect: it must break nothing that they break or
/// need. A fault that is over at once can only be the last one. So there is one of those at most.
pub(crate) fn fits(steps: &[Step], next: &Step) -> bool {
    let parts = next.kind.parts(next.target);
    steps.iter().all(|step| {
        let shared = step.kind.parts(step.target).iter().any(|part| parts.contains(part));
        !shared && (step.kind.remains() || next.kind.remains())
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::stage::{KILLED, WORKERS};

    fn step(kind: Kind, target: usize) -> Step {
        Step { kind, target, lasts: Duration::from_millis(500), pause: Duration::from_millis(100) }
    }

    #[rstest]
    #[case::two_on_the_server(Kind::PostgresCrash, 0, Kind::PostgresFast, 1)]
    #[case::a_session_of_no_server(Kind::PostgresCrash, 0, Kind::TerminateBackend, 1)]
    #[case::a_full_disk_of_no_server(Kind::PostgresImmediate, 0, Kind::WalDiskFull, 1)]
    #[case::one_process_killed_twice(Kind::KillWorker, 0, Kind::KillWorker, KILLED)]
    #[case::one_process_paused_and_killed(Kind::PauseWorker, 1, Kind::KillWorker, 1)]
    #[case::one_link_slow_and_dead(Kind::DatabaseLinkSlow, 2, Kind::DatabaseLinkDead, 2)]
    #[case::a_worker_cut_off_by_no_server(Kind::WorkerCutOff, 0, Kind::PostgresFast, 1)]
    #[case::a_receiver_that_was_to_be_busy(Kind::PauseWorkerOverLease, 0, Kind::ReceiverHangs, 1)]
    #[case::one_receiver_with_two_answers(Kind::ReceiverHangs, 0, Kind::ReceiverRefuses, 2)]
    #[case::the_api_twice(Kind::StopApi, 0, Kind::KillApi, 1)]
    #[case::two_that_are_over_at_once(Kind::DatabaseLinkCut, 0, Kind::ReceiverLinkCut, 0)]
    fn what_would_break_the_same_part_is_kept_apart(
        #[case] one: Kind,
        #[case] its: usize,
        #[case] other: Kind,
        #[case] others: usize,
    ) {
        let (one, other) = (step(one, its), step(other, others));
        assert!(!fits(&[one], &other) && !fits(&[other], &one));
    }

    #[rstest]
    #[case::two_workers_killed(Kind::KillWorker, 0, Kind::KillWorker, 1)]
    #[case::a_kill_without_a_server(Kind::PostgresCrash, 0, Kind::KillWorker, 0)]
    #[case::a_kill_behind_a_dead_link(Kind::DatabaseLinkDead, 1, Kind::KillWorker, 1)]
    #[case::a_paused_worker_without_a_server(Kind::PauseWorker, 2, Kind::PostgresFast, 0)]
    #[case::both_receivers(Kind::ReceiverHangs, 0, Kind::ReceiverRefuses, 1)]
    #[case::a_receiver_and_its_link(Kind::ReceiverSlow, 0, Kind::ReceiverLinkDead, 0)]
    #[case::a_cut_in_the_middle(Kind::DatabaseLinkCut, 0, Kind::ReceiverHangs, 0)]
    fn what_breaks_other_parts_may_overlap(
        #[case] one: Kind,
        #[case] its: usize,
        #[case] other: Kind,
        #[case] others: usize,
    ) {
        let (one, other) = (step(one, its), step(other, others));
        assert!(fits(&[one], &other) && fits(&[other], &one));
    }

    #[test]
    fn a_third_must_fit_both() {
        let two = [step(Kind::PostgresFast, 0), step(Kind::ReceiverHangs, 0)];
        assert!(fits(&two, &step(Kind::PauseWorker, 1)));
        assert!(!fits(&two, &step(Kind::NotificationQueue, 1)));
        assert!(!fits(&two, &step(Kind::ReceiverSlow, 0)));
    }

    #[test]
    fn the_process_of_the_worker_that_is_left_alone_is_never_hit_and_its_link_is() {
        let hit = |kind: Kind| (0..1000).map(|target| kind.worker(target)).max();
        let processes =
            [Kind::KillWorker, Kind::StopWorker, Kind::PauseWorker, Kind::PauseWorkerOverLease].map(hit);
        assert_eq!(processes, [Some(KILLED - 1); 4]);
        assert_eq!(hit(Kind::DatabaseLinkDead), Some(WORKERS - 1));
        assert_eq!(WORKERS, KILLED + 1);
    }

    #[rstest]
    #[case::as_they_came(false, [Kind::PostgresCrash, Kind::ReceiverHangs, Kind::KillWorker])]
    #[case::the_last_first(true, [Kind::ReceiverHangs, Kind::PostgresCrash, Kind::KillWorker])]
    fn processes_are_started_when_there_is_a_server(#[case] backwards: bool, #[case] healed: [Kind; 3]) {
        let steps = [Kind::KillWorker, Kind::PostgresCrash, Kind::ReceiverHangs].map(|kind| step(kind, 0));
        let incident = Incident { steps: steps.to_vec(), backwards };
        let kinds: Vec<_> = incident.healing().iter().map(|step| step.kind).collect();
        assert_eq!(kinds, healed);
    }
}
