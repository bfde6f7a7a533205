//! Integers in bodies, and numbers, times and truth values in query strings.

use std::fmt;

use jiff::Timestamp;
use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

const MUST_BE_AN_INTEGER: &str = "must be an integer";

/// An integer. JSON may write it with a point or an exponent: 7, 7.0, 7e0. One that is out of the
/// type's range becomes the nearest one within. The rule of the field then says what its range is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Whole<T>(pub(crate) T);

impl<'de, T: Saturate> Deserialize<'de> for Whole<T> {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        value.deserialize_i64(WholeVisitor).map(|number| Self(T::saturate(number)))
    }
}

/// An integer type, and how a larger one is put into it.
pub(crate) trait Saturate {
    /// The nearest number of this type.
    fn saturate(number: i64) -> Self;
}

impl Saturate for i64 {
    fn saturate(number: i64) -> Self {
        number
    }
}

impl Saturate for i32 {
    fn saturate(number: i64) -> Self {
        Self::try_from(number).unwrap_or(if number < 0 { Self::MIN } else { Self::MAX })
    }
}

struct WholeVisitor;

impl Visitor<'_> for WholeVisitor {
    type Value = i64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<i64, E> {
        Ok(number)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<i64, E> {
        Ok(i64::try_from(number).unwrap_or(i64::MAX))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<i64, E> {
        if number.fract() != 0.0 {
            return Err(E::custom(MUST_BE_AN_INTEGER));
        }
        #[expect(clippy::cast_possible_truncation, reason = "`as` gives the nearest integer")]
        Ok(number as i64)
    }
}

/// Reads an integer of a query string.
pub(super) fn query_integer<'de, D: Deserializer<'de>>(value: D) -> Result<Option<i64>, D::Error> {
    let text = String::deserialize(value)?;
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (i64::MIN, digits),
        None => (i64::MAX, text.as_str()),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(D::Error::custom(MUST_BE_AN_INTEGER));
    }
    Ok(Some(text.parse().unwrap_or(sign)))
}

/// Reads a time of a query string.
pub(super) fn query_time<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Timestamp>, D::Error> {
    let text = String::deserialize(value)?;
    text.parse()
        .map(Some)
        .map_err(|_| D::Error::custom("must be a time as in RFC 3339, such as 2026-01-31T12:00:00Z"))
}

/// Reads a truth value of a query string.
pub(super) fn query_boolean<'de, D: Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    match String::deserialize(value)?.as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(D::Error::custom("must be true or false")),
    }
}
