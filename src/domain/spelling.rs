//! The word that somebody may have meant by one that is none.

/// How many letters of a word are not those of a known one, whatever its case; `None` if it is
/// another word altogether.
pub fn errors(given: &str, known: &str) -> Option<usize> {
    let errors = strsim::damerau_levenshtein(&given.to_lowercase(), known);
    (errors <= (known.len() / 5).max(2) && errors * 2 < known.len()).then_some(errors)
}

/// The known word that is nearest; `None` if none is near.
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = known.into_iter().filter_map(|known| Some((errors(given, known)?, known)));
    near.min().map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_letters_and_less_than_half_of_a_word_may_be_wrong() {
        for (given, known, expected) in [
            ("Inof", "info", Some(1)),
            ("deliverys", "deliveries", Some(2)),
            ("ife", "info", None),
            ("ur", "url", Some(1)),
            ("u", "url", None),
            ("delivery.max_backof_secs", "delivery.max_backoff_seconds", Some(4)),
        ] {
            assert_eq!(errors(given, known), expected, "{given}");
        }
        assert_eq!(nearest("debugg", ["debug", "trace"]), Some("debug"));
        assert_eq!(nearest("loud", ["debug", "trace"]), None);
    }
}
