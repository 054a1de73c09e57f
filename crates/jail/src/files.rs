//! Which files are left.

use std::{io, path::Path};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, Compatible as _, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope, make_bitflags,
};

/// What this is written for. Older kernels have less of it, which is done without; what newer ones could
/// forbid beside it stays allowed until it has been tried.
const KNOWN: ABI = ABI::V7;

/// Read by the runtime and by haul itself: the time zone, this process, the processor's load, ports in use
/// and which start of the machine this is.
const USUAL: [&str; 6] = [
    "/etc/localtime",
    "/usr/share/zoneinfo",
    "/proc/self",
    "/proc/stat",
    "/proc/sys/kernel/random/boot_id",
    "/proc/sys/net/core",
];

/// What may be done with what is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// Files are read, directories listed.
    Reading,
    /// The same, and files, directories and symbolic links are made, changed, moved and removed.
    Changing,
}

impl Leave {
    fn rights(self) -> BitFlags<AccessFs> {
        let reading = make_bitflags!(AccessFs::{ReadFile | ReadDir});
        match self {
            Self::Reading => reading,
            // No devices, no sockets, no pipes; and nothing is ever executed.
            Self::Changing => {
                reading
                    | make_bitflags!(AccessFs::{
                        WriteFile
                            | Truncate
                            | MakeReg
                            | MakeDir
                            | MakeSym
                            | RemoveFile
                            | RemoveDir
                            | Refer
                    })
            }
        }
    }
}

#[derive(Debug)]
pub(crate) struct Files {
    left: Vec<(PathFd, BitFlags<AccessFs>)>,
}

impl Files {
    pub(crate) fn usual() -> Self {
        let mut this = Self { left: Vec::new() };
        for path in USUAL {
            // Not every system has all of it.
            let _ = this.leave(Path::new(path), Leave::Reading);
        }
        this
    }

    pub(crate) fn leave(&mut self, path: &Path, leave: Leave) -> io::Result<()> {
        let opened = PathFd::new(path).map_err(|error| match error {
            landlock::PathFdError::OpenCall { source, .. } => source,
            other => io::Error::other(other),
        });
        let rights = if path.is_dir() {
            leave.rights()
        } else {
            leave.rights() & AccessFs::from_file(KNOWN)
        };
        self.left.push((opened?, rights));
        Ok(())
    }

    /// Also no TCP to anywhere, and neither signals nor abstract sockets of processes outside.
    pub(crate) fn close(self) -> Result<RulesetStatus, RulesetError> {
        let mut rules = Ruleset::default()
            .handle_access(AccessFs::from_all(KNOWN))?
            .handle_access(AccessNet::from_all(KNOWN))?
            .scope(Scope::Signal | Scope::AbstractUnixSocket)?
            .create()?
            .set_compatibility(landlock::CompatLevel::BestEffort);
        for (path, rights) in self.left {
            rules = rules.add_rule(PathBeneath::new(path, rights))?;
        }
        Ok(rules.restrict_self()?.ruleset)
    }
}
