//! What NOTIFY sends.

/// A notification of the schema's channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Notification {
    /// A message, and its stripe if it has one.
    Message(i64, Option<i32>),
    /// More messages than a transaction names.
    More,
    /// A webhook or a topic has changed.
    Webhooks,
}

impl Notification {
    /// The payload.
    pub(crate) fn text(self) -> String {
        match self {
            Self::Message(id, Some(stripe)) => format!("{id} {stripe}"),
            Self::Message(id, None) => id.to_string(),
            Self::More => "more".to_owned(),
            Self::Webhooks => "webhooks".to_owned(),
        }
    }
}
