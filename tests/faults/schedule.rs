//! Which faults happen, in which order, and which at once. All of it follows from the seed.

use std::time::{Duration, Instant};

use rand::{
    Rng, SeedableRng,
    rngs::StdRng,
    seq::{IndexedRandom, SliceRandom},
};

use crate::{
    incident::{Incident, Step, fits},
    kind::Kind,
};

/// The faults that the long run injects more often than others.
const OFTEN: [Kind; 6] = [
    Kind::KillWorker,
    Kind::KillWorker,
    Kind::TerminateBackend,
    Kind::DatabaseLinkCut,
    Kind::PostgresCrash,
    Kind::PostgresImmediate,
];

/// How many of a hundred incidents in the long run have two faults at once, and how many have
/// three.
const IN_COMPANY: [u32; 2] = [25, 10];

/// Which faults are in effect at once.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Plan {
    kinds: Vec<Kind>,
    /// How many other faults are drawn.
    others: usize,
}

impl Plan {
    fn of(kind: Kind, others: usize) -> Self {
        Self { kinds: vec![kind], others }
    }
}

/// The faults of a run.
pub(crate) struct Schedule {
    pub(crate) seed: u64,
    random: StdRng,
    /// What `FAULTS_ONLY` asks for.
    only: Option<Vec<Plan>>,
    /// What is next. It is read from its end.
    plans: Vec<Plan>,
    /// When the long run ends. The short run ends with its list.
    until: Option<(Instant, Duration)>,
}

impl Schedule {
    /// Every fault once by itself, then some at once.
    pub(crate) fn short(seed: u64) -> Self {
        let mut schedule = Self::new(seed, None);
        schedule.plans = schedule.only.clone().unwrap_or_else(|| every_one(&mut schedule.random));
        schedule
    }

    /// All faults, again and again. Each round has another order, and some faults come together.
    pub(crate) fn long(seed: u64, length: Duration) -> Self {
        Self::new(seed, Some((Instant::now(), length)))
    }

    fn new(seed: u64, until: Option<(Instant, Duration)>) -> Self {
        let only = std::env::var("FAULTS_ONLY").ok().map(|only| parse(&only));
        Self { seed, random: StdRng::seed_from_u64(seed), only, plans: Vec::new(), until }
    }

    /// What happens next; `None` at the end.
    pub(crate) fn next(&mut self) -> Option<Incident> {
        if let Some((begun, length)) = self.until {
            if begun.elapsed() >= length {
                return None;
            }
            if self.plans.is_empty() {
                self.plans = self.only.clone().unwrap_or_else(|| all_mixed(&mut self.random));
            }
        }
        let plan = self.plans.pop()?;
        let mut steps = Vec::new();
        for kind in &plan.kinds {
            let step = self.draw(&[*kind], &steps);
            steps.push(step.unwrap_or_else(|| panic!("{:?} cannot be made at once", plan.kinds)));
        }
        for _ in 0..plan.others {
            steps.extend(self.draw(Kind::ALL, &steps));
        }
        // A fault that is over at once comes while the others are in effect.
        steps.sort_by_key(|step| !step.kind.remains());
        Some(Incident { steps, backwards: self.random.random() })
    }

    /// A fault of one of these kinds that may be made while those are in effect. `None` if none was
    /// found.
    fn draw(&mut self, kinds: &[Kind], company: &[Step]) -> Option<Step> {
        (0..100).map(|_| self.step(kinds)).find(|step| fits(company, step))
    }

    fn step(&mut self, kinds: &[Kind]) -> Step {
        let kind = *kinds.choose(&mut self.random).expect("there are some");
        let mut milliseconds = |range| Duration::from_millis(self.random.random_range(range));
        Step {
            kind,
            lasts: milliseconds(300..1500),
            pause: milliseconds(50..300),
            target: self.random.random_range(0..1000),
        }
    }
}

/// Each by itself. Then two, two and three at once.
fn every_one(random: &mut StdRng) -> Vec<Plan> {
    let mut alone: Vec<_> = Kind::ALL.iter().map(|kind| Plan::of(*kind, 0)).collect();
    alone.shuffle(random);
    let mut kinds = Kind::ALL.to_vec();
    kinds.shuffle(random);
    let together = [2, 1, 1].into_iter().zip(kinds).map(|(others, kind)| Plan::of(kind, others));
    together.chain(alone).collect()
}

/// Each once, some more often, some with others.
fn all_mixed(random: &mut StdRng) -> Vec<Plan> {
    let mut kinds: Vec<Kind> = Kind::ALL.iter().chain(&OFTEN).copied().collect();
    kinds.shuffle(random);
    let [two, three] = IN_COMPANY;
    let mut plan = |kind| {
        let drawn = random.random_range(0..100);
        let others = if drawn < three { 2 } else { usize::from(drawn < three + two) };
        Plan::of(kind, others)
    };
    kinds.into_iter().map(&mut plan).collect()
}

/// Names of faults, comma-separated. A plus joins those that happen at once. The last one comes
/// first.
fn parse(only: &str) -> Vec<Plan> {
    let find = |name: &str| {
        Kind::ALL.iter().copied().find(|kind| kind.to_string() == name).unwrap_or_else(|| {
            let known: Vec<_> = Kind::ALL.iter().map(Kind::to_string).collect();
            panic!("FAULTS_ONLY: {name} is none of {}", known.join(", "))
        })
    };
    let plan = |names: &str| Plan { kinds: names.split('+').map(find).collect(), others: 0 };
    only.split(',').rev().map(plan).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a seed means if the environment asks for nothing else.
    fn long(seed: u64, count: usize) -> Vec<Incident> {
        let mut schedule = Schedule::long(seed, Duration::from_hours(1));
        schedule.only = None;
        std::iter::from_fn(|| schedule.next()).take(count).collect()
    }

    #[test]
    fn a_seed_means_the_same_faults_each_time() {
        assert_eq!(long(1, 200), long(1, 200));
        assert_ne!(long(1, 200), long(2, 200));
    }

    #[test]
    fn some_happen_at_once_and_all_of_those_may() {
        let incidents = long(3, 1000);
        let of = |count| incidents.iter().filter(|incident| incident.steps.len() == count).count();
        assert!((600..700).contains(&of(1)) && (200..300).contains(&of(2)) && (60..140).contains(&of(3)));
        for Incident { steps, .. } in &incidents {
            for (at, step) in steps.iter().enumerate() {
                assert!(fits(&steps[..at], step), "{steps:?}");
                assert!(step.kind.remains() || at == steps.len() - 1, "{steps:?}");
            }
        }
    }

    #[test]
    fn faults_that_are_asked_for_come_in_their_order() {
        let mut schedule = Schedule::short(4);
        schedule.plans = parse("StopApi,PostgresCrash+KillWorker+KillWorker,TerminateBackend+KillApi");
        let kinds = |incident: Incident| incident.steps.iter().map(|step| step.kind).collect::<Vec<_>>();
        let all: Vec<_> = std::iter::from_fn(|| schedule.next()).map(kinds).collect();
        assert_eq!(
            all,
            [
                vec![Kind::StopApi],
                vec![Kind::PostgresCrash, Kind::KillWorker, Kind::KillWorker],
                vec![Kind::KillApi, Kind::TerminateBackend],
            ]
        );
    }

    #[test]
    #[should_panic(expected = "cannot be made at once")]
    fn what_cannot_be_combined_is_refused() {
        let mut schedule = Schedule::short(5);
        schedule.plans = parse("PostgresCrash+PostgresFast");
        schedule.next();
    }
}
