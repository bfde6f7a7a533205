//! Which items of a plan are needed for what goes wrong.

use super::{plan::Plan, run::run};

/// Leaves out items for as long as something of the same kind still goes wrong. Returns the numbers
/// of those that are left.
pub(super) fn shrink(plan: &Plan, kind: &str, runs: usize) -> Vec<usize> {
    let mut left: Vec<usize> = (0..plan.items.len()).collect();
    let mut part = left.len().div_ceil(2);
    let mut tried = 0;
    while part > 0 && tried < runs {
        let mut at = 0;
        let mut shorter = false;
        while at < left.len() && tried < runs {
            let mut fewer = left.clone();
            fewer.drain(at..(at + part).min(left.len()));
            tried += 1;
            if breaks(&only(plan, &fewer), kind) {
                left = fewer;
                shorter = true;
            } else {
                at += part;
            }
        }
        if part == 1 && !shorter {
            break;
        }
        part = if part == 1 { 1 } else { part.div_ceil(2) };
        if part == 1 && left.len() <= 1 && !shorter {
            break;
        }
    }
    left
}

/// The plan with some of its items.
pub(super) fn only(plan: &Plan, items: &[usize]) -> Plan {
    let items = items.iter().filter_map(|number| plan.items.get(*number).cloned()).collect();
    Plan { items, ..plan.clone() }
}

fn breaks(plan: &Plan, kind: &str) -> bool {
    run(plan).broken.is_some_and(|broken| self::kind(&broken) == kind)
}

/// The first word of what is wrong.
pub(super) fn kind(broken: &str) -> &str {
    broken.split(':').next().unwrap_or_default()
}
