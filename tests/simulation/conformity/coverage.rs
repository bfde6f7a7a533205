//! What scripts have met: a comparison of runs in which nothing happens says nothing.

use std::collections::BTreeMap;

use super::action::{Action, SESSIONS, Seen, Stands, Step};

/// How often each kind of thing was seen.
#[derive(Default)]
pub(crate) struct Coverage {
    counts: BTreeMap<String, u64>,
    asked: [Option<String>; SESSIONS],
}

impl Coverage {
    pub(crate) fn note(&mut self, step: &Step, seen: &Seen) {
        if let Action::Call(call) = &step.action {
            let name = format!("{call:?}");
            self.asked[step.session] = name.split([' ', '(', '{']).next().map(str::to_owned);
        } else if !matches!(step.action, Action::GoOn) {
            self.asked[step.session] = None;
        }
        self.count("steps");
        if seen.stands[step.session] == Stands::Waits {
            let name = self.asked[step.session].clone().unwrap_or_default();
            self.count(&format!("{name} waits"));
        }
        if !seen.notifications.is_empty() {
            self.count("notified");
        }
        for (session, answer) in &seen.answers {
            let Some(name) = self.asked[*session].clone() else { continue };
            if answer.is_empty() {
                self.count(&format!("{name} nothing"));
            }
            for line in answer.lines() {
                let mut words = line
                    .split([' ', '/'])
                    .filter(|word| word.len() > 1 && !word.starts_with(|c: char| c.is_numeric()));
                let word = words.next_back().filter(|word| !word.ends_with(':')).unwrap_or("some");
                self.count(&format!("{name} {word}"));
            }
        }
    }

    fn count(&mut self, what: &str) {
        *self.counts.entry(what.to_owned()).or_default() += 1;
    }

    pub(crate) fn of(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or_default()
    }

    pub(crate) fn text(&self) -> String {
        let counts: Vec<String> = self.counts.iter().map(|(what, count)| format!("{what} {count}")).collect();
        counts.join(", ")
    }
}
