//! What the system says becomes the kind of trouble that a person can do something about.

use std::path::PathBuf;

use haul_engine::Stage;

use super::*;

fn os(errno: Errno) -> io::Error {
    errno.into()
}

fn source(errno: Errno) -> TransferError {
    let (path, cause) = (PathBuf::from("x"), os(errno));
    DiskError::Source { path, cause }.into()
}

fn destination(errno: Errno) -> TransferError {
    let (path, cause) = (PathBuf::from("x"), os(errno));
    DiskError::Destination { path, cause }.into()
}

fn storage(errno: Errno) -> TransferError {
    let (path, cause) = (PathBuf::from("x"), os(errno));
    DiskError::Storage { path, cause }.into()
}

#[test]
fn files_fail_for_reasons_of_their_own() {
    for (error, code) in [
        (source(Errno::NOENT), ErrorCode::NoSuchSource),
        (source(Errno::ACCESS), ErrorCode::SourceUnreadable),
        (source(Errno::LOOP), ErrorCode::SourceUnreadable),
        (source(Errno::NAMETOOLONG), ErrorCode::SourceUnreadable),
        (destination(Errno::ACCESS), ErrorCode::DestinationUnwritable),
        (destination(Errno::EXIST), ErrorCode::DestinationUnwritable),
        (destination(Errno::LOOP), ErrorCode::DestinationUnwritable),
        (destination(Errno::ROFS), ErrorCode::DestinationUnwritable),
        (destination(Errno::NOTDIR), ErrorCode::DestinationUnwritable),
        (destination(Errno::NOSPC), ErrorCode::DiskFull),
        (storage(Errno::NOSPC), ErrorCode::DiskFull),
        (storage(Errno::DQUOT), ErrorCode::DiskFull),
        (storage(Errno::ROFS), ErrorCode::DestinationUnwritable),
        (storage(Errno::IO), ErrorCode::DiskFailed),
    ] {
        assert_eq!(error.code(), code, "{error}");
    }
}

#[test]
fn a_machine_that_is_used_up_is_no_defect() {
    let ports = 33001..=33100;
    let ip = [127, 0, 0, 1].into();
    let socket = |errno| UdpError::Socket {
        what: "socket",
        source: os(errno),
    };
    for (error, code) in [
        (source(Errno::MFILE), ErrorCode::Resources),
        (destination(Errno::NFILE), ErrorCode::Resources),
        (storage(Errno::NOMEM), ErrorCode::Resources),
        (
            UdpError::NoFreePort { ip, ports }.into(),
            ErrorCode::Resources,
        ),
        (socket(Errno::NOBUFS).into(), ErrorCode::Resources),
        (socket(Errno::PERM).into(), ErrorCode::Internal),
        (
            TransferError::Detour(os(Errno::MFILE)),
            ErrorCode::Resources,
        ),
        (
            TransferError::Engine(EngineError::Thread {
                stage: Stage::Read,
                source: os(Errno::AGAIN),
            }),
            ErrorCode::Resources,
        ),
        (
            TransferError::Engine(EngineError::Panicked(Stage::Read)),
            ErrorCode::Internal,
        ),
    ] {
        assert_eq!(error.code(), code, "{error}");
    }
}

#[test]
fn short_waits_are_told_in_tenths() {
    let told = |millis| seconds(&Duration::from_millis(millis));
    let short = [0, 449, 951, 1_040, 8_000, 9_949].map(told);
    assert_eq!(short, ["0 s", "0.4 s", "1 s", "1 s", "8 s", "9.9 s"]);
    assert_eq!([9_960, 30_400].map(told), ["10 s", "30 s"]);
}
