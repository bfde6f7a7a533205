//! Finds the server's binaries. If there are none, says which command installs them.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use super::error::EmbeddedError;

/// Directories that have a subdirectory for each version. Each entry is the directory, the text
/// before the version, and the path below the version.
const VERSIONED: [(&str, &str, &str); 5] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/opt/homebrew/opt", "postgresql@", "bin"),
    ("/usr/local/opt", "postgresql@", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

/// The directory of `postgres` and `initdb`: the one that was asked for; otherwise the one that
/// `pg_config` names, or the newest one in the usual places.
///
/// # Errors
/// [`EmbeddedError::WrongBinaries`] if the one that was asked for has no server,
/// [`EmbeddedError::NotInstalled`] if none is found.
pub(super) fn find(asked: Option<&Path>) -> Result<PathBuf, EmbeddedError> {
    if let Some(asked) = asked {
        let directory = std::path::absolute(asked).unwrap_or_else(|_| asked.to_owned());
        return if is_complete(&directory) {
            Ok(directory)
        } else {
            Err(EmbeddedError::WrongBinaries(directory))
        };
    }
    let mut candidates: Vec<PathBuf> = pg_config().into_iter().collect();
    for (parent, prefix, rest) in VERSIONED {
        candidates.extend(versions(Path::new(parent), prefix).into_iter().map(|found| found.join(rest)));
    }
    candidates.into_iter().find(|directory| is_complete(directory)).ok_or_else(|| {
        EmbeddedError::NotInstalled(install_command(
            std::env::consts::OS,
            &std::fs::read_to_string("/etc/os-release").unwrap_or_default(),
        ))
    })
}

/// Whether a directory holds a server. The one that `pg_config` names may not: `pg_config` often
/// comes with the client library only.
fn is_complete(directory: &Path) -> bool {
    ["postgres", "initdb"].iter().all(|program| directory.join(program).is_file())
}

fn pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim()).filter(|text| !text.is_empty()).map(PathBuf::from)
}

/// The subdirectories that are named after a version, the newest first.
fn versions(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    let mut found: Vec<(Vec<u32>, PathBuf)> =
        entries.filter_map(|entry| Some((version(&entry.file_name(), prefix)?, entry.path()))).collect();
    found.sort_by(|one, other| other.0.cmp(&one.0));
    found.into_iter().map(|(_, path)| path).collect()
}

fn version(name: &OsString, prefix: &str) -> Option<Vec<u32>> {
    let digits = name.to_str()?.strip_prefix(prefix)?;
    digits.split('.').map(|part| part.parse().ok()).collect()
}

/// The command that installs a server on this system.
fn install_command(system: &str, os_release: &str) -> &'static str {
    if system == "macos" {
        return "brew install postgresql@17";
    }
    let words: Vec<&str> = os_release
        .lines()
        .filter_map(|line| line.strip_prefix("ID=").or_else(|| line.strip_prefix("ID_LIKE=")))
        .flat_map(|value| value.trim_matches('"').split_whitespace())
        .collect();
    let is = |names: &[&str]| words.iter().any(|word| names.contains(word));
    if is(&["debian", "ubuntu"]) {
        "sudo apt-get install postgresql"
    } else if is(&["fedora", "rhel", "centos"]) {
        "sudo dnf install postgresql-server"
    } else if is(&["alpine"]) {
        "sudo apk add postgresql"
    } else if is(&["arch"]) {
        "sudo pacman -S postgresql"
    } else if is(&["suse", "opensuse"]) {
        "sudo zypper install postgresql-server"
    } else {
        "your system's package manager (the package is called postgresql or postgresql-server)"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_comes_first() {
        let parent = tempfile::tempdir().unwrap();
        for name in ["pgsql-9.6", "pgsql-17", "pgsql-15", "pgsql-latest", "other"] {
            std::fs::create_dir(parent.path().join(name)).unwrap();
        }
        let found = versions(parent.path(), "pgsql-");
        let names: Vec<_> = found.iter().filter_map(|path| path.file_name()?.to_str()).collect();
        assert_eq!(names, ["pgsql-17", "pgsql-15", "pgsql-9.6"]);
    }

    #[test]
    fn every_system_is_told_its_own_line() {
        let debian = "PRETTY_NAME=\"Debian\"\nID=debian\n";
        assert!(install_command("linux", debian).starts_with("sudo apt-get"));
        let mint = "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n";
        assert!(install_command("linux", mint).starts_with("sudo apt-get"));
        assert!(install_command("linux", "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"").contains("dnf"));
        assert!(install_command("macos", "").starts_with("brew"));
        assert!(install_command("linux", "").contains("package manager"));
    }

    #[test]
    fn a_directory_without_a_server_is_refused() {
        let empty = tempfile::tempdir().unwrap();
        assert!(matches!(find(Some(empty.path())), Err(EmbeddedError::WrongBinaries(_))));
    }
}
