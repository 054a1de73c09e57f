//! What of files is kept beside their contents.

use haul_transfer::Preserve;

/// What to keep.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct KeepArgs {
    /// Preserve modification and access times and permissions
    #[arg(short = 'p', long)]
    pub(crate) preserve: bool,
    /// Preserve all there is: -p, owners, extended attributes, ACLs and hard links
    #[arg(short = 'a', long)]
    archive: bool,
    /// Preserve permissions
    #[arg(long, hide_short_help = true)]
    preserve_mode: bool,
    /// Preserve modification and access times
    #[arg(long, hide_short_help = true)]
    preserve_times: bool,
    /// Preserve the numbers of user and group; users other than the one that writes take --privileged
    #[arg(long, hide_short_help = true)]
    preserve_owner: bool,
    /// Preserve extended attributes: user.*, with --privileged also security.* and trusted.*
    #[arg(short = 'X', long, hide_short_help = true)]
    preserve_xattrs: bool,
    /// Preserve POSIX access control lists
    #[arg(short = 'A', long, hide_short_help = true)]
    preserve_acls: bool,
    /// Preserve hard links among what is sent
    #[arg(short = 'H', long, hide_short_help = true)]
    hard_links: bool,
    /// Preserve what gives power, too: set-user-id, set-group-id and sticky bits, capabilities, other
    /// owners. An upload needs leave: haul --remote --allow-privileged, or hauld --allow-privileged
    #[arg(long, hide_short_help = true)]
    privileged: bool,
    /// A file of which something cannot be preserved has failed, instead of a warning
    #[arg(long, hide_short_help = true)]
    strict_attrs: bool,
}

impl KeepArgs {
    /// What that means; `None` where it speaks of keeping, and of nothing to keep.
    pub(crate) fn resolve(&self) -> Option<Preserve> {
        let both = self.preserve || self.archive;
        let kept = Preserve {
            mode: both || self.preserve_mode,
            times: both || self.preserve_times,
            owner: self.archive || self.preserve_owner,
            xattrs: self.archive || self.preserve_xattrs,
            acls: self.archive || self.preserve_acls,
            hard_links: self.archive || self.hard_links,
            ..Preserve::default()
        };
        let is_idle = kept == Preserve::default() && (self.privileged || self.strict_attrs);
        (!is_idle).then_some(Preserve {
            privileged: self.privileged,
            strict: self.strict_attrs,
            ..kept
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_all_but_what_gives_power() {
        let archive = KeepArgs {
            archive: true,
            ..KeepArgs::default()
        };
        let all = Preserve {
            owner: true,
            xattrs: true,
            acls: true,
            hard_links: true,
            ..Preserve::USUAL
        };
        assert_eq!(archive.resolve(), Some(all));
        let usual = KeepArgs {
            preserve: true,
            ..KeepArgs::default()
        };
        assert_eq!(usual.resolve(), Some(Preserve::USUAL));
        assert_eq!(KeepArgs::default().resolve(), Some(Preserve::default()));
    }

    #[test]
    fn power_and_strictness_are_of_something() {
        for (privileged, strict_attrs) in [(true, false), (false, true)] {
            let idle = KeepArgs {
                privileged,
                strict_attrs,
                ..KeepArgs::default()
            };
            assert_eq!(idle.resolve(), None);
            let some = KeepArgs {
                preserve_mode: true,
                ..idle
            };
            let kept = some.resolve().expect("something to keep");
            assert_eq!((kept.privileged, kept.strict), (privileged, strict_attrs));
        }
    }
}
