//! The built binary as a child process.

use std::{
    fs::File,
    io::Read,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::LIMIT;

/// How long a process may take until it has ended: a quick benchmark takes half a minute on a busy
/// machine.
const END_LIMIT: Duration = Duration::from_mins(2);

/// A running `pgtopic`. It is killed on drop. If the test fails, its output is shown.
pub struct Process {
    child: Child,
    /// Its program and arguments.
    line: String,
    output: tempfile::NamedTempFile,
}

/// How a process ended, and everything it said.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code, or the signal that ended it.
    pub status: ExitStatus,
    /// Standard output and standard error together.
    pub output: String,
}

impl Ended {
    /// The exit code; panics if a signal ended it.
    pub fn code(&self) -> i32 {
        let signal = self.status.signal();
        self.status.code().unwrap_or_else(|| panic!("ended by signal {signal:?}: {}", self.output))
    }
}

impl Process {
    /// Starts `pgtopic` with these arguments and no environment but these variables and PATH. Its
    /// working directory is `/`: no `.env` of a developer is read.
    pub fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::start_with(arguments, environment, |_| {})
    }

    /// The same, with standard output or standard error redirected.
    pub fn start_with(
        arguments: &[&str],
        environment: &[(&str, &str)],
        redirect: impl FnOnce(&mut Command),
    ) -> Self {
        Self::of(&pgtopic_binary(), arguments, environment, redirect)
    }

    /// The same, with no more than so many open files.
    pub fn start_with_descriptors(most: u32, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let script = format!("ulimit -n {most} && exec \"$0\" \"$@\"");
        let binary = pgtopic_binary();
        let arguments = [&["-c", &script, binary.to_str().unwrap()], arguments].concat();
        Self::of(Path::new("/bin/sh"), &arguments, environment, |_| {})
    }

    /// The same, for another program. `change` sets what else the command needs.
    pub fn of(
        program: &Path,
        arguments: &[&str],
        environment: &[(&str, &str)],
        change: impl FnOnce(&mut Command),
    ) -> Self {
        let output = tempfile::NamedTempFile::new().unwrap();
        let file = || File::options().append(true).open(output.path()).unwrap();
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir("/")
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(file())
            .stderr(file());
        change(&mut command);
        // Redirected outputs are closed here, with the command.
        let child = command.spawn().unwrap();
        let name = program.file_name().unwrap_or_default().display();
        Self { child, line: format!("{name} {}", arguments.join(" ")), output }
    }

    /// Runs `pgtopic` to its end.
    pub async fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Ended {
        Self::start(arguments, environment).wait().await
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far.
    pub fn output(&self) -> String {
        let mut text = String::new();
        self.output.reopen().unwrap().read_to_string(&mut text).unwrap();
        text
    }

    /// Waits until it has said this. Panics if it ends first.
    pub async fn wait_for_output(&mut self, needle: &str) -> String {
        let begun = Instant::now();
        loop {
            let output = self.output();
            if output.contains(needle) {
                return output;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && begun.elapsed() < LIMIT, "it never said {needle:?}: {ended:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Whether it has ended, by itself or not.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Asks it to stop.
    pub fn sigterm(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Asks it to stop, and waits until it has stopped, which must succeed.
    pub async fn stop(&mut self) -> Ended {
        self.sigterm();
        self.stopped().await
    }

    /// Waits until it has stopped after it was asked to, which must succeed.
    pub async fn stopped(&mut self) -> Ended {
        let ended = self.ended().await;
        assert_eq!(ended.code(), 0, "{}", ended.output);
        ended
    }

    /// Kills it as `kill -9` does, and waits until it is gone.
    pub fn kill9(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends any signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Waits until it has ended.
    pub async fn wait(mut self) -> Ended {
        self.ended().await
    }

    /// Waits until it has ended, and keeps what it said.
    pub async fn ended(&mut self) -> Ended {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Ended { status, output: self.output() };
            }
            assert!(begun.elapsed() < END_LIMIT, "it does not end");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// The built `pgtopic`. Cargo says where it is when it runs that package's integration tests. If
/// somebody runs a test's program by hand, it is in the folder above.
pub fn pgtopic_binary() -> PathBuf {
    if let Some(path) = std::env::var_os("CARGO_BIN_EXE_pgtopic") {
        return path.into();
    }
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().join("pgtopic")
}

impl Drop for Process {
    fn drop(&mut self) {
        // This fails only if it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- {}\n{}---", self.line, self.output());
        }
    }
}
