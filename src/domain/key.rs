//! Partition keys and idempotency keys: how long they may be.

use super::violation::Violations;

/// The longest partition key, in bytes.
pub const PARTITION_KEY_MAX: usize = 1024;
/// The longest type of a message, and the longest of a webhook's types, in bytes.
pub const TYPE_MAX: usize = 255;
/// The key of messages that are published without one, as the column's default has it.
pub const PARTITION_KEY_DEFAULT: &str = "default";
/// The longest idempotency key, in bytes.
pub const IDEMPOTENCY_KEY_MAX: usize = 255;

/// Adds a violation of `field` for each rule of keys that the key breaks.
pub fn check_key(key: Option<&str>, field: &str, max: usize, violations: &mut Violations) {
    let Some(key) = key else { return };
    violations.require((1..=max).contains(&key.len()), field, &format!("must be 1 to {max} bytes long"));
    violations.require(!key.contains('\0'), field, "must not hold the character U+0000");
}
