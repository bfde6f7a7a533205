//! Which names may be looked up now. There are [`LOOKUPS_MAX`] places, and each lookup under way
//! holds one.
//!
//! Promised: names whose name servers are silent cannot take all places. A lookup that hangs cannot
//! be stopped, so it holds its place until the system gives up. Therefore a place depends on what
//! became of the name's last lookup:
//! - A name that resolved may have any place. [`RESERVED`] places are for such names alone.
//! - Names whose last lookup hung and failed share [`SUSPECTS_MAX`] places.
//! - Names that are not known may have any place that is not reserved.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// The most lookups under way. Each of them holds a thread.
pub(super) const LOOKUPS_MAX: usize = 384;
/// How many places are kept for names that resolved before.
const RESERVED: usize = 32;
/// How many places names may have whose last lookup hung.
const SUSPECTS_MAX: usize = 32;
/// A lookup that takes this long and fails has hung.
const HUNG: Duration = Duration::from_secs(1);
/// How many names are remembered. More than this many hosts are forgotten one by one, in no order.
const REMEMBERED_MAX: usize = 16_384;

/// How long a caller waits for a lookup, counted from the lookup's beginning.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same for a name whose last lookup hung, and for an unknown name in a crowd. A caller holds a
/// slot of the worker, and others wait for it. The lookup goes on. If it resolves after all, the
/// next caller gets the addresses.
const SHORT_PATIENCE: Duration = Duration::from_secs(1);
/// So many lookups under way, of names that are not known to resolve, are a crowd.
const CROWD: usize = 32;

/// What is known of a name from its last lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Nothing, or it failed at once.
    Unknown,
    /// It resolved.
    Proven,
    /// It hung, and failed in the end.
    Suspect,
}

/// A place of a lookup under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    standing: Standing,
    pub(super) since: Instant,
    /// How long a caller waits for the lookup, from its beginning on.
    pub(super) patience: Duration,
}

/// All places, and what is known of names.
#[derive(Debug, Default)]
pub(super) struct Places {
    taken: usize,
    unproven: usize,
    suspects: usize,
    remembered: HashMap<Box<str>, Standing>,
}

impl Places {
    /// Takes a place for a lookup of this name. `None` if the name may have none now.
    pub(super) fn take(&mut self, name: &str, now: Instant) -> Option<Place> {
        let standing = self.remembered.get(name).copied().unwrap_or(Standing::Unknown);
        let room_for_unproven = self.taken < LOOKUPS_MAX && self.unproven < LOOKUPS_MAX - RESERVED;
        let may = match standing {
            Standing::Proven => self.taken < LOOKUPS_MAX,
            Standing::Unknown => room_for_unproven,
            Standing::Suspect => room_for_unproven && self.suspects < SUSPECTS_MAX,
        };
        if !may {
            return None;
        }
        let patience = match standing {
            Standing::Proven => PATIENCE,
            Standing::Unknown if self.unproven < CROWD => PATIENCE,
            Standing::Unknown | Standing::Suspect => SHORT_PATIENCE,
        };
        self.taken += 1;
        self.unproven += usize::from(standing != Standing::Proven);
        self.suspects += usize::from(standing == Standing::Suspect);
        Some(Place { standing, since: now, patience })
    }

    /// Gives a place back after the lookup of this name, and remembers how it ended.
    pub(super) fn give_back(&mut self, name: &str, place: Place, resolved: bool, now: Instant) {
        self.taken -= 1;
        self.unproven -= usize::from(place.standing != Standing::Proven);
        self.suspects -= usize::from(place.standing == Standing::Suspect);
        let hung = now.saturating_duration_since(place.since) >= HUNG;
        match (resolved, hung) {
            (true, _) => self.remember(name, Standing::Proven),
            (false, true) => self.remember(name, Standing::Suspect),
            (false, false) => {
                self.remembered.remove(name);
            }
        }
    }

