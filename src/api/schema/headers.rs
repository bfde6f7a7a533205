//! The headers of a message or a webhook in a body: an object of texts in which no name stands twice.
//!
//! The names are compared as they stand. That two names differ only in case is found later, where
//! all rules of headers are checked.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};

/// Reads an object of texts, or null.
///
/// # Errors
/// If a name stands twice. Otherwise the second value would replace the first without a word.
pub(super) fn headers<'de, D: Deserializer<'de>>(
    field: D,
) -> Result<Option<BTreeMap<String, String>>, D::Error> {
    Ok(Option::<Unique>::deserialize(field)?.map(|Unique(headers)| headers))
}

struct Unique(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        value.deserialize_map(UniqueVisitor)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Unique;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object whose values are texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Unique, A::Error> {
        let mut headers = BTreeMap::new();
        while let Some((name, value)) = members.next_entry::<String, String>()? {
            if headers.contains_key(&name) {
                return Err(A::Error::custom(format!("must not give the header {name:?} more than once")));
            }
            headers.insert(name, value);
        }
        Ok(Unique(headers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Body {
        #[serde(default, deserialize_with = "headers")]
        headers: Option<BTreeMap<String, String>>,
    }

    fn read(text: &str) -> Result<Option<BTreeMap<String, String>>, String> {
        serde_json::from_str::<Body>(text).map(|body| body.headers).map_err(|error| error.to_string())
    }

    #[test]
    fn an_object_of_texts_is_read() {
        assert_eq!(read("{}"), Ok(None));
        assert_eq!(read(r#"{"headers":null}"#), Ok(None));
        assert_eq!(read(r#"{"headers":{}}"#), Ok(Some(BTreeMap::new())));
        let two = [("X-A", "1"), ("x-a", "2")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(read(r#"{"headers":{"x-a":"2","X-A":"1"}}"#), Ok(Some(two.into())));
    }

    #[test]
    fn anything_else_is_refused_with_the_reason() {
        let error = read(r#"{"headers":{"x-a":"1","x-b":"","x-a":"1"}}"#).unwrap_err();
        assert!(error.starts_with("must not give the header \"x-a\" more than once"), "{error}");
        for text in
            [r#"{"headers":{"x":1}}"#, r#"{"headers":{"x":null}}"#, r#"{"headers":[]}"#, r#"{"headers":"x"}"#]
        {
            read(text).unwrap_err();
        }
    }
}
