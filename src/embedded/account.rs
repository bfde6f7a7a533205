//! The account that runs the server: PostgreSQL refuses to run as root.

use std::{
    os::unix::{fs::chown, process::CommandExt},
    path::Path,
    process::Command,
};

use nix::unistd::{Uid, User};

use super::error::EmbeddedError;

/// The account that runs the server if this process runs as root.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) uid: u32,
    gid: u32,
}

impl Account {
    /// The account for the server: `postgres`, or `nobody` if there is no `postgres`. `None` if
    /// this process does not run as root: then the server runs as the same user.
    ///
    /// # Errors
    /// [`EmbeddedError::System`] if neither account exists.
    pub(super) fn for_server() -> Result<Option<Self>, EmbeddedError> {
        if !Uid::effective().is_root() {
            return Ok(None);
        }
        for name in ["postgres", "nobody"] {
            let user = User::from_name(name)
                .map_err(|error| EmbeddedError::System("cannot look up accounts", error.into()))?;
            if let Some(user) = user {
                return Ok(Some(Self { uid: user.uid.as_raw(), gid: user.gid.as_raw() }));
            }
        }
        let reason = std::io::Error::other("neither \"postgres\" nor \"nobody\" exists");
        Err(EmbeddedError::System("PostgreSQL does not run as root, and no account can run it", reason))
    }

    /// Makes the account the owner of a file or directory.
    pub(super) fn own(&self, path: &Path) -> std::io::Result<()> {
        chown(path, Some(self.uid), Some(self.gid))
    }

    /// Makes a command run as the account.
    pub(super) fn run(&self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }
}

/// The user id that must own the server's files: the account's, or this process's.
pub(super) fn owner(account: Option<&Account>) -> u32 {
    account.map_or_else(|| Uid::effective().as_raw(), |account| account.uid)
}

/// Prepares a command of PostgreSQL. It runs as the account. It has its own process group, so that
/// Ctrl-C at the terminal does not reach it. Its working directory is `/`, which never goes away.
/// It gets no `PG…` variable of the caller's environment.
pub(super) fn prepare(command: &mut Command, account: Option<&Account>) {
    if let Some(account) = account {
        account.run(command);
    }
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
    command.env("LC_ALL", "C").process_group(0).current_dir("/");
}
