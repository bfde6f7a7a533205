//! Words of a closed set as arguments.

use clap::builder::{PossibleValuesParser, TypedValueParser};

/// Reads one of the words of `all`. `--help` and errors list them.
pub(super) fn word<T: Copy + Clone + Send + Sync + 'static, const N: usize>(
    all: [T; N],
    as_str: fn(T) -> &'static str,
    parse: fn(&str) -> Option<T>,
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(all.map(as_str)).try_map(move |word| parse(&word).ok_or("is no such word"))
}
