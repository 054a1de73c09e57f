//! What the policy of this server says of whoever `haul --remote` was started by, and the walls around it.

use std::{
    env, fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use haul_jail::{Jail, Leave};
use haul_log::LogPlace;
use haul_policy::{Door, Policy, USUAL_PLACE, Visitor};
use jiff::Timestamp;
use nix::unistd::{Group, User, getgroups};
use rustix::process::getuid;

use crate::args::RemoteArgs;

/// Names a file that tells how sshd has authenticated the user, where `ExposeAuthInfo` is set.
const SSH_USER_AUTH: &str = "SSH_USER_AUTH";

/// The door of this session, with walls behind it where there is a root; `None` where there is no policy. To be
/// called before any thread is started.
pub(crate) fn door(args: &RemoteArgs, client: Option<IpAddr>) -> Option<Door> {
    let path = policy_file(args)?;
    let visitor = visitor(args, client);
    let mut door = Door::open("haul --remote", &path, visitor);
    if args.restricted && door.rules().is_ok_and(|rules| rules.root().is_none()) {
        door.shut("config", "a restricted account needs a root");
    }
    if args.restricted || door.rules().is_ok_and(|rules| rules.root().is_some()) {
        match wall_in(&door, args.log.as_ref()) {
            Ok(walls) => {
                let will_do = door.policy().is_some_and(Policy::does_without_landlock);
                if !walls.hold_files() && !will_do {
                    door.shut("walls", walls.to_string());
                }
                door.note_walls(walls);
            }
            Err(why) => door.shut("walls", why),
        }
    }
    Some(door)
}

/// What is named, or is where policies usually are; a restricted account has one in any case.
fn policy_file(args: &RemoteArgs) -> Option<PathBuf> {
    let usual = Path::new(USUAL_PLACE);
    match &args.config {
        Some(path) => Some(path.clone()),
        None if args.restricted || fs::symlink_metadata(usual).is_ok() => Some(usual.to_owned()),
        None => None,
    }
}

fn wall_in(door: &Door, log: Option<&LogPlace>) -> Result<haul_jail::Walls, String> {
    let mut jail = Jail::new();
    let log = match log {
        Some(LogPlace::Directory { dir, .. }) => Some(dir.as_path()),
        _ => None,
    };
    let audit = door.policy().and_then(Policy::audit);
    let written = [audit, log].into_iter().flatten();
    let mut left: Vec<_> = written.map(|dir| (dir, Leave::Changing)).collect();
    if let Ok(rules) = door.rules()
        && let Some(root) = rules.root()
    {
        let leave = if rules.may_change() {
            Leave::Changing
        } else {
            Leave::Reading
        };
        left.push((root, leave));
    }
    for (path, leave) in left {
        jail.leave(path, leave)
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    jail.close().map_err(|error| error.to_string())
}

/// The account by its number, since names in the environment are whoever's who set them.
fn visitor(args: &RemoteArgs, client: Option<IpAddr>) -> Visitor {
    let uid = getuid().as_raw();
    let account = User::from_uid(uid.into()).ok().flatten();
    let groups = getgroups().unwrap_or_default();
    let names = groups
        .into_iter()
        .filter_map(|gid| Some(Group::from_gid(gid).ok()??.name));
    Visitor {
        user: account.map_or_else(|| uid.to_string(), |account| account.name),
        groups: names.collect(),
        address: client,
        key: args.key.clone().or_else(authenticated_key),
        now: Timestamp::now(),
    }
}

fn authenticated_key() -> Option<String> {
    let told = fs::read_to_string(env::var_os(SSH_USER_AUTH)?).ok()?;
    haul_ssh::authenticated_key(&told)
}
