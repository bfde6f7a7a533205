//! Headers as arguments.

use super::CliError;
use crate::domain::headers::Headers;

/// Reads a header as an argument.
pub(super) fn header_argument(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("must be name=value".to_owned()),
    }
}

/// The headers of all arguments; `None` if there is none.
///
/// # Errors
/// [`CliError::Usage`] if a name stands twice.
pub(super) fn headers(arguments: Vec<(String, String)>) -> Result<Option<Headers>, CliError> {
    let mut headers = Headers::new();
    for (name, value) in arguments {
        if headers.contains_key(&name) {
            return Err(CliError::Usage(format!("--header gives {name:?} more than once")));
        }
        headers.insert(name, value);
    }
    Ok(Some(headers).filter(|headers| !headers.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_a_name_and_a_value() {
        assert_eq!(header_argument("x-a=b=c"), Ok(("x-a".to_owned(), "b=c".to_owned())));
        assert_eq!(header_argument("x-a="), Ok(("x-a".to_owned(), String::new())));
        for text in ["x-a", "=b", ""] {
            assert!(header_argument(text).is_err(), "{text:?}");
        }
        let twice = vec![header_argument("x=1").unwrap(), header_argument("x=2").unwrap()];
        assert!(headers(twice).is_err());
        assert_eq!(headers(Vec::new()), Ok(None));
    }
}
