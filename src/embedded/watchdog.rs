//! Stops the server when this process is killed.
//!
//! A process that is killed runs no destructor. A static is never dropped at all, and tests keep
//! their shared server in one.
//!
//! So a small shell reads from a pipe, and only this process holds the other end. However this
//! process ends, the system closes the pipe. Then the shell stops the server and removes a
//! temporary directory.

use std::{
    io,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
};

/// $1 is the server's process id, $2 the signal, $3 a directory to remove, or empty. It waits 5 s
/// at most: if nobody collects orphans on this system, a process that has ended stays visible.
const SCRIPT: &str = r#"
cat >/dev/null
kill -s "$2" "$1" || exit 0
waited=0
while kill -0 "$1" && [ "$waited" -lt 50 ]; do sleep 0.1; waited=$((waited + 1)); done
if [ -n "$3" ]; then rm -rf -- "$3"; fi
"#;

/// The shell that waits. Dropping this ends the shell, and nothing is stopped.
pub(super) struct Watchdog(Child);

impl Watchdog {
    /// Watches over a process. `signal` is a name that `kill -s` accepts. `remove` is a directory
    /// to remove afterwards.
    pub(super) fn start(server: u32, signal: &str, remove: Option<&Path>) -> io::Result<Self> {
        let child = Command::new("sh")
            .args(["-c", SCRIPT, "pgtopic-watchdog", &server.to_string(), signal])
            .arg(remove.unwrap_or(Path::new("")))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .current_dir("/")
            .spawn()?;
        Ok(Self(child))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // The whole group is killed, because the shell may have `cat` as a child. This fails only
        // if they have ended already.
        if let Ok(group) = i32::try_from(self.0.id()) {
            let _ = nix::sys::signal::killpg(
                nix::unistd::Pid::from_raw(group),
                nix::sys::signal::Signal::SIGKILL,
            );
        }
        let _ = self.0.wait();
    }
}
