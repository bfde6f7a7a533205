//! Types of messages, and which of them a webhook is owed.

use std::ops::RangeInclusive;

use super::{
    key::{TYPE_MAX, check_key},
    violation::Violations,
};

/// How many types a webhook may name.
pub const TYPES: RangeInclusive<i32> = 1..=100;

/// Adds a violation of `type` for each rule that the type of a message breaks.
pub(super) fn check_type(r#type: Option<&str>, violations: &mut Violations) {
    check_key(r#type, "type", TYPE_MAX, violations);
}

/// Adds a violation of `types` for each rule that the types of a webhook break. Each is the type of
/// a message, or a start of types followed by `*`.
pub(super) fn check_types(types: Option<&[String]>, violations: &mut Violations) {
    let Some(types) = types else { return };
    let count = i32::try_from(types.len()).unwrap_or(i32::MAX);
    violations.require(
        TYPES.contains(&count),
        "types",
        &format!("must be {} to {} types, or null for every message", TYPES.start(), TYPES.end()),
    );
    violations.require(
        types.iter().all(|name| is_type_or_start(name)),
        "types",
        &format!("must be texts of 1 to {TYPE_MAX} bytes, with a * only at the end"),
    );
}

fn is_type_or_start(name: &str) -> bool {
    let start = name.strip_suffix('*').unwrap_or(name);
    (1..=TYPE_MAX).contains(&name.len()) && !start.contains(['*', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(types: &[&str]) -> bool {
        let types: Vec<String> = types.iter().map(|name| (*name).to_owned()).collect();
        let mut violations = Violations::default();
        check_types(Some(&types), &mut violations);
        violations.finish().is_ok()
    }

    #[test]
    fn types_are_exact_or_end_in_a_star() {
        let (longest, too_long) = ("x".repeat(TYPE_MAX), "x".repeat(TYPE_MAX + 1));
        for types in [&["order.paid"][..], &["order.*", "*"], &["a b", "\u{fc}"], &[&longest], &["a"; 100]] {
            assert!(holds(types), "{types:?}");
        }
        for types in [&[][..], &[""], &["order.*.eu"], &["**"], &["a\0"], &["a", &too_long], &["a"; 101]] {
            assert!(!holds(types), "{types:?}");
        }
    }
}
