//! Which system calls are left: all but those that a file mover never makes, and somebody who has taken it
//! over would want.

use std::env::consts::ARCH;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};

use crate::JailError;

/// Whoever makes one of these is not haul any more.
const NEVER: [libc::c_long; 44] = [
    // Other programs, other processes.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_perf_event_open,
    // Another view of the file system.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_open_by_handle_at,
    libc::SYS_mknodat,
    // Rings do what they are told without a filter seeing it.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    // The kernel itself, its keys and its clock.
    libc::SYS_bpf,
    libc::SYS_userfaultfd,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_sethostname,
    libc::SYS_personality,
];

/// Families of sockets that are left: UDP, and what processes of this machine speak over.
const FAMILIES: [libc::c_int; 3] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6];
/// `SOCK_STREAM` and its like are these bits of the second argument of socket(2).
const SOCKET_TYPE: u64 = 0xf;

/// Closes them for this thread and all that it starts.
pub(crate) fn close() -> Result<(), JailError> {
    let target: TargetArch = ARCH.try_into()?;
    let mut rules: Vec<(i64, Vec<SeccompRule>)> =
        NEVER.iter().map(|call| (*call, Vec::new())).collect();
    rules.push((libc::SYS_socket, sockets()?));
    let filter = SeccompFilter::new(
        rules.into_iter().collect(),
        SeccompAction::Allow,
        SeccompAction::KillProcess,
        target,
    )?;
    let program: BpfProgram = filter.try_into()?;
    Ok(apply_filter(&program)?)
}

/// Sockets of other families, and raw ones.
fn sockets() -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let arg = |number, op, value| SeccompCondition::new(number, SeccompCmpArgLen::Dword, op, value);
    let others = FAMILIES
        .iter()
        .map(|family| arg(0, SeccompCmpOp::Ne, *family as u64))
        .collect::<Result<Vec<_>, _>>()?;
    let raw = arg(
        1,
        SeccompCmpOp::MaskedEq(SOCKET_TYPE),
        libc::SOCK_RAW as u64,
    )?;
    Ok(vec![
        SeccompRule::new(others)?,
        SeccompRule::new(vec![raw])?,
    ])
}
