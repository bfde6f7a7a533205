//! What a command reads: files, and standard input.

use std::{
    ffi::OsString,
    fmt,
    io::{IsTerminal, stdin},
    path::PathBuf,
};

use tokio::io::{AsyncRead, AsyncReadExt};

use super::CliError;

/// The longest payload, and the longest line of NDJSON, in bytes.
pub(super) const PAYLOAD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Where to read from. `-` is standard input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Input {
    /// Standard input.
    Standard,
    /// A file.
    File(PathBuf),
}

impl From<OsString> for Input {
    fn from(text: OsString) -> Self {
        if text == "-" { Self::Standard } else { Self::File(text.into()) }
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard => f.write_str("standard input"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Input {
    /// Opens it. Also gives its length, if it is a regular file.
    pub(super) async fn open(&self) -> Result<(Box<dyn AsyncRead + Unpin>, Option<u64>), CliError> {
        match self {
            Self::Standard => Ok((Box::new(tokio::io::stdin()), None)),
            Self::File(path) => {
                let file = tokio::fs::File::open(path).await.map_err(|error| self.unreadable(&error))?;
                let about = file.metadata().await.map_err(|error| self.unreadable(&error))?;
                Ok((Box::new(file), about.is_file().then_some(about.len())))
            }
        }
    }

    /// Reads all of it.
    ///
    /// # Errors
    /// [`CliError::Usage`] if it cannot be read, or has more than `limit` bytes.
    pub(super) async fn read(&self, limit: usize) -> Result<Vec<u8>, CliError> {
        let (input, _) = self.open().await?;
        let mut bytes = Vec::new();
        input
            .take(limit as u64 + 1)
            .read_to_end(&mut bytes)
            .await
            .map_err(|error| self.unreadable(&error))?;
        if bytes.len() > limit {
            return Err(CliError::Usage(format!("{self} has more than {limit} bytes")));
        }
        Ok(bytes)
    }

    /// Reads all of it as text, without the end of the last line.
    ///
    /// # Errors
    /// As [`Self::read`]. Also if it is not UTF-8.
    pub(super) async fn read_text(&self, limit: usize) -> Result<String, CliError> {
        let text = String::from_utf8(self.read(limit).await?)
            .map_err(|_| CliError::Usage(format!("{self} is not UTF-8")))?;
        Ok(text.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// Checks that it is not the keyboard: nobody would know that the command waits for it.
    ///
    /// # Errors
    /// [`CliError::Usage`] with `advice`.
    pub(super) fn check_not_typed(&self, advice: &str) -> Result<(), CliError> {
        let is_typed = *self == Self::Standard && stdin().is_terminal();
        if is_typed { Err(CliError::Usage(advice.to_owned())) } else { Ok(()) }
    }

    /// It cannot be read.
    pub(super) fn unreadable(&self, error: &std::io::Error) -> CliError {
        CliError::Usage(format!("cannot read {self}: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_read_up_to_its_limit() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "four\r\n").unwrap();
        let input = Input::from(file.path().as_os_str().to_owned());
        assert_eq!(input.read_text(6).await, Ok("four".to_owned()));
        let error = input.read_text(5).await.unwrap_err();
        assert!(error.to_string().ends_with("has more than 5 bytes"), "{error}");
        std::fs::write(file.path(), [0xff]).unwrap();
        assert!(input.read_text(6).await.unwrap_err().to_string().ends_with("is not UTF-8"));
        assert_eq!(Input::from(OsString::from("-")), Input::Standard);
    }
}
