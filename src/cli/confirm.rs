//! What a command asks before it deletes something or changes much at once.

use std::io::{IsTerminal, stderr, stdin};

use clap::Args;

use super::CliError;

/// Whether somebody has agreed already.
#[derive(Args)]
pub(super) struct ConfirmFlags {
    /// Do it without asking; needed if nobody can be asked, because this is not a terminal
    #[arg(long)]
    yes: bool,
}

impl ConfirmFlags {
    /// Goes on only if somebody agrees. `question` says what will be done, and is only made if it
    /// is asked.
    ///
    /// # Errors
    /// [`CliError::Usage`] if nobody can be asked, [`CliError::Failed`] if the answer is no. The
    /// error of `question`.
    pub(super) async fn ask(
        &self,
        question: impl AsyncFnOnce() -> Result<String, CliError>,
    ) -> Result<(), CliError> {
        if self.yes {
            return Ok(());
        }
        if !stdin().is_terminal() || !stderr().is_terminal() {
            return Err(CliError::Usage("this needs --yes where nobody can be asked".to_owned()));
        }
        eprint!("{} [y/N] ", question().await?);
        let answer = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            stdin().read_line(&mut line).map(|_| line)
        });
        match answer.await.ok().and_then(Result::ok) {
            Some(line) if is_yes(&line) => Ok(()),
            _ => Err(CliError::Failed("nothing was changed".to_owned())),
        }
    }
}

/// Whether an answer agrees. Every other answer, and none at all, does not.
fn is_yes(line: &str) -> bool {
    ["y", "yes"].contains(&line.trim().to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        for (line, agrees) in [("y\n", true), (" YES \n", true), ("\n", false), ("", false), ("yeah", false)]
        {
            assert_eq!(is_yes(line), agrees, "{line:?}");
        }
    }
}
