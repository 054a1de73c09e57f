use haul_wire::control::ErrorCode;

/// One line of the table of exit statuses.
#[derive(Debug, Clone, Copy)]
pub struct ExitCode {
    /// What kind of trouble; its number is the exit status.
    pub code: ErrorCode,
    /// What it means.
    pub meaning: &'static str,
    /// What to do about it.
    pub hint: &'static str,
    /// Whether trying the same again, later, may succeed.
    pub retryable: bool,
}

const fn line(
    code: ErrorCode,
    retryable: bool,
    meaning: &'static str,
    hint: &'static str,
) -> ExitCode {
    ExitCode {
        code,
        meaning,
        hint,
        retryable,
    }
}

/// Every exit status but 0, ascending. The numbers are stable: scripts rely on them.
pub const EXIT_CODES: [ExitCode; 27] = [
    line(
        ErrorCode::Internal,
        false,
        "a defect of haul, or the system refused what it never should",
        "report it, with the message and both versions",
    ),
    line(
        ErrorCode::Usage,
        false,
        "the command line makes no sense",
        "see haul --help",
    ),
    line(
        ErrorCode::Partial,
        true,
        "some files failed, the others arrived",
        "see the list of failed files, then run the same command again",
    ),
    line(
        ErrorCode::Unreachable,
        true,
        "the other host cannot be reached",
        "check the host name, the port and the network",
    ),
    line(
        ErrorCode::HostKeyUnknown,
        false,
        "the host key is not known",
        "compare the fingerprint with the administrator's, then connect once with ssh to accept it",
    ),
    line(
        ErrorCode::HostKeyChanged,
        false,
        "the host key is not the one that is known",
        "somebody may be in between; ask the administrator before touching known_hosts",
    ),
    line(
        ErrorCode::Authentication,
        false,
        "the host did not accept the user",
        "check the user name and the keys; ssh -v to the same host shows what is tried",
    ),
    line(
        ErrorCode::RemoteMissing,
        false,
        "there is no haul on the other host",
        "install haul there, or say where it is with -S /path/to/haul",
    ),
    line(
        ErrorCode::VersionMismatch,
        false,
        "the two hauls share no version of the protocol",
        "update the older one",
    ),
    line(
        ErrorCode::NoCommonCipher,
        false,
        "no cipher is allowed by both ends",
        "offer one that the other end allows, with --cipher",
    ),
    line(
        ErrorCode::NotPermitted,
        false,
        "the other end's policy does not allow this",
        "ask its administrator",
    ),
    line(
        ErrorCode::UdpClosed,
        false,
        "UDP does not get through in one direction",
        "open the UDP port in the firewalls on the way, or choose another one",
    ),
    line(
        ErrorCode::SetupTimeout,
        true,
        "the transfer could not be set up in time",
        "the other host may be overloaded or its shell may wait for input; try again",
    ),
    line(
        ErrorCode::NoSuchSource,
        false,
        "a source does not exist",
        "check the path; remote paths are relative to the home directory",
    ),
    line(
        ErrorCode::SourceUnreadable,
        false,
        "a source may not be read",
        "check its permissions for this user",
    ),
    line(
        ErrorCode::DestinationUnwritable,
        false,
        "the destination does not exist or may not be written",
        "check its permissions, or create missing directories with -d",
    ),
    line(
        ErrorCode::DiskFull,
        true,
        "the disk or the quota is full",
        "make room, then run the same command again",
    ),
    line(
        ErrorCode::DiskFailed,
        true,
        "reading or writing a file failed",
        "check the disk and the system's log",
    ),
    line(
        ErrorCode::Integrity,
        true,
        "what was written is not what was read at the other end",
        "those files were not kept; check memory and disks of both machines, then run the same command again",
    ),
    line(
        ErrorCode::HookFailed,
        false,
        "the command of --pre or --post failed",
        "see what it said; after --post the files have arrived all the same",
    ),
    line(
        ErrorCode::Resources,
        true,
        "a machine ran out of threads, memory, sockets or open files",
        "end other programs or raise its limits (ulimit -n, ulimit -u), then run the same command again",
    ),
    line(
        ErrorCode::ConnectionLost,
        true,
        "the SSH connection broke",
        "run the same command again",
    ),
    line(
        ErrorCode::PathFailed,
        true,
        "the network stopped carrying the transfer's datagrams",
        "run the same command again; a lower target rate may help",
    ),
    line(
        ErrorCode::PeerMisbehaved,
        false,
        "the other end broke the protocol",
        "update both ends; if it stays, report it",
    ),
    line(
        ErrorCode::Tampered,
        false,
        "somebody altered the conversation or forges datagrams",
        "check the host key and what sits between the hosts",
    ),
    line(
        ErrorCode::Unauthorized,
        false,
        "the other end does not serve this to this user",
        "ask its administrator, who finds the reason under the reference",
    ),
    line(
        ErrorCode::Cancelled,
        true,
        "cancelled",
        "run the same command again to go on",
    ),
];

/// The table's line for a code.
pub fn entry(code: ErrorCode) -> &'static ExitCode {
    EXIT_CODES
        .iter()
        .find(|line| line.code == code)
        .unwrap_or(&EXIT_CODES[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_complete_and_in_order() {
        let listed: Vec<_> = EXIT_CODES.iter().map(|line| line.code).collect();
        assert_eq!(listed, ErrorCode::ALL);
        for code in ErrorCode::ALL {
            assert_eq!(entry(code).code, code);
        }
    }
}
