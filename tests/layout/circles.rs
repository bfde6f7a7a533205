//! Circles of files that import one another.

use std::collections::{BTreeMap, BTreeSet};

use crate::imports::Imports;

/// One shortest circle through each file that is in a circle. Each circle is listed once.
pub(crate) fn circles(imports: &Imports) -> Vec<Vec<String>> {
    let mut next: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (from, to) in imports.iter() {
        next.entry(from).or_default().push(to);
    }
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for start in next.keys() {
        let Some(circle) = shortest(&next, start) else { continue };
        let mut members = circle.clone();
        members.sort();
        members.dedup();
        if seen.insert(members) {
            all.push(circle);
        }
    }
    all
}

/// The shortest way from a file back to itself.
fn shortest(next: &BTreeMap<&str, Vec<&str>>, start: &str) -> Option<Vec<String>> {
    let mut from: BTreeMap<&str, &str> = BTreeMap::new();
    let mut queue = std::collections::VecDeque::from([start]);
    while let Some(file) = queue.pop_front() {
        for to in next.get(file).into_iter().flatten() {
            if *to == start {
                let mut circle = vec![start.to_owned()];
                let mut at = file;
                while at != start {
                    circle.push(at.to_owned());
                    at = from[at];
                }
                circle.push(start.to_owned());
                circle.reverse();
                return Some(circle);
            }
            if !from.contains_key(to) {
                from.insert(to, file);
                queue.push_back(to);
            }
        }
    }
    None
}
