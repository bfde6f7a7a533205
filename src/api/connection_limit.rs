//! How many connections the API may hold, so that descriptors are left for the rest of the process.

use nix::sys::resource::{Resource, getrlimit};

/// How many descriptors are left for the rest of a process that does not say what it needs.
pub(super) const RESERVE: usize = 64;
/// How many connections there may be at least, however few descriptors there are.
const LEAST: usize = 16;
/// How many connections there may be at most, if the settings do not say.
const MOST: usize = 4096;

/// How many connections the API may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ConnectionLimit(usize);

impl ConnectionLimit {
    /// The limit of the settings (0: none is set), or else what the process's limit of open files
    /// permits beside `reserved` descriptors. Logs if that limit is too low.
    pub(super) fn of(configured: usize, reserved: usize) -> Self {
        // An error means that the system does not limit them.
        let open_files = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft);
        let limit = Self::from(configured, reserved, open_files);
        if (limit.0 + reserved) as u64 > open_files {
            tracing::warn!(
                open_files,
                needed = limit.0 + reserved,
                connections = limit.0,
                "this process may open too few files: raise its limit (ulimit -n, LimitNOFILE=), or lower api.max_connections"
            );
        }
        limit
    }

    fn from(configured: usize, reserved: usize, open_files: u64) -> Self {
        if configured > 0 {
            return Self(configured);
        }
        let free = usize::try_from(open_files).unwrap_or(usize::MAX).saturating_sub(reserved);
        Self(free.clamp(LEAST, MOST))
    }

    /// The number.
    pub(super) fn most(self) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reserved_stays_free() {
        for (configured, reserved, open_files, expected) in [
            (0, 173, 256, 83),
            (0, 173, 1024, 851),
            (0, 173, 1_048_576, 4096),
            (0, 173, u64::MAX, 4096),
            (0, 173, 100, 16),
            (7, 173, 256, 7),
            (9000, 173, 256, 9000),
        ] {
            assert_eq!(ConnectionLimit::from(configured, reserved, open_files).most(), expected);
        }
    }
}