    fn remember(&mut self, name: &str, standing: Standing) {
        if let Some(known) = self.remembered.get_mut(name) {
            *known = standing;
            return;
        }
        if self.remembered.len() >= REMEMBERED_MAX {
            let any = self.remembered.keys().next().cloned();
            self.remembered.remove(&*any.unwrap_or_default());
        }
        self.remembered.insert(name.into(), standing);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(number: usize) -> String {
        format!("{number}.example")
    }

    /// Takes a place for each of these names that may have one.
    fn take_all(places: &mut Places, names: std::ops::Range<usize>, now: Instant) -> Vec<(String, Place)> {
        names.filter_map(|number| Some((name(number), places.take(&name(number), now)?))).collect()
    }

    #[test]
    fn dead_names_leave_places_for_names_that_resolve() {
        let (mut places, start) = (Places::default(), Instant::now());
        let good = places.take("good", start).expect("a place");
        places.give_back("good", good, true, start);

        let first = take_all(&mut places, 0..400, start);
        assert_eq!(first.len(), LOOKUPS_MAX - RESERVED);
        let long = first.iter().filter(|(_, place)| place.patience == PATIENCE).count();
        assert_eq!(long, CROWD, "in a crowd nobody waits long");
        assert!(places.take("new", start).is_none(), "the others are for names that resolved");
        let good = places.take("good", start).expect("a place");
        assert_eq!(good.patience, PATIENCE);
        places.give_back("good", good, true, start);

        // They were silent, so they have less room from now on, and new names have theirs.
        let later = start + 10 * HUNG;
        for (name, place) in first {
            places.give_back(&name, place, false, later);
        }
        let again = take_all(&mut places, 0..LOOKUPS_MAX - RESERVED, later);
        assert_eq!(again.len(), SUSPECTS_MAX);
        assert!(again.iter().all(|(_, place)| place.patience == SHORT_PATIENCE));
        assert!(places.take("new", later).is_some());

        // One that answers again is as good as any.
        for (name, place) in again {
            places.give_back(&name, place, true, later);
        }
        let place = places.take(&name(0), later).expect("a place");
        assert_eq!(place.standing, Standing::Proven);
    }

    #[test]
    fn a_name_that_does_not_exist_is_no_suspect() {
        let (mut places, now) = (Places::default(), Instant::now());
        let place = places.take("nowhere", now).expect("a place");
        places.give_back("nowhere", place, false, now);
        assert_eq!(places.take("nowhere", now).expect("a place").standing, Standing::Unknown);
    }

    #[test]
    fn the_number_of_names_that_are_remembered_is_bounded() {
        let (mut places, now) = (Places::default(), Instant::now());
        for number in 0..REMEMBERED_MAX + 3 {
            let place = places.take(&name(number), now).expect("a place");
            places.give_back(&name(number), place, true, now);
        }
        assert_eq!(places.remembered.len(), REMEMBERED_MAX);
    }

    proptest! {
        #[test]
        fn places_are_bounded_and_all_come_back(
            steps in prop::collection::vec((0usize..600, any::<bool>(), 0u64..3), 0..1300),
        ) {
            let (mut places, mut now, mut held) = (Places::default(), Instant::now(), Vec::new());
            for (number, resolves, seconds) in steps {
                now += Duration::from_secs(seconds);
                match places.take(&name(number), now) {
                    Some(place) => held.push((name(number), place)),
                    None if held.is_empty() => prop_assert!(false, "there is always room for one"),
                    None => {
                        let (name, place) = held.swap_remove(number % held.len());
                        places.give_back(&name, place, resolves, now);
                    }
                }
                prop_assert!(places.taken <= LOOKUPS_MAX && places.taken == held.len());
                prop_assert!(places.unproven <= LOOKUPS_MAX - RESERVED && places.suspects <= SUSPECTS_MAX);
            }
            for (name, place) in held {
                places.give_back(&name, place, true, now);
            }
            prop_assert_eq!((places.taken, places.unproven, places.suspects), (0, 0, 0));
        }
    }
}
