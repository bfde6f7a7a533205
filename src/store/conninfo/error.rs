//! Why a connection string cannot be used.

/// Why a connection string cannot be used.
///
/// No error quotes what stands there: a password that was written wrongly may be anywhere. Only
/// keywords that libpq knows are named.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConninfoError {
    /// It is neither a URL nor a list of keywords and values.
    #[error("{0}")]
    Syntax(&'static str),
    /// A keyword is not one of libpq's.
    #[error("the parameter number {place} is unknown{}", did_you_mean(*near))]
    Unknown {
        /// Which one it is, from 1.
        place: usize,
        /// What may be meant.
        near: Option<&'static str>,
    },
    /// A value cannot be used.
    #[error("{keyword}{}: {rule}", from(*variable))]
    Value {
        /// Its keyword.
        keyword: &'static str,
        /// The environment variable that it came from.
        variable: Option<&'static str>,
        /// What it must be.
        rule: &'static str,
    },
    /// A keyword, or this value of it, is not supported.
    #[error("{keyword}{} is not supported: {remedy}", from(*variable))]
    Unsupported {
        /// The keyword.
        keyword: &'static str,
        /// The environment variable that it came from.
        variable: Option<&'static str>,
        /// What to do instead.
        remedy: &'static str,
    },
    /// Two settings do not go together, or one is missing.
    #[error("{0}")]
    Together(String),
}

fn did_you_mean(near: Option<&'static str>) -> String {
    near.map_or_else(String::new, |near| format!(" (did you mean {near}?)"))
}

fn from(variable: Option<&'static str>) -> String {
    variable.map_or_else(String::new, |variable| format!(" (from {variable})"))
}
