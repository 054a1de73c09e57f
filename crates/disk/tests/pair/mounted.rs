//! A file system of its own, for the time of a test.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

pub struct Mounted {
    at: PathBuf,
    /// Goes with it.
    made: Option<tempfile::TempDir>,
}

impl Mounted {
    /// A file system in memory.
    pub fn new(options: &str) -> Self {
        let made = tempfile::tempdir().unwrap();
        let mut this = Self::on(made.path(), options);
        this.made = Some(made);
        this
    }

    /// The same on a directory that is there.
    pub fn on(at: &Path, options: &str) -> Self {
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", options, "haul-test"])
            .arg(at);
        let done = mount.output().is_ok_and(|output| output.status.success());
        assert!(done, "mounting a tmpfs needs root: run the tests as root");
        Self {
            at: at.to_owned(),
            made: None,
        }
    }

    pub fn path(&self) -> &Path {
        &self.at
    }

    pub fn remount(&self, options: &str) {
        let mut mount = Command::new("mount");
        let done = mount.args(["-o", options]).arg(self.path()).status();
        assert!(done.unwrap().success());
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).status();
    }
}
