//! The home directory of a server: its owner, its lock, its contents.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use postgresql_commands::{CommandBuilder, initdb::InitDbBuilder};
use rand::Rng;
use tempfile::TempDir;

use super::{
    account::{Account, owner, prepare},
    error::EmbeddedError,
};

/// The longest directory of a socket, in bytes. On every system the path of a Unix socket may have
/// 103 bytes, and PostgreSQL appends the socket's name to the directory.
const SOCKET_DIR_MAX: usize = 103 - "/.s.PGSQL.65535".len();

/// A home directory that is open. No other process can open it meanwhile.
pub(super) struct Home {
    path: PathBuf,
    temporary: Option<TempDir>,
    /// The directory of the socket, if the home's path is too long for it.
    short: Option<TempDir>,
    password: String,
    _lock: File,
}

impl Home {
    /// Opens the directory `asked`, and makes it if there is none. `None`: makes a temporary
    /// directory.
    pub(super) fn open(asked: Option<&Path>, account: Option<&Account>) -> Result<Self, EmbeddedError> {
        let temporary = match asked {
            Some(_) => None,
            None => Some(temporary_dir(account)?),
        };
        let path = match (asked, &temporary) {
            (Some(asked), _) => std::path::absolute(asked)
                .map_err(|error| EmbeddedError::System("no working directory", error))?,
            (None, Some(temporary)) => temporary.path().to_owned(),
            (None, None) => unreachable!("one of the two was just made"),
        };
        let failed = |reason: String| EmbeddedError::Directory { path: path.clone(), reason };
        make_own(&path, account).map_err(|error| failed(error.to_string()))?;
        let lock = lock(&path).map_err(|error| failed(error.to_string()))?;
        let password = password(&path, account).map_err(|error| failed(format!("password: {error}")))?;
        let short =
            if path.as_os_str().len() > SOCKET_DIR_MAX { Some(temporary_dir(account)?) } else { None };
        Ok(Self { path, temporary, short, password, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn is_temporary(&self) -> bool {
        self.temporary.is_some()
    }

    pub(super) fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.path.join("server.log")
    }

    pub(super) fn socket_dir(&self) -> &Path {
        self.short.as_ref().map_or(&self.path, TempDir::path)
    }

    pub(super) fn password(&self) -> &str {
        &self.password
    }

    /// Puts the cluster aside: renames it to `data.old`. A cluster that was put aside before is
    /// deleted. Returns the new path.
    pub(super) fn put_aside(&self) -> Result<PathBuf, EmbeddedError> {
        let aside = self.path.join("data.old");
        match fs::remove_dir_all(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(EmbeddedError::System(
                    "cannot remove the cluster that was put aside before",
                    error,
                ));
            }
            _ => {}
        }
        fs::rename(self.data(), &aside)
            .map_err(|error| EmbeddedError::System("cannot put the cluster aside", error))?;
        Ok(aside)
    }

    /// Makes the cluster if there is none. A cluster that exists is complete: it is made as
    /// `data.new` and gets its name last.
    pub(super) async fn init(
        &self,
        binaries: &Path,
        account: Option<&Account>,
        durable: bool,
    ) -> Result<(), EmbeddedError> {
        let data = self.data();
        if data.join("PG_VERSION").exists() {
            return Ok(());
        }
        let unfinished = self.path.join("data.new");
        match fs::remove_dir_all(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(EmbeddedError::System("cannot remove an unfinished cluster", error));
            }
            _ => {}
        }
        let mut builder = InitDbBuilder::new()
            .program_dir(binaries)
            .pgdata(&unfinished)
            .username("postgres")
            .pwfile(self.path.join("password"))
            // Other users cannot reach the socket's directory, but they can reach a port.
            .auth_local("trust")
            .auth_host("scram-sha-256")
            .encoding("UTF8")
            .no_locale()
            .no_instructions();
        if !durable {
            builder = builder.no_sync();
        }
        let mut command = builder.build();
        prepare(&mut command, account);
        let output = tokio::process::Command::from(command)
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|error| EmbeddedError::System("cannot run initdb", error))?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            let reason: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
            let mut reason = reason.join("; ");
            if let Some(account) = account
                && reason.contains("Permission denied")
            {
                // Mostly the directory is below root's home, which is closed to everybody else.
                let hint =
                    format!("; user {} runs the server and must be able to reach the directory", account.uid);
                reason.push_str(&hint);
            }
            return Err(EmbeddedError::Init(reason));
        }
        fs::rename(&unfinished, &data)
            .map_err(|error| EmbeddedError::System("cannot name the cluster", error))
    }
}

/// A temporary directory with a short path that is closed to other users.
fn temporary_dir(account: Option<&Account>) -> Result<TempDir, EmbeddedError> {
    let failed = |error| EmbeddedError::System("no temporary directory", error);
    let directory = tempfile::Builder::new().prefix("pgtopic-").tempdir().map_err(failed)?;
    if let Some(account) = account {
        account.own(directory.path()).map_err(failed)?;
    }
    Ok(directory)
}

/// Makes the directory if there is none, and checks that it is ours. A directory that holds
/// something else is never changed.
fn make_own(path: &Path, account: Option<&Account>) -> io::Result<()> {
    // The directory is closed to others from the start. The directories above it stay open: the
    // account must be able to pass through them.
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let empty = fs::read_dir(path)?.next().is_none();
    if empty {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        if let Some(account) = account {
            account.own(path)?;
        }
        return Ok(());
    }
    if !path.join("lock").is_file() {
        return Err(io::Error::other("is not empty, and pgtopic did not make it; choose another directory"));
    }
    let found = fs::metadata(path)?.uid();
    let wanted = owner(account);
    if found != wanted {
        return Err(io::Error::other(format!(
            "belongs to user {found}, and the server would run as user {wanted}; choose another directory"
        )));
    }
    Ok(())
}

/// Locks the home. The lock ends with the process, however the process ends.
fn lock(path: &Path) -> io::Result<File> {
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(io::Error::other("is in use by another pgtopic")),
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

/// The superuser's password for TCP. It is made once, before the cluster.
fn password(path: &Path, account: Option<&Account>) -> io::Result<String> {
    let file = path.join("password");
    match fs::read_to_string(&file) {
        Ok(password) if !password.is_empty() => return Ok(password),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let password: String =
        rand::rng().sample_iter(rand::distr::Alphanumeric).take(32).map(char::from).collect();
    OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&file)?
        .write_all(password.as_bytes())?;
    if let Some(account) = account {
        account.own(&file)?;
    }
    Ok(password)
}
