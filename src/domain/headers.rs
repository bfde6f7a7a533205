//! The headers of a message or a webhook: how many there may be, and how long.
//!
//! Names and values are checked by `delivery::check_header`.

use std::collections::{BTreeMap, BTreeSet};

use super::violation::Violations;

/// The most headers of one message, and of one webhook.
pub const HEADERS_MAX: usize = 64;
/// The longest JSON text of the headers of one message, and of one webhook, in bytes: 8 KiB.
///
/// A request carries the headers of both. Its head stays below what common servers accept (16 KiB
/// and more).
pub const HEADERS_BYTES_MAX: usize = 8192;

/// Headers: the name, as it was given, and the value.
pub type Headers = BTreeMap<String, String>;

/// The headers as the JSON text that is stored.
///
/// # Panics
/// Never: a map of strings always has a JSON form.
pub fn headers_json(headers: &Headers) -> String {
    serde_json::to_string(headers).expect("a map of strings always has a JSON form")
}

/// Adds a violation of the field `headers` for each limit that the headers exceed, and of the field
/// `headers.<name>` for each name that stands there before in another case.
pub(super) fn check_headers(headers: Option<&Headers>, violations: &mut Violations) {
    let Some(headers) = headers else { return };
    violations.require(
        headers.len() <= HEADERS_MAX,
        "headers",
        &format!("must be at most {HEADERS_MAX} headers, not {}", headers.len()),
    );
    let length = headers_json(headers).len();
    violations.require(
        length <= HEADERS_BYTES_MAX,
        "headers",
        &format!("must be at most {HEADERS_BYTES_MAX} bytes long as JSON, not {length}"),
    );
    let mut seen = BTreeSet::new();
    for name in headers.keys() {
        if !seen.insert(name.to_ascii_lowercase()) {
            violations
                .add(format!("headers.{name}"), "is given more than once; names are the same in any case");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(headers: &Headers) -> Vec<String> {
        let mut violations = Violations::default();
        check_headers(Some(headers), &mut violations);
        violations.into_vec().into_iter().map(|violation| format!("{violation:?}")).collect()
    }

    fn many(count: usize) -> Headers {
        (0..count).map(|n| (format!("x-{n}"), "v".to_owned())).collect()
    }

    /// One header whose JSON text, `{"x":"…"}`, has this length.
    fn long(length: usize) -> Headers {
        let headers = Headers::from([("x".to_owned(), "v".repeat(length - r#"{"x":""}"#.len()))]);
        assert_eq!(headers_json(&headers).len(), length);
        headers
    }

    #[test]
    fn a_name_stands_only_once_whatever_its_case() {
        let headers = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), String::new())).collect();
        assert_eq!(rules(&headers(&["x-a", "x-b", "X-C"])), [""; 0]);
        let broken = rules(&headers(&["X-A", "x-a", "x-b", "x-A"]));
        assert_eq!(broken.len(), 2, "{broken:?}");
        assert!(broken.iter().all(|rule| rule.contains("more than once")), "{broken:?}");
    }

    #[test]
    fn sixty_four_headers_and_8_kib_are_the_most() {
        for headers in [Headers::new(), many(64), long(8192)] {
            assert_eq!(rules(&headers), [""; 0]);
        }
        let [count] = &rules(&many(65))[..] else { panic!("one rule") };
        assert!(count.contains("at most 64 headers, not 65"), "{count}");
        let [length] = &rules(&long(8193))[..] else { panic!("one rule") };
        assert!(length.contains("at most 8192 bytes long as JSON, not 8193"), "{length}");
        assert_eq!(rules(&many(1000)).len(), 2);
    }
}
