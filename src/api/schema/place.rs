//! Places in a topic: the id of a message, or a time.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

use crate::domain::range;

/// A place in the messages: the id of a message, or a time (RFC 3339).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Point(range::Point);

impl From<Point> for range::Point {
    fn from(point: Point) -> Self {
        point.0
    }
}

/// Where a new webhook begins: `now`, `beginning`, the id of a message, or a time (RFC 3339).
#[derive(Debug, Clone, Copy)]
pub(crate) struct StartFrom(range::StartFrom);

impl From<StartFrom> for range::StartFrom {
    fn from(start: StartFrom) -> Self {
        start.0
    }
}

/// Reads an id or a time. A number is an id, and so is a text of digits.
pub(crate) fn parse_point(text: &str) -> Option<range::Point> {
    let id = text.parse().ok().map(range::Point::Id);
    id.or_else(|| text.parse().ok().map(range::Point::Time))
}

/// Reads where a new webhook begins.
pub(crate) fn parse_start(text: &str) -> Option<range::StartFrom> {
    match text {
        "now" => Some(range::StartFrom::Now),
        "beginning" => Some(range::StartFrom::Beginning),
        text => parse_point(text).map(range::StartFrom::At),
    }
}

/// Reads a text or an integer, which means the same as its digits.
struct PlaceVisitor<T> {
    rule: &'static str,
    parse: fn(&str) -> Option<T>,
}

impl<T> Visitor<'_> for PlaceVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rule)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).ok_or_else(|| E::custom(format_args!("must be {}", self.rule)))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}

impl<'de> Deserialize<'de> for Point {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        let rule = "the id of a message, or a time such as 2026-11-24T00:00:00Z";
        value.deserialize_any(PlaceVisitor { rule, parse: parse_point }).map(Self)
    }
}

impl<'de> Deserialize<'de> for StartFrom {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        let rule = "now, beginning, the id of a message, or a time such as 2026-11-24T00:00:00Z";
        value.deserialize_any(PlaceVisitor { rule, parse: parse_start }).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_an_id_or_a_time() {
        let read = |json: &str| serde_json::from_str::<Point>(json).map(|point| point.0).ok();
        assert_eq!(read("7"), Some(range::Point::Id(7)));
        assert_eq!(read("\"7\""), Some(range::Point::Id(7)));
        assert!(matches!(read("\"2026-11-24T00:00:00+01:00\""), Some(range::Point::Time(_))));
        for bad in ["\"now\"", "\"yesterday\"", "\"2026-11-24\"", "true", "7.5", "{}", "99999999999999999999"]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
        let start = |json: &str| serde_json::from_str::<StartFrom>(json).map(|start| start.0).ok();
        assert_eq!(start("\"beginning\""), Some(range::StartFrom::Beginning));
        assert_eq!(start("\"now\""), Some(range::StartFrom::Now));
        assert_eq!(start("5"), Some(range::StartFrom::At(range::Point::Id(5))));
    }
}
