//! The password file: `~/.pgpass`.

use std::{fs, path::Path};

/// What a password is looked up by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    /// The host as it was given; `localhost` for the usual socket.
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    pub(crate) dbname: &'a str,
    pub(crate) user: &'a str,
}

/// The password of the first line that fits.
pub(crate) fn find(text: &str, entry: Entry<'_>) -> Option<String> {
    let port = entry.port.to_string();
    let wanted = [entry.host, &port, entry.dbname, entry.user];
    text.lines().map(str::trim_end).filter(|line| !line.starts_with('#')).find_map(|line| {
        let mut rest = line;
        for wanted in wanted {
            let (field, after) = field(rest)?;
            if field != "*" && unescape(field) != wanted {
                return None;
            }
            rest = after;
        }
        Some(unescape(rest)).filter(|password| !password.is_empty())
    })
}

/// The part before the next `:`, and what comes after it.
fn field(text: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ':' => return Some((&text[..at], &text[at + 1..])),
            _ => {}
        }
    }
    None
}

fn unescape(text: &str) -> String {
    let mut characters = text.chars();
    let mut plain = String::with_capacity(text.len());
    while let Some(character) = characters.next() {
        plain.push(if character == '\\' { characters.next().unwrap_or('\\') } else { character });
    }
    plain
}

/// The text of a password file; `None` if there is none. `Err` says why the file is not used.
pub(crate) fn read(path: &Path) -> Result<Option<String>, String> {
    use std::os::unix::fs::PermissionsExt as _;
    let Ok(found) = fs::metadata(path) else { return Ok(None) };
    if !found.is_file() {
        return Err("it is no plain file".to_owned());
    }
    if found.permissions().mode() & 0o077 != 0 {
        return Err(format!("others may read it; run: chmod 600 {}", path.display()));
    }
    fs::read_to_string(path).map(Some).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# comment\nlocalhost:5432:*:postgres:first\r\ndb:*:app:o\\:p:it\\\\s:x\n*:*:*:app:last\n*:*:*:none:\n";

    fn of(host: &str, dbname: &str, user: &str) -> Option<String> {
        find(FILE, Entry { host, port: 5432, dbname, user })
    }

    #[test]
    fn the_first_line_that_fits_counts() {
        assert_eq!(of("localhost", "x", "postgres").as_deref(), Some("first"));
        assert_eq!(of("db", "app", "o:p").as_deref(), Some("it\\s:x"));
        assert_eq!(of("db", "other", "o:p"), None);
        assert_eq!(of("anywhere", "x", "app").as_deref(), Some("last"));
        assert_eq!(of("anywhere", "x", "none"), None);
    }

    #[test]
    fn a_file_that_others_may_read_is_not_used() {
        use std::os::unix::fs::PermissionsExt as _;
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), FILE).unwrap();
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(read(file.path()).unwrap_err().contains("chmod 600"));
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read(file.path()).unwrap().as_deref(), Some(FILE));
        assert_eq!(read(Path::new("/nowhere/at/all")), Ok(None));
    }
}
