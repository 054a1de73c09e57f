//! What a process inside cannot do, tried by one that is inside: this program, started anew for each case.

use std::{
    env,
    error::Error,
    fs,
    io::{Error as IoError, ErrorKind, Write as _, stdout},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::mpsc,
    thread,
};

use haul_jail::{Jail, JailError, Leave, Walls};
use libtest_mimic::{Arguments, Failed, Trial};
use rustix::{
    fs::{CWD, FileType, Mode, mknodat},
    io::Errno,
    net::{AddressFamily, SocketType, socket},
    process::{Resource, Signal, chroot, getppid, getrlimit, kill_process},
};

type Tried = Result<(), Box<dyn Error>>;

/// Who is inside finds here what it needs.
struct Place {
    /// Left to it, and a file `old` in it,
    changing: PathBuf,
    /// the same, for reading only,
    reading: PathBuf,
    /// not left, the same.
    outside: PathBuf,
    /// Somebody listens there.
    listener: SocketAddr,
}

/// How it ends for who tries.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// As it said itself,
    Said,
    /// or by the kernel.
    Killed,
}

/// The walls say what can be expected of them.
type Attempt = fn(&Place, Walls) -> Tried;

/// What is tried.
const CASES: [(&str, End, Attempt); 13] = [
    ("what_is_left_can_be_changed", End::Said, change),
    ("what_is_left_for_reading_is_read_only", End::Said, read),
    ("nothing_else_can_be_reached", End::Said, stay),
    ("a_link_leads_nowhere_else", End::Said, follow),
    ("no_devices_pipes_or_sockets_are_made", End::Said, make_fifo),
    ("udp_works_and_tcp_does_not", End::Said, network),
    ("nobody_outside_gets_a_signal", End::Said, signal),
    ("threads_are_inside_too", End::Said, threads),
    ("there_is_no_core_file", End::Said, core),
    ("no_program_is_started", End::Killed, start),
    ("no_node_is_made", End::Killed, make_node),
    ("no_other_root", End::Killed, |_, _| Ok(chroot("/")?)),
    ("no_odd_sockets", End::Killed, |_, _| {
        socket(AddressFamily::NETLINK, SocketType::RAW, None)?;
        Ok(())
    }),
];

fn main() -> ExitCode {
    let words: Vec<String> = env::args().collect();
    if let [_, inside, name, rest @ ..] = &*words
        && inside == "--inside"
    {
        return match inside_of(name, rest) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                let _ = writeln!(stdout(), "{error}");
                ExitCode::FAILURE
            }
        };
    }
    let mut trials: Vec<Trial> = (CASES.iter())
        .map(|(name, end, _)| Trial::test(*name, || outside_of(name, *end)))
        .collect();
    trials.push(Trial::test("threads_that_run_are_not_left_outside", late));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// Starts the one that tries, and judges.
