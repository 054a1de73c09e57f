//! What something gets beside its contents, in an order in which nothing undoes what came before:
//! owner (which takes set-user-id away), extended attributes, permissions, access control lists (which
//! are part of them), times.

use std::os::fd::{AsFd as _, OwnedFd};

use haul_manifest::{Extra, Meta, Owner, Timestamp, Xattr};
use haul_wire::control::Preserve;
use rustix::{
    fs::{
        AtFlags, FileType, Gid, Mode, Stat, Timespec, Timestamps, Uid, chownat, fchmod, fchown,
        futimens, utimensat,
    },
    io::Errno,
    process::{getegid, getgroups},
};

use super::published::modified;
use crate::{
    FailureKind,
    unkept::{Attribute, KeepError},
    xattr::{self, Holder, kept_as},
};

/// Which of a sender's attributes are applied, and how.
#[derive(Debug, Clone)]
pub(super) struct Attributes {
    preserve: Preserve,
    umask: u32,
    /// Groups that a file may be given to without a privilege, where that is ever asked.
    groups: Vec<u32>,
}

const PERMISSIONS: u32 = 0o777;
/// Set-user-id, set-group-id, sticky.
const SPECIAL: u32 = 0o7000;
const SET_ID: u32 = 0o6000;
const OWNER: u32 = 0o700;
const OWNER_WRITES: u32 = 0o200;

/// What of one thing could not be kept.
pub(super) type Miss = (Attribute, KeepError);

/// Where that is noted.
struct Notes<'a> {
    is_strict: bool,
    misses: &'a mut Vec<Miss>,
}

impl Notes<'_> {
    fn note(&mut self, attribute: Attribute, why: KeepError) -> Result<(), FailureKind> {
        if self.is_strict {
            return Err(FailureKind::Attribute(attribute, why));
        }
        if !self.has(attribute) {
            self.misses.push((attribute, why));
        }
        Ok(())
    }

    fn has(&self, attribute: Attribute) -> bool {
        self.misses.iter().any(|(known, _)| *known == attribute)
    }

    /// Whether something was changed; that it cannot be is noted, unless nothing else would fare
    /// better.
    fn tried(
        &mut self,
        attribute: Attribute,
        outcome: Result<bool, Errno>,
    ) -> Result<bool, FailureKind> {
        let errno = match outcome {
            Ok(is_changed) => return Ok(is_changed),
            Err(errno) => errno,
        };
        // Each file has so much room of its own for these.
        let is_crowded = matches!(attribute, Attribute::Xattrs | Attribute::Acls)
            && matches!(errno, Errno::NOSPC | Errno::DQUOT);
        if FailureKind::Os(errno).is_storage() && !is_crowded {
            return Err(errno.into());
        }
        self.note(attribute, errno.into())?;
        Ok(false)
    }
}

/// Something that is to get its attributes.
#[derive(Debug)]
pub(super) struct Subject<'a> {
    pub(super) meta: &'a Meta,
    pub(super) extra: Option<&'a Extra>,
    /// As it is now.
    pub(super) now: &'a Stat,
    /// Whether this transfer has made it.
    pub(super) is_new: bool,
}

impl Subject<'_> {
    fn xattrs(&self) -> &[Xattr] {
        self.extra.map_or(&[], |extra| &extra.xattrs)
    }
}

impl Attributes {
    pub(super) fn new(preserve: Preserve, umask: u32) -> Self {
        let asks = preserve.owner && !preserve.privileged;
        let groups = asks.then(|| {
            let groups = getgroups().unwrap_or_default();
            let mut groups: Vec<u32> = groups.into_iter().map(Gid::as_raw).collect();
            groups.push(getegid().as_raw());
            groups
        });
        Self {
            preserve,
            umask,
            groups: groups.unwrap_or_default(),
        }
    }

    /// Whether times are kept.
    pub(super) fn keeps_times(&self) -> bool {
        self.preserve.times
    }

    /// Whether hard links are.
    pub(super) fn keeps_hard_links(&self) -> bool {
        self.preserve.hard_links
    }

    /// Whether what cannot be kept is a failure.
    pub(super) fn is_strict(&self) -> bool {
        self.preserve.strict
    }

    /// Whether anything is kept that a directory gets at the end.
    pub(super) fn keeps_any(&self) -> bool {
        self.preserve.mode || self.preserve.times || self.keeps_extra()
    }

    fn keeps_extra(&self) -> bool {
        self.preserve.owner || self.preserve.xattrs || self.preserve.acls
    }

