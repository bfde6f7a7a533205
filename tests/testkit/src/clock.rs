//! A clock that a test can step. It is libfaketime under a PostgreSQL of the test.

use std::{fs, io::Write, os::unix::fs::PermissionsExt, path::PathBuf};

use super::TestDatabase;

/// The clock of one PostgreSQL, as an offset from the real one. Its monotonic clock is not changed.
pub struct TestClock {
    directory: tempfile::TempDir,
}

impl TestClock {
    /// Makes one. `None`, and a line on standard error, if libfaketime is not installed.
    pub async fn new() -> Option<Self> {
        let Some(library) = library() else {
            // `eprintln!` would not do: cargo does not show what a passing test prints.
            let words = "\nSKIPPED: libfaketime is not installed, no database's clock was stepped (apt-get install faketime)\n";
            std::io::stderr().write_all(words.as_bytes()).unwrap();
            return None;
        };
        let database = TestDatabase::new().await;
        let client = database.client().await;
        let sql = "SELECT setting FROM pg_config WHERE name = 'BINDIR'";
        let installed: String = client.query_one(sql, &[]).await.unwrap().get(0);

        let clock = Self { directory: tempfile::tempdir().unwrap() };
        clock.step("+0s");
        let (directory, file) = (clock.directory.path(), clock.directory.path().join("offset"));
        // The account that runs the server must be able to reach it.
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
        for (program, environment) in [
            ("initdb", String::new()),
            (
                "postgres",
                format!(
                    "LD_PRELOAD='{}' FAKETIME_TIMESTAMP_FILE='{}' FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1",
                    library.display(),
                    file.display()
                ),
            ),
        ] {
            let script = format!("#!/bin/sh\nexec env {environment} '{installed}/{program}' \"$@\"\n");
            let path = directory.join(program);
            fs::write(&path, script).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Some(clock)
    }

    /// Where the stepped `postgres` is.
    pub fn binaries(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    /// Sets the clock this far from the real one, such as `-1h`.
    pub fn step(&self, offset: &str) {
        // The file is moved into place, so that nobody reads half of it.
        let (new, file) = (self.directory.path().join("new"), self.directory.path().join("offset"));
        fs::write(&new, offset).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o644)).unwrap();
        fs::rename(&new, &file).unwrap();
    }
}

fn library() -> Option<PathBuf> {
    let directories = fs::read_dir("/usr/lib").ok()?;
    let candidates = directories.flatten().map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"));
    candidates.into_iter().find(|path| path.is_file())
}