fn outside_of(name: &str, end: End) -> Result<(), Failed> {
    let top = tempfile::tempdir()?;
    for folder in ["changing", "reading", "outside"] {
        fs::create_dir(top.path().join(folder))?;
        fs::write(top.path().join(folder).join("old"), "old")?;
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let output = Command::new("/proc/self/exe")
        .args(["--inside", name])
        .arg(top.path())
        .arg(listener.local_addr()?.to_string())
        .output()?;
    let is_right = match end {
        End::Said => output.status.success(),
        End::Killed => output.status.signal() == Some(Signal::SYS.as_raw()),
    };
    if is_right {
        return Ok(());
    }
    Err(format!("{output:?}").into())
}

fn inside_of(name: &str, rest: &[String]) -> Tried {
    let [top, listener] = rest else {
        return Err("where?".into());
    };
    let top = Path::new(top);
    let place = Place {
        changing: top.join("changing"),
        reading: top.join("reading"),
        outside: top.join("outside"),
        listener: listener.parse()?,
    };
    let (.., attempt) = (CASES.iter())
        .find(|(known, ..)| *known == name)
        .ok_or("no such case")?;
    let mut jail = Jail::new();
    jail.leave(&place.changing, Leave::Changing)?;
    jail.leave(&place.reading, Leave::Reading)?;
    let walls = jail.close()?;
    attempt(&place, walls)
}

/// It must fail as what is forbidden does.
fn denied<T>(result: Result<T, IoError>, what: &str) -> Tried {
    match result {
        Ok(_) => Err(format!("{what} works").into()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(format!("{what}: {error}").into()),
    }
}

fn change(place: &Place, _: Walls) -> Tried {
    let (old, new) = (place.changing.join("old"), place.changing.join("a/new"));
    fs::create_dir(place.changing.join("a"))?;
    fs::write(&old, "other")?;
    fs::rename(&old, &new)?;
    std::os::unix::fs::symlink("new", place.changing.join("a/link"))?;
    fs::hard_link(&new, place.changing.join("second"))?;
    fs::File::options().write(true).open(&new)?.set_len(3)?;
    fs::remove_file(&new)?;
    fs::remove_file(place.changing.join("a/link"))?;
    Ok(fs::remove_dir(place.changing.join("a"))?)
}

fn read(place: &Place, walls: Walls) -> Tried {
    let old = place.reading.join("old");
    fs::read(&old)?;
    fs::read_dir(&place.reading)?.count();
    if !walls.hold_files() {
        return Ok(());
    }
    denied(fs::write(&old, ""), "writing")?;
    denied(fs::remove_file(&old), "removing")?;
    denied(fs::create_dir(place.reading.join("a")), "making a folder")?;
    denied(
        fs::rename(&old, place.changing.join("old")),
        "taking a file out",
    )
}

fn stay(place: &Place, walls: Walls) -> Tried {
    if !walls.hold_files() {
        return Ok(());
    }
    for path in [&*place.outside.join("old"), Path::new("/etc/passwd")] {
        denied(fs::read(path), "reading outside")?;
        denied(
            fs::File::options().append(true).open(path),
            "writing outside",
        )?;
    }
    denied(fs::read_dir("/"), "listing the root")?;
    let old = place.changing.join("old");
    denied(
        fs::rename(old, place.outside.join("new")),
        "moving something out",
    )
}

fn follow(place: &Place, walls: Walls) -> Tried {
    let link = place.changing.join("link");
    std::os::unix::fs::symlink(place.outside.join("old"), &link)?;
    if !walls.hold_files() {
        return Ok(());
    }
    denied(fs::read(&link), "reading through a link")?;
    denied(
        fs::read("/proc/self/root/etc/passwd"),
        "the root of a process",
    )
}

fn make_fifo(place: &Place, walls: Walls) -> Tried {
    if !walls.hold_files() {
        return Ok(());
    }
    denied(
        std::os::unix::net::UnixListener::bind(place.changing.join("socket")),
        "making a socket",
    )
}

fn network(place: &Place, walls: Walls) -> Tried {
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    udp.send_to(b"to itself", udp.local_addr()?)?;
    let (len, _) = udp.recv_from(&mut [0; 20])?;
    assert_eq!(len, 9);
    if !walls.hold_files() {
        return Ok(());
    }
    denied(TcpStream::connect(place.listener), "TCP to somebody")?;
    denied(
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)),
        "TCP for somebody",
    )
}

fn signal(_: &Place, walls: Walls) -> Tried {
    let parent = getppid().ok_or("no parent")?;
    if !walls.hold_files() {
        return Ok(());
    }
    match kill_process(parent, Signal::CONT) {
        Err(Errno::PERM) => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}

fn threads(place: &Place, walls: Walls) -> Tried {
    let outside = place.outside.join("old");
    let tried = thread::spawn(move || fs::read(outside)).join();
    if !walls.hold_files() {
        return Ok(());
    }
    denied(
        tried.map_err(|_| "it panicked")?,
        "a thread's reading outside",
    )
}

fn core(_: &Place, _: Walls) -> Tried {
    let limit = getrlimit(Resource::Core);
    if (limit.current, limit.maximum) == (Some(0), Some(0)) {
        return Ok(());
    }
    Err(format!("{limit:?}").into())
}

fn start(_: &Place, _: Walls) -> Tried {
    Err(Command::new("/proc/self/exe").exec().into())
}

fn make_node(place: &Place, _: Walls) -> Tried {
    let path = place.changing.join("fifo");
    Ok(mknodat(CWD, path, FileType::Fifo, Mode::RUSR, 0)?)
}

/// Not from inside of anything: this program has threads.
fn late() -> Result<(), Failed> {
    let (stop, until) = mpsc::channel::<()>();
    let other = thread::spawn(move || until.recv());
    let refused = Jail::new().close();
    drop(stop);
    let _ = other.join();
    match refused {
        Err(JailError::Threads(2..)) => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}
