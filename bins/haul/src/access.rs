//! What the policy of this server says of whoever `haul --remote` was started by, and the walls around it.

use std::{
    env, fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use haul_jail::{Jail, Leave};
use haul_log::LogPlace;
use haul_policy::{Door, Policy, PolicyError, Refusal, Rules, Trail, USUAL_PLACE, Visitor};
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
    let policy = Policy::load(&path);
    let trail = policy
        .as_ref()
        .ok()
        .and_then(Policy::audit)
        .map(Trail::open);
    let admitted = match (&policy, &trail) {
        (Err(error), _) => Err(unusable(error)),
        (Ok(_), Some(Err(error))) => Err(Refusal {
            code: "audit",
            text: format!("the audit trail cannot be written: {error}"),
        }),
        (Ok(policy), _) => policy.admit(&visitor),
    };
    let admitted = admitted.and_then(|rules| match rules.root() {
        None if args.restricted => Err(Refusal {
            code: "config",
            text: "a restricted account needs a root".to_owned(),
        }),
        _ => Ok(rules),
    });
    let is_walled = args.restricted || admitted.as_ref().is_ok_and(|rules| rules.root().is_some());
    let walls = is_walled.then(|| {
        let audit = policy.as_ref().ok().and_then(Policy::audit);
        wall_in(admitted.as_ref().ok(), audit, args.log.as_ref())
    });
    let does_without = policy.as_ref().is_ok_and(Policy::does_without_landlock);
    let (admitted, walls) = match walls {
        None => (admitted, None),
        Some(Ok(walls)) if walls.hold_files() || does_without => (admitted, Some(walls)),
        Some(Ok(walls)) => (Err(no_walls(walls.to_string())), Some(walls)),
        Some(Err(why)) => (Err(no_walls(why)), None),
    };
    let mut door = Door::new(
        "haul --remote",
        visitor,
        admitted,
        trail.and_then(Result::ok),
    );
    if let Some(walls) = walls {
        door.note_walls(walls);
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

fn unusable(error: &PolicyError) -> Refusal {
    Refusal {
        code: "config",
        text: error.to_string(),
    }
}

fn no_walls(why: String) -> Refusal {
    Refusal {
        code: "walls",
        text: format!("no walls around a restricted account: {why}"),
    }
}

fn wall_in(
    rules: Option<&Rules>,
    audit: Option<&Path>,
    log: Option<&LogPlace>,
) -> Result<haul_jail::Walls, String> {
    let mut jail = Jail::new();
    let log = match log {
        Some(LogPlace::Directory { dir, .. }) => Some(dir.as_path()),
        _ => None,
    };
    let mut left: Vec<_> = [audit, log]
        .into_iter()
        .flatten()
        .map(|dir| (dir, Leave::Changing))
        .collect();
    if let Some(rules) = rules
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
