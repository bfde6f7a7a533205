//! A small disk for the write-ahead log alone. It can be filled.

use std::{
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
    process::Command,
};

/// There is room for a few segments of 16 MiB.
const SIZE: &str = "size=160m";

/// A tmpfs that holds `pg_wal`. Unmounted on drop.
pub(crate) struct WalDisk {
    mounted: PathBuf,
}

impl WalDisk {
    /// Moves the write-ahead log of a stopped server there. Returns the reason if this user may not
    /// mount.
    pub(crate) fn move_to(data: &Path) -> Result<Self, String> {
        if !nix::unistd::geteuid().is_root() {
            return Err("only root may mount a small disk".to_owned());
        }
        let owner = std::fs::metadata(data.join("pg_wal")).map_err(|error| error.to_string())?;
        let (uid, gid) = {
            use std::os::unix::fs::MetadataExt;
            (owner.uid(), owner.gid())
        };
        // It is beside the data, so it is removed with the data.
        let mounted = data.with_file_name("wal-disk");
        std::fs::create_dir(&mounted).map_err(|error| error.to_string())?;
        run(Command::new("mount").args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]).arg(&mounted))?;
        let disk = Self { mounted };
        let on_disk = disk.mounted.join("pg_wal");
        run(Command::new("cp").arg("-a").arg(data.join("pg_wal")).arg(&on_disk))?;
        let moving = || {
            chown(&disk.mounted, Some(uid), Some(gid))?;
            std::fs::set_permissions(&disk.mounted, PermissionsExt::from_mode(0o700))?;
            std::fs::remove_dir_all(data.join("pg_wal"))?;
            symlink(&on_disk, data.join("pg_wal"))
        };
        moving().map_err(|error: std::io::Error| error.to_string())?;
        Ok(disk)
    }

    /// Fills the disk.
    pub(crate) fn fill(&self) {
        let mut file = std::fs::File::create(self.ballast()).unwrap();
        // It ends with the error that the disk is full.
        let _ = std::io::copy(&mut std::io::repeat(0), &mut file);
    }

    /// Frees the room again.
    pub(crate) fn free(&self) {
        let _ = std::fs::remove_file(self.ballast());
    }

    fn ballast(&self) -> PathBuf {
        self.mounted.join("ballast")
    }
}

impl Drop for WalDisk {
    fn drop(&mut self) {
        // The server may still have it open. Then it goes away with the server.
        let _ = Command::new("umount").arg("--lazy").arg(&self.mounted).status();
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}
