//! The program as people and scripts use it.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

/// A folder with a key, and the program in it.
struct Desk {
    dir: TempDir,
    recipient: String,
}

impl Desk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut desk = Self {
            dir,
            recipient: String::new(),
        };
        desk.recipient = desk.key("key");
        desk
    }

    /// Makes a key; its recipient.
    fn key(&self, name: &str) -> String {
        let made = self.run(&["keygen", "-o", name]);
        assert!(made.status.success(), "{made:?}");
        String::from_utf8(made.stdout).unwrap().trim().to_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_haul-protect"));
        command.args(args).current_dir(self.dir.path());
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs with this standard input.
    fn run_with(&self, args: &[&str], input: &[u8]) -> Output {
        let mut child = self
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // On a thread: the program may want its output read before it takes all of its input.
        std::thread::scope(|scope| {
            // A program that does not want it may end before it has all.
            scope.spawn(move || stdin.write_all(input).is_ok());
            child.wait_with_output().unwrap()
        })
    }

    fn succeed(&self, args: &[&str]) {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
    }

    /// Fails with this status, and one line that holds `words`.
    fn fail(&self, args: &[&str], status: i32, words: &str) {
        let output = self.run(args);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{args:?}: {said}");
        assert!(said.contains(words), "{args:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }

    /// The names in the folder.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn contents() -> Vec<u8> {
    (0..200_000_u32)
        .map(|at| (at.wrapping_mul(at) >> 7) as u8)
        .collect()
}

#[test]
fn files_are_encrypted_beside_themselves_and_come_back() {
    let desk = Desk::new();
    assert_eq!(mode(&desk.path("key")), 0o600);
    for (name, bytes) in [("a", contents()), ("b.txt", Vec::new())] {
        fs::write(desk.path(name), bytes).unwrap();
        fs::set_permissions(desk.path(name), fs::Permissions::from_mode(0o640)).unwrap();
    }
    desk.succeed(&["encrypt", "-r", &desk.recipient, "a", "b.txt"]);
    assert_eq!(desk.names(), ["a", "a.age", "b.txt", "b.txt.age", "key"]);
    assert_eq!(mode(&desk.path("a.age")), 0o640);
    fs::remove_file(desk.path("a")).unwrap();
    fs::remove_file(desk.path("b.txt")).unwrap();
    desk.succeed(&["decrypt", "-i", "key", "a.age", "b.txt.age"]);
    assert!(fs::read(desk.path("a")).unwrap() == contents());
    assert!(fs::read(desk.path("b.txt")).unwrap().is_empty());
    assert_eq!(mode(&desk.path("a")), 0o600, "decrypted is private");
    fs::remove_file(desk.path("a")).unwrap();
    desk.succeed(&["decrypt", "-i", "key", "--mode", "644", "a.age"]);
    assert_eq!(mode(&desk.path("a")), 0o644);
}

#[test]
fn streams_go_through() {
    let desk = Desk::new();
    let sealed = desk.run_with(&["encrypt", "-r", &desk.recipient, "-"], &contents());
    assert!(sealed.status.success() && sealed.stdout.starts_with(b"age-encryption.org/v1\n"));
    let opened = desk.run_with(&["decrypt", "-i", "key", "-"], &sealed.stdout);
    assert!(opened.status.success() && opened.stdout == contents());
    let opened = desk.run_with(
        &["decrypt", "-i", "key", "-o", "plain", "-"],
        &sealed.stdout,
    );
    assert!(opened.status.success(), "{opened:?}");
    assert!(fs::read(desk.path("plain")).unwrap() == contents());
}

#[test]
fn nothing_is_replaced_without_force() {
    let desk = Desk::new();
    fs::write(desk.path("a"), "new").unwrap();
    fs::write(desk.path("a.age"), "precious").unwrap();
    let recipient = desk.recipient.clone();
    desk.fail(&["encrypt", "-r", &recipient, "a"], 22, "--force");
    assert_eq!(fs::read(desk.path("a.age")).unwrap(), b"precious");
    desk.succeed(&["encrypt", "--force", "-r", &recipient, "a"]);
    desk.fail(&["decrypt", "-i", "key", "a.age"], 22, "a is there already");
    fs::write(desk.path("a"), "old").unwrap();
    desk.succeed(&["decrypt", "-f", "-i", "key", "a.age"]);
    assert_eq!(fs::read(desk.path("a")).unwrap(), b"new");
    desk.fail(&["keygen", "-o", "key"], 22, "is there already");
}

#[test]
fn what_is_damaged_or_for_others_leaves_nothing_behind() {
    let desk = Desk::new();
    desk.key("other");
    fs::write(desk.path("a"), contents()).unwrap();
    desk.succeed(&["encrypt", "-r", &desk.recipient, "a"]);
    fs::remove_file(desk.path("a")).unwrap();
    let whole = fs::read(desk.path("a.age")).unwrap();
    let names = desk.names();
    desk.fail(&["decrypt", "-i", "other", "a.age"], 21, "somebody else");
    let mut damaged = whole.clone();
    damaged[100_000] ^= 1;
    fs::write(desk.path("a.age"), &damaged).unwrap();
    desk.fail(
        &["decrypt", "-i", "key", "a.age"],
        25,
        "damaged at byte 65536",
    );
    fs::write(desk.path("a.age"), &whole[..whole.len() - 1]).unwrap();
    desk.fail(&["decrypt", "-i", "key", "a.age"], 25, "damaged");
    fs::write(desk.path("a.age"), "plain text").unwrap();
    desk.fail(&["decrypt", "-i", "key", "a.age"], 2, "no age file");
    assert_eq!(desk.names(), names);
}

#[test]
fn of_several_files_those_that_can_be_done_are() {
    let desk = Desk::new();
    fs::write(desk.path("a"), "a").unwrap();
    let output = desk.run(&["encrypt", "-r", &desk.recipient, "missing", "a"]);
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("missing") && said.contains("1 of 2"),
        "{said}"
    );
    assert!(desk.path("a.age").exists());
    let recipient = desk.recipient.clone();
    desk.fail(&["encrypt", "-r", &recipient, "missing"], 20, "missing");
}

#[test]
fn a_passphrase_comes_from_a_file_and_stands_alone() {
    let desk = Desk::new();
    fs::write(desk.path("a"), "secret").unwrap();
    fs::write(desk.path("pass"), "correct horse\n").unwrap();
    fs::write(desk.path("wrong"), "wrong horse\n").unwrap();
    let recipient = desk.recipient.clone();
    let both = [
        "encrypt",
        "-r",
        &recipient,
        "--passphrase-file",
        "pass",
        "a",
    ];
    desk.fail(&both, 2, "one or the other");
    desk.succeed(&["encrypt", "--passphrase-file", "pass", "a"]);
    fs::remove_file(desk.path("a")).unwrap();
    let wrong = ["decrypt", "--passphrase-file", "wrong", "a.age"];
    desk.fail(&wrong, 21, "passphrase is wrong");
    let looked = desk.run(&["inspect", "a.age"]);
    let said = String::from_utf8(looked.stdout).unwrap();
    assert_eq!(
        said,
        "a.age: age v1, for scrypt (work 2^18); 6 bytes of contents\n"
    );
    desk.succeed(&["decrypt", "--passphrase-file", "pass", "a.age"]);
    assert_eq!(fs::read(desk.path("a")).unwrap(), b"secret");
}

#[test]
fn a_recipient_is_added_in_place() {
    let desk = Desk::new();
    let other = desk.key("other");
    fs::write(desk.path("team"), format!("# us\n\n{other}\n")).unwrap();
    fs::write(desk.path("a"), contents()).unwrap();
    desk.succeed(&["encrypt", "-r", &desk.recipient, "a"]);
    fs::remove_file(desk.path("a")).unwrap();
    fs::set_permissions(desk.path("a.age"), fs::Permissions::from_mode(0o644)).unwrap();
    desk.fail(
        &["add-recipient", "-i", "other", "-R", "team", "a.age"],
        21,
        "somebody else",
    );
    desk.succeed(&["add-recipient", "-i", "key", "-R", "team", "a.age"]);
    assert_eq!(mode(&desk.path("a.age")), 0o644);
    let looked = desk.run(&["inspect", "a.age"]);
    let said = String::from_utf8(looked.stdout).unwrap();
    assert!(said.contains("X25519, X25519; 200000 bytes"), "{said}");
    for key in ["key", "other"] {
        desk.succeed(&["decrypt", "-f", "-i", key, "a.age"]);
        assert!(fs::read(desk.path("a")).unwrap() == contents());
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_what_to_do() {
    let desk = Desk::new();
    fs::write(desk.path("a"), "a").unwrap();
    fs::create_dir(desk.path("dir")).unwrap();
    let recipient = desk.recipient.clone();
    desk.fail(&["encrypt", "a"], 2, "name a recipient");
    desk.fail(&["encrypt", "-r", "age1nobody", "a"], 2, "no age recipient");
    desk.fail(&["encrypt", "-R", "key", "a"], 2, "secret key");
    desk.fail(&["encrypt", "-r", &recipient, "dir"], 2, "directory");
    desk.fail(&["encrypt", "-o", "x", "-r", &recipient, "a", "a"], 2, "-o");
    desk.fail(&["decrypt", "a.age"], 2, "nothing to decrypt with");
    desk.fail(&["decrypt", "-i", "key", "a"], 2, "does not end in .age");
    desk.fail(&["decrypt", "-i", "none", "a.age"], 20, "cannot read none");
}