    /// What of this was asked for, if anything: a sender may say more.
    pub(super) fn admitted(&self, mut extra: Box<Extra>) -> Option<Box<Extra>> {
        let preserve = &self.preserve;
        extra.owner = extra.owner.filter(|_| preserve.owner);
        extra.link = extra.link.filter(|_| preserve.hard_links);
        extra
            .xattrs
            .retain(|xattr| kept_as(preserve, &xattr.name).is_some());
        (*extra != Extra::default()).then_some(extra)
    }

    /// The permissions something shall have in the end.
    pub(super) fn mode(&self, meta: &Meta) -> u32 {
        if self.preserve.mode {
            meta.mode & self.mode_mask()
        } else {
            meta.mode & PERMISSIONS & !self.umask
        }
    }

    /// The permissions it is made with.
    pub(super) fn mode_when_made(&self, meta: &Meta) -> u32 {
        self.mode(meta) & PERMISSIONS
    }

    fn mode_mask(&self) -> u32 {
        if self.preserve.privileged {
            PERMISSIONS | SPECIAL
        } else {
            PERMISSIONS
        }
    }

    /// Whether a file that was there before is to be changed, as far as can be told without opening it.
    pub(super) fn would_change(&self, meta: &Meta, extra: Option<&Extra>, now: &Stat) -> bool {
        let Preserve {
            mode,
            times,
            xattrs,
            acls,
            ..
        } = self.preserve;
        let owner = extra.and_then(|extra| extra.owner);
        xattrs
            || acls
            || (mode && self.mode(meta) != now.st_mode & self.mode_mask())
            || (mode && self.loses_bits(meta))
            || (times && meta.modified != modified(now))
            || owner.is_some_and(|owner| (owner.uid, owner.gid) != (now.st_uid, now.st_gid))
    }

    /// The permissions a directory is made with: its owner must be able to fill it.
    pub(super) fn mode_while_filling(&self, meta: &Meta) -> u32 {
        (meta.mode & PERMISSIONS & !self.umask) | OWNER
    }

    /// Whether a directory that has been made needs anything more at the end.
    pub(super) fn is_due_for_new_dir(&self, meta: &Meta) -> bool {
        self.preserve.times
            || self.keeps_extra()
            || self.mode(meta) != self.mode_while_filling(meta)
            || (self.preserve.mode && self.loses_bits(meta))
    }

    /// Whether the sender's has bits that are not asked for.
    fn loses_bits(&self, meta: &Meta) -> bool {
        !self.preserve.privileged && meta.mode & SPECIAL != 0
    }

    /// Gives something open what it shall have, and adds to `misses` what it cannot be given.
    ///
    /// # Errors
    /// A miss, where it must not be; or that the file system gives up.
    pub(super) fn apply(
        &self,
        fd: &OwnedFd,
        subject: &Subject<'_>,
        misses: &mut Vec<Miss>,
    ) -> Result<(), FailureKind> {
        let mut mode_now = subject.now.st_mode & (PERMISSIONS | SPECIAL);
        let mut notes = self.notes(misses);
        let mut is_changed = self.own(subject, &mut notes, |uid, gid| fchown(fd, uid, gid))?;
        if is_changed && FileType::from_raw_mode(subject.now.st_mode) != FileType::Directory {
            mode_now &= !SET_ID;
        }
        let mut mode = if self.preserve.mode || subject.is_new {
            self.mode(subject.meta)
        } else {
            mode_now & self.mode_mask()
        };
        if notes.has(Attribute::Owner) {
            // These would give the power of somebody else than at the sender.
            mode &= !SET_ID;
        }
        let holder = Holder::Open(fd.as_fd());
        if self.preserve.xattrs {
            let mut set = self.set_xattrs(&holder, subject, Attribute::Xattrs);
            // Who may not write a file may not write these either, but its owner may see to that.
            if set == Err(Errno::ACCESS)
                && mode_now & OWNER_WRITES == 0
                && fchmod(fd, Mode::from_raw_mode(mode_now | OWNER_WRITES)).is_ok()
            {
                mode_now |= OWNER_WRITES;
                set = self.set_xattrs(&holder, subject, Attribute::Xattrs);
            }
            is_changed |= notes.tried(Attribute::Xattrs, set)?;
        }
        if mode != mode_now & self.mode_mask() {
            let set = fchmod(fd, Mode::from_raw_mode(mode)).map(|()| true);
            is_changed |= notes.tried(Attribute::Mode, set)?;
        }
        if self.preserve.mode && self.loses_bits(subject.meta) {
            notes.note(Attribute::Mode, KeepError::Unprivileged)?;
        }
        if self.preserve.acls {
            let set = self.set_xattrs(&holder, subject, Attribute::Acls);
            is_changed |= notes.tried(Attribute::Acls, set)?;
        }
        if let Some(times) = self.times(subject.meta)
            && (is_changed || subject.is_new || subject.meta.modified != modified(subject.now))
        {
            let set = futimens(fd, &times).map(|()| true);
            notes.tried(Attribute::Times, set)?;
        }
        Ok(())
    }

