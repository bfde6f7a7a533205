//! The `traceparent` header: W3C Trace Context, level 1
//! (<https://www.w3.org/TR/trace-context/#traceparent-header>).

/// The length of a `traceparent` of version 00. Later versions may only append.
const LENGTH: usize = 55;

/// Whether a value is a `traceparent` that a receiver can continue.
pub(super) fn is_valid(value: &str) -> bool {
    let Some(head) = value.get(..LENGTH) else { return false };
    let mut fields = head.split('-');
    let mut field = |length: usize| {
        fields.next().filter(|field| {
            field.len() == length && field.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        })
    };
    let (Some(version), Some(trace), Some(parent), Some(_flags)) = (field(2), field(32), field(16), field(2))
    else {
        return false;
    };
    let rest = &value[LENGTH..];
    let rest_fits = rest.is_empty() || (version != "00" && rest.starts_with('-'));
    let all_zero = |field: &str| field.bytes().all(|byte| byte == b'0');
    version != "ff" && rest_fits && !all_zero(trace) && !all_zero(parent)
}

/// A `traceparent` of a new trace. It is not marked as sampled: the receiver decides whether to
/// record it.
pub(super) fn generate() -> String {
    // The lowest bit is set, because an identifier of zeros only is not valid.
    let trace = rand::random::<u128>() | 1;
    let parent = rand::random::<u64>() | 1;
    format!("00-{trace:032x}-{parent:016x}-00")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn accepts_what_the_specification_shows() {
        assert!(is_valid("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
        assert!(is_valid("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-brings"));
    }

    #[test]
    fn refuses_the_rest() {
        for value in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736000f067aa0ba902b7-01",
        ] {
            assert!(!is_valid(value), "{value}");
        }
    }

    proptest! {
        #[test]
        fn what_is_generated_is_valid_and_new(_round in 0..50u8) {
            let value = generate();
            prop_assert!(is_valid(&value), "{}", value);
            prop_assert_ne!(value, generate());
        }

        #[test]
        fn never_panics(value in "\\PC{0,80}") {
            is_valid(&value);
        }
    }
}
