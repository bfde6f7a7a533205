//! Roles, and what each may do.

/// What the bearer of a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Everything.
    Admin,
    /// Reads everything, pauses, resumes, replays, discards and the like.
    Operate,
    /// Publishes messages, and reads nothing.
    Publish,
    /// Reads everything but payloads.
    Read,
    /// Reads everything.
    ReadPayloads,
}

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    /// Reads only what is public: health and the description of the API.
    Open,
    /// Reads.
    Read,
    /// Publishes messages.
    Publish,
    /// Pauses, resumes, replays, discards and the like.
    Operate,
    /// Creates, changes, deletes.
    Administer,
}

impl Role {
    /// All of them.
    pub(super) const ALL: [Self; 5] =
        [Self::Admin, Self::Operate, Self::Publish, Self::Read, Self::ReadPayloads];

    /// The word in the settings.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operate => "operate",
            Self::Publish => "publish",
            Self::Read => "read",
            Self::ReadPayloads => "read-payloads",
        }
    }

    /// The role of a word; `None` if the word is unknown.
    pub(super) fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }

    /// Whether it has the right.
    pub(super) fn may(self, right: Right) -> bool {
        match right {
            Right::Open => true,
            Right::Read => self != Self::Publish,
            Right::Publish => matches!(self, Self::Admin | Self::Publish),
            Right::Operate => matches!(self, Self::Admin | Self::Operate),
            Right::Administer => self == Self::Admin,
        }
    }

    /// Whether it is shown payloads, and what may repeat a part of one.
    pub(super) fn sees_payloads(self) -> bool {
        matches!(self, Self::Admin | Self::Operate | Self::ReadPayloads)
    }
}