    /// Gives a symbolic link what it shall have: it has no permissions and no attributes of users.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub(super) fn apply_to_link(
        &self,
        dir: &OwnedFd,
        name: &[u8],
        subject: &Subject<'_>,
        misses: &mut Vec<Miss>,
    ) -> Result<(), FailureKind> {
        const SELF: AtFlags = AtFlags::SYMLINK_NOFOLLOW;
        let mut notes = self.notes(misses);
        self.own(subject, &mut notes, |uid, gid| {
            chownat(dir, name, uid, gid, SELF)
        })?;
        if self.preserve.xattrs && self.preserve.privileged {
            let holder = Holder::link(dir.as_fd(), name);
            let set = self.set_xattrs(&holder, subject, Attribute::Xattrs);
            notes.tried(Attribute::Xattrs, set)?;
        }
        if let Some(times) = self.times(subject.meta) {
            let set = utimensat(dir, name, &times, SELF).map(|()| true);
            notes.tried(Attribute::Times, set)?;
        }
        Ok(())
    }

    fn notes<'a>(&self, misses: &'a mut Vec<Miss>) -> Notes<'a> {
        Notes {
            is_strict: self.preserve.strict,
            misses,
        }
    }

    /// Gives something to whom it shall belong, as far as that is asked for; whether anything changed.
    fn own(
        &self,
        subject: &Subject<'_>,
        notes: &mut Notes<'_>,
        chown: impl Fn(Option<Uid>, Option<Gid>) -> Result<(), Errno>,
    ) -> Result<bool, FailureKind> {
        let Some(Owner { uid, gid }) = subject.extra.and_then(|extra| extra.owner) else {
            return Ok(false);
        };
        let user = (uid != subject.now.st_uid).then(|| Uid::from_raw(uid));
        let group = (gid != subject.now.st_gid).then(|| Gid::from_raw(gid));
        let may_have = |_: &Gid| self.preserve.privileged || self.groups.contains(&gid);
        let allowed = (
            user.filter(|_| self.preserve.privileged),
            group.filter(may_have),
        );
        if allowed != (user, group) {
            notes.note(Attribute::Owner, KeepError::Unprivileged)?;
        }
        if allowed == (None, None) {
            return Ok(false);
        }
        let (user, group) = allowed;
        let done = notes.tried(Attribute::Owner, chown(user, group).map(|()| true))?;
        if done || user.is_none() || group.is_none() {
            return Ok(done);
        }
        // Whoever may not give files away may still have them in a group of his.
        Ok(chown(None, group).is_ok())
    }

    /// Makes those extended attributes that are kept as this kind what they are at the sender; whether
    /// anything changed.
    fn set_xattrs(
        &self,
        holder: &Holder<'_>,
        subject: &Subject<'_>,
        kind: Attribute,
    ) -> Result<bool, Errno> {
        let is_kind = |name: &[u8]| kept_as(&self.preserve, name) == Some(kind);
        let mut there = holder.names()?;
        there.retain(|name| is_kind(name));
        let wanted = || subject.xattrs().iter().filter(|xattr| is_kind(&xattr.name));
        let mut outcome = Ok(());
        let mut is_changed = false;
        let mut note = |done: Result<(), Errno>| {
            is_changed |= done.is_ok();
            outcome = outcome.and(done);
        };
        for Xattr { name, value } in wanted() {
            let is_there = there.iter().any(|there| **there == **name);
            if !is_there || holder.get(name).as_deref() != Ok(value) {
                note(holder.set(name, value));
            }
        }
        for name in there.iter().filter(|name| xattr::is_removable(name)) {
            if !wanted().any(|xattr| *xattr.name == **name) {
                note(holder.remove(name));
            }
        }
        outcome.map(|()| is_changed)
    }

    /// The times something shall have; `None` leaves them as they come.
    fn times(&self, meta: &Meta) -> Option<Timestamps> {
        let spec = |time: Timestamp| Timespec {
            tv_sec: time.seconds,
            tv_nsec: time.nanos.into(),
        };
        self.preserve.times.then(|| Timestamps {
            last_access: spec(meta.accessed),
            last_modification: spec(meta.modified),
        })
    }
}
