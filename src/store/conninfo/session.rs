//! `target_session_attrs`: which of several servers is wanted.

/// `target_session_attrs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TargetSession {
    /// Any server.
    Any,
    /// One whose sessions may write.
    ReadWrite,
    /// One whose sessions may not write.
    ReadOnly,
    /// One that is no standby.
    Primary,
    /// A standby.
    Standby,
    /// A standby, or any other if no standby answers.
    PreferStandby,
}

/// What a server says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ServerState {
    /// It follows a primary.
    pub(crate) standby: bool,
    /// Its sessions begin read-only.
    pub(crate) read_only: bool,
}

pub(super) const WORDS: [(&str, TargetSession); 6] = [
    ("any", TargetSession::Any),
    ("read-write", TargetSession::ReadWrite),
    ("read-only", TargetSession::ReadOnly),
    ("primary", TargetSession::Primary),
    ("standby", TargetSession::Standby),
    ("prefer-standby", TargetSession::PreferStandby),
];

impl TargetSession {
    /// What is asked for in each round over the hosts.
    pub(crate) fn rounds(self) -> &'static [Self] {
        match self {
            Self::Any => &[Self::Any],
            Self::ReadWrite => &[Self::ReadWrite],
            Self::ReadOnly => &[Self::ReadOnly],
            Self::Primary => &[Self::Primary],
            Self::Standby => &[Self::Standby],
            Self::PreferStandby => &[Self::Standby, Self::Any],
        }
    }

    /// Why a server is not the one; `None` if it is.
    pub(crate) fn refuses(self, server: ServerState) -> Option<&'static str> {
        let ServerState { standby, read_only } = server;
        match self {
            Self::ReadWrite if standby => Some("it is a standby, and target_session_attrs is read-write"),
            Self::ReadWrite if read_only => {
                Some("its sessions are read-only, and target_session_attrs is read-write")
            }
            Self::ReadOnly if !standby && !read_only => {
                Some("its sessions may write, and target_session_attrs is read-only")
            }
            Self::Primary if standby => Some("it is a standby, and target_session_attrs is primary"),
            Self::Standby if !standby => Some("it is no standby, and target_session_attrs is standby"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_takes_the_servers_that_libpq_takes() {
        let servers = [(false, false), (false, true), (true, true)]
            .map(|(standby, read_only)| ServerState { standby, read_only });
        for (target, taken) in [
            (TargetSession::Any, [true, true, true]),
            (TargetSession::ReadWrite, [true, false, false]),
            (TargetSession::ReadOnly, [false, true, true]),
            (TargetSession::Primary, [true, true, false]),
            (TargetSession::Standby, [false, false, true]),
            (TargetSession::PreferStandby, [true, true, true]),
        ] {
            assert_eq!(servers.map(|server| target.refuses(server).is_none()), taken, "{target:?}");
        }
        assert_eq!(TargetSession::PreferStandby.rounds(), [TargetSession::Standby, TargetSession::Any]);
    }
}
