use clap::Parser;

use haul_transfer::Measure;

use super::*;

fn resolve(line: &[&str]) -> Result<Job, JobError> {
    let args = Args::try_parse_from(std::iter::once(&"haul").chain(line));
    Job::resolve(&args.unwrap_or_else(|error| panic!("{line:?}: {error}")))
}

fn job(line: &[&str]) -> Job {
    resolve(line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
}

#[test]
fn sources_may_come_from_a_list() {
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("list");
    let one = dir.path().join("one:with colon");
    let two = dir.path().join("two\nlines");
    for file in [&one, &two] {
        fs::write(file, "x").unwrap();
    }
    let names = |names: &[&std::path::Path], end: u8| {
        let names = names.iter().map(|name| name.as_os_str().as_bytes());
        names
            .flat_map(|name| [name, &[end]].concat())
            .collect::<Vec<u8>>()
    };
    let option = format!("--file-list={}", list.display());
    fs::write(&list, names(&[&one], b'\n')).unwrap();
    let lines = job(&[&option, "host:"]).transfer;
    assert_eq!(lines.sources, [one.as_os_str().as_bytes()]);
    fs::write(&list, names(&[&one, &two], 0)).unwrap();
    let zeros = job(&[&option, "-0", "host:"]).transfer;
    assert_eq!(zeros.sources.len(), 2);
    fs::write(&list, "host:a\nhost:b c\n\n").unwrap();
    let down = job(&[&option, "."]).transfer;
    assert_eq!(down.sources, [b"a".to_vec(), b"b c".to_vec()]);
    fs::write(&list, "").unwrap();
    let none = resolve(&[&option, "host:"]);
    assert!(matches!(none, Err(JobError::TooFewPlaces)));
    let missing = resolve(&["--file-list=/no/such/list", "host:"]).unwrap_err();
    assert!(missing.to_string().contains("/no/such/list"), "{missing}");
}

#[test]
fn pairs_are_sources_and_their_places() {
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("list");
    let option = format!("--file-pair-list={}", list.display());
    fs::write(&list, "host:a\nx/1\nhost:b*\n\ny\n").unwrap();
    let down = job(&[&option, "."]).transfer;
    assert_eq!(down.sources, [b"a".to_vec(), b"b*".to_vec()]);
    let targets: Vec<_> = down
        .options
        .taking
        .targets
        .iter()
        .map(|t| t.to_vec())
        .collect();
    assert_eq!(targets, [b"x/1".to_vec(), b"y".to_vec()]);
    assert!(down.options.placing.create_dir);
    let beside = resolve(&[&option, "host:c", "."]);
    assert!(matches!(beside, Err(JobError::PairsWithSources)));
    fs::write(&list, "host:a\n").unwrap();
    assert!(matches!(resolve(&[&option, "."]), Err(JobError::Pairs(_))));
}

#[test]
fn a_dash_is_a_stream() {
    let up = job(&["-", "host:x"]);
    assert_eq!(up.transfer.sources, [b"stdin".to_vec()]);
    assert!(up.transfer.options.input.is_some() && !up.takes_keys);
    assert_eq!(up.retry_for, Duration::ZERO);
    let down = job(&["host:x", "-"]);
    assert!(down.transfer.options.output.is_some());
    assert!(!down.transfer.options.taking.recursive);
    for (wrong, words) in [
        (&["-", "/dev/null", "host:"][..], "one stream"),
        (&["host:a", "host:b", "-"], "one stream"),
        (&["--json", "host:a", "-"], "one of them"),
        (&["-L", "-", "host:a", "-"], "one of them"),
        (&["--overwrite", "never", "-", "host:"], "--overwrite"),
        (&["--remove-after", "-", "host:"], "is a stream"),
        (&["--src-base", "x", "host:x/a", "-"], "is a stream"),
        (
            &["--overwrite", "older", "--grow", "5", "host:a", "."],
            "--overwrite",
        ),
        (&["-", "-"], "on this machine"),
        (&["/dev/null", "-"], "on this machine"),
    ] {
        let error = resolve(wrong).unwrap_err();
        assert!(error.to_string().contains(words), "{wrong:?}: {error}");
        assert_eq!(error.code(), ErrorCode::Usage);
    }
}

#[test]
fn what_becomes_of_sources_reaches_the_job() {
    let taking = |line: &[&str]| job(line).transfer.options.taking;
    let moved = taking(&["--move-after", "old", "--remove-empty-dirs", "host:a", "."]);
    assert_eq!(
        moved.after,
        haul_transfer::After::Move(b"old".to_vec().into())
    );
    assert!(moved.remove_empty_dirs);
    let removed = taking(&[
        "--remove-after",
        "--symlinks",
        "skip",
        "--skip-special",
        "host:a",
        ".",
    ]);
    assert_eq!(removed.after, haul_transfer::After::Remove);
    assert_eq!(removed.symlinks, haul_transfer::Symlinks::Skip);
    assert!(removed.skip_special);
    assert_eq!(
        taking(&["--range", "5-", "host:a", "."]).range,
        Some((5, u64::MAX))
    );
    for wrong in [
        &["--remove-after", "--move-after", "x", "host:a", "."][..],
        &["--remove-empty-dirs", "host:a", "."],
        &["--grow", "5", "--range", "1-2", "host:a", "."],
        &["-0", "host:a", "."],
    ] {
        let parsed = Args::try_parse_from(std::iter::once(&"haul").chain(wrong));
        assert!(parsed.is_err(), "{wrong:?}");
    }
}

#[test]
fn the_remote_side_gives_the_direction() {
    let up = job(&["/dev/null", "/", "ann@host:in"]);
    assert_eq!(up.transfer.direction, Direction::Upload);
    assert_eq!(up.transfer.sources, [b"/dev/null".to_vec(), b"/".to_vec()]);
    assert_eq!(up.transfer.destination, b"in");
    assert_eq!(up.target.user.as_deref(), Some("ann"));

    let down = job(&["host:a", "haul://host/b", "."]);
    assert_eq!(down.transfer.direction, Direction::Download);
    assert_eq!(down.transfer.sources, [b"a".to_vec(), b"/b".to_vec()]);
    assert_eq!(down.transfer.destination, b".");
}

#[test]
fn sides_that_cannot_be_are_usage_errors() {
    let cases: [(&[&str], &str); 9] = [
        (&[], "source and a destination"),
        (&["h:a"], "source and a destination"),
        (&["/dev/null", "/tmp"], "on this machine"),
        (&["h:a", "h:b"], "both sides are remote"),
        (&["h:a", "/dev/null", "/tmp"], "two commands"),
        (&["/dev/null", "h:a", "h:b"], "both sides are remote"),
        (&["h:a", "g:b", "."], "\"h\" and on \"g\""),
        (&["ann@h:a", "h:b", "."], "\"ann@h\" and on \"h\""),
        (&["", "h:b"], "empty path"),
    ];
    for (line, words) in cases {
        let error = resolve(line).expect_err(&format!("{line:?}"));
        assert_eq!(error.code(), ErrorCode::Usage, "{line:?}");
        assert!(error.to_string().contains(words), "{line:?}: {error}");
    }
}

#[test]
fn a_measurement_needs_a_host_and_nothing_else() {
    let up = job(&["--measure", "ann@host"]);
    assert_eq!(up.transfer.direction, Direction::Upload);
    assert_eq!(up.transfer.measure, Some(Measure::Millis(10_000)));
    assert!(up.transfer.sources.is_empty() && up.transfer.destination.is_empty());
    let down = job(&["--measure=2G", "-R", "host:"]);
    assert_eq!(down.transfer.direction, Direction::Download);
    assert_eq!(down.transfer.measure, Some(Measure::Bytes(2_000_000_000)));
    for line in [
        &["--measure"][..],
        &["--measure", "a", "h"],
        &["--measure", "h:dir"],
    ] {
        let error = resolve(line).expect_err(&format!("{line:?}"));
        assert_eq!(error.code(), ErrorCode::Usage, "{line:?}");
    }
    assert!(Args::try_parse_from(["haul", "-R", "a", "h:"]).is_err());
}

#[test]
fn a_missing_source_is_told_before_logging_in() {
    let error = resolve(&["/nonexistent/\u{1b}[2J", "h:"]).unwrap_err();
    assert_eq!(error.code(), ErrorCode::NoSuchSource);
    assert!(!error.to_string().contains('\u{1b}'), "{error}");
}

#[test]
fn the_port_may_come_from_either_place() {
    assert_eq!(job(&["h:a", "."]).target.port, None);
    assert_eq!(job(&["-P", "2222", "h:a", "."]).target.port, Some(2222));
    assert_eq!(job(&["haul://h:2222/a", "."]).target.port, Some(2222));
    assert_eq!(
        job(&["-P", "2222", "haul://h:2222/a", "."]).target.port,
        Some(2222)
    );
    assert!(matches!(
        resolve(&["-P", "22", "haul://h:2222/a", "."]),
        Err(JobError::TwoPorts(22, 2222))
    ));
}

#[test]
fn rates_must_fit_each_other() {
    let options = job(&["-l", "1G", "-m", "5M", "h:a", "."]).transfer.options;
    assert_eq!(options.rate_target_bps, Some(1_000_000_000));
    assert_eq!(options.rate_min_bps, 5_000_000);
    assert!(matches!(
        resolve(&["--policy", "fixed", "h:a", "."]),
        Err(JobError::FixedWithoutRate)
    ));
    assert!(matches!(
        resolve(&["-l", "1M", "-m", "2M", "h:a", "."]),
        Err(JobError::MinAboveTarget)
    ));
}

#[test]
fn every_policy_can_be_named() {
    for (name, policy) in [
        ("fair", Policy::Fair),
        ("high", Policy::High),
        ("low", Policy::Low),
    ] {
        let options = job(&["--policy", name, "h:a", "."]).transfer.options;
        assert_eq!(options.policy, policy);
    }
}

#[test]
fn what_one_kind_of_ssh_cannot_do_is_not_passed_over() {
    let pin = "SHA256:uNiVztksCsDhcc0u9e8BrrPhCQjxn0lwZsZ8f3Lm3rc";
    assert!(matches!(
        resolve(&["--host-key", pin, "--ssh-program", "ssh", "h:a", "."]),
        Err(JobError::PinWithSshProgram)
    ));
}

#[test]
fn the_remote_command_is_plain_or_quoted() {
    assert_eq!(job(&["h:a", "."]).remote_command, "haul --remote --proto 1");
    assert_eq!(
        job(&[
            "-T",
            "--any-source",
            "-O",
            "5000",
            "-S",
            "/o p/h",
            "h:a",
            "."
        ])
        .remote_command,
        "'/o p/h' --remote --proto 1 --udp-ports 5000-5000 --any-source --allow-none"
    );
    let kept = |places: &[&str]| job(&[&["-a", "--privileged"], places].concat()).remote_command;
    let leave = "haul --remote --proto 1 --allow-privileged";
    assert_eq!(kept(&["Cargo.toml", "h:"]), leave);
    // What lands here is this side's own business.
    assert_eq!(kept(&["h:a", "."]), "haul --remote --proto 1");
    assert!(matches!(
        resolve(&["--privileged", "h:a", "."]),
        Err(JobError::NothingKept)
    ));
    for odd in ["", "a\nb"] {
        assert!(matches!(
            resolve(&["-S", odd, "h:a", "."]),
            Err(JobError::RemoteHaul(_))
        ));
    }
}

#[test]
fn ports_are_the_servers_choice_unless_insisted_on() {
    let ports = |line: &[&str]| job(line).transfer.options.udp_ports;
    assert_eq!(ports(&["h:a", "."]), haul_transfer::ANY_UDP_PORT);
    assert_eq!(ports(&["-O", "5000-5010", "h:a", "."]), 5000..=5010);
}

#[test]
fn not_encrypting_must_be_asked_for() {
    let suites = |line: &[&str]| job(line).transfer.options.suites;
    for line in [&["h:a", "."][..], &["-c", "auto", "h:a", "."]] {
        assert!(!suites(line).contains(&SuiteId::NoneCmac), "{line:?}");
    }
    assert_eq!(suites(&["-T", "h:a", "."]), [SuiteId::NoneCmac]);
    assert_eq!(
        suites(&["-c", "none-cmac", "h:a", "."]),
        [SuiteId::NoneCmac]
    );
    assert_eq!(
        suites(&["-c", "aes256-gcm", "h:a", "."]),
        [SuiteId::Aes256Gcm]
    );
    assert_eq!(suites(&["h:a", "."])[0], SuiteId::Aes128Cfb);
}

#[test]
fn auto_prefers_what_the_processor_does() {
    let args = Args::try_parse_from(["haul", "-c", "auto", "h:a", "."]).unwrap();
    let first = |aes| offered_suites(&args.security, aes).unwrap()[0];
    assert_eq!(first(true), SuiteId::Aes128Gcm);
    assert_eq!(first(false), SuiteId::ChaCha20Poly1305);
}

#[test]
fn the_address_family_may_be_chosen() {
    let family = |line: &[&str]| job(line).login.family;
    assert_eq!(family(&["h:a", "."]), Family::Any);
    assert_eq!(family(&["-4", "h:a", "."]), Family::V4);
    assert_eq!(
        family(&["-6", "--ssh-program", "ssh", "h:a", "."]),
        Family::V6
    );
}

#[test]
fn an_external_ssh_is_split_into_words() {
    let program = ["--ssh-program", "ssh -J 'a b'", "--connect-timeout", "1.5"];
    let login = job(&[&program[..], &["h:a", "."]].concat()).login;
    let words = ["ssh", "-J", "a b", "-o", "ConnectTimeout=2"].map(OsString::from);
    assert_eq!(login.ssh_program, Some(words.to_vec()));
    assert!(matches!(
        resolve(&["--ssh-program", "ssh '", "h:a", "."]),
        Err(JobError::SshProgram(_))
    ));
}

#[test]
fn a_pin_is_a_fingerprint() {
    let pin = "SHA256:uNiVztksCsDhcc0u9e8BrrPhCQjxn0lwZsZ8f3Lm3rc";
    assert_eq!(
        job(&["--host-key", pin, "h:a", "."])
            .login
            .host_key_pin
            .as_deref(),
        Some(pin)
    );
    for wrong in [
        "",
        "MD5:aa:bb",
        "SHA256:short",
        "uNiVztksCsDhcc0u9e8BrrPhCQjxn0lwZsZ8f3Lm3rc",
    ] {
        assert!(
            matches!(
                resolve(&["--host-key", wrong, "h:a", "."]),
                Err(JobError::Fingerprint(_))
            ),
            "{wrong}"
        );
    }
}
