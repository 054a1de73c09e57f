//! The subset of `ssh_config` against what `ssh -G` would print.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

/// A home directory with a configuration in it.
struct Home(tempfile::TempDir);

impl Home {
    fn new(config: &str) -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(home.path().join(".ssh")).unwrap();
        home.write(".ssh/config", config);
        home
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn load(&self, host: &str) -> Result<HostConfig, SshError> {
        self.load_for(host, None, None)
    }

    fn load_for(
        &self,
        host: &str,
        user: Option<&str>,
        instead: Option<&Path>,
    ) -> Result<HostConfig, SshError> {
        let system = self.path().join("etc/ssh_config");
        let home = Some(self.path());
        let sources = Sources {
            home,
            instead,
            system: &system,
            local_user: Some("me"),
        };
        load(&sources, host, user, None)
    }
}

#[test]
fn the_first_value_wins_and_patterns_select() {
    let home = Home::new(
        "User early\n\
         Host *.example.org !bad.example.org\n  Port 2200\n  User late\n\
         Host *\n  Port 2300\n  HostName %h.internal\n  IdentitiesOnly yes\n",
    );
    let good = home.load("good.example.org").unwrap();
    assert_eq!(
        (good.port, good.user.as_deref()),
        (Some(2200), Some("early"))
    );
    assert_eq!(good.host_name, "good.example.org.internal");
    assert!(good.identities_only && good.warnings.is_empty() && good.proxy.is_none());
    assert_eq!(home.load("bad.example.org").unwrap().port, Some(2300));
    assert_eq!(
        home.load_for("x", Some("jane"), None)
            .unwrap()
            .user
            .as_deref(),
        Some("jane")
    );
}

#[test]
fn nothing_configured_leaves_the_defaults() {
    let home = Home::new("");
    for instead in [None, Some(Path::new("none"))] {
        let config = home.load_for("host", None, instead).unwrap();
        assert_eq!((config.host_name.as_str(), config.port), ("host", None));
        assert_eq!(config.user.as_deref(), Some("me"));
        assert_eq!(config.strict, Strict::Ask);
        assert!(config.identity_files.is_empty() && config.user_known_hosts.is_none());
    }
}

#[test]
fn identity_files_add_up_and_expand() {
    let home = Home::new(
        "Host h\n IdentityFile ~/.ssh/%r@%h\n IdentityFile \"%d/with space\"\n HostName real\n\
         UserKnownHostsFile ~/kh1 /kh2\nUser jane\n",
    );
    let config = home.load("h").unwrap();
    let path = |name: &str| home.path().join(name);
    assert_eq!(
        config.identity_files,
        [path(".ssh/jane@real"), path("with space")]
    );
    assert_eq!(
        config.user_known_hosts,
        Some(vec![path("kh1"), PathBuf::from("/kh2")])
    );
}

#[test]
fn the_system_file_comes_after_the_users_and_f_replaces_both() {
    let home = Home::new("Port 1\n");
    home.write("etc/ssh_config", "Port 2\nUser system\n");
    home.write("own", "Port 3\n");
    let config = home.load("h").unwrap();
    assert_eq!(
        (config.port, config.user.as_deref()),
        (Some(1), Some("system"))
    );
    let own = home
        .load_for("h", None, Some(&home.path().join("own")))
        .unwrap();
    assert_eq!((own.port, own.user.as_deref()), (Some(3), Some("me")));
    let missing = home.load_for("h", None, Some(Path::new("/no/such/file")));
    assert!(matches!(missing, Err(SshError::ConfigFile { .. })));
}

#[test]
fn includes_apply_where_they_stand() {
    let home =
        Home::new("Host a\n Include conf.d/*.conf missing\nHost *\n User last\n Include ~/other\n");
    home.write(".ssh/conf.d/1.conf", "Port 1001\nHost b\n Port 1002\n");
    home.write(".ssh/conf.d/2.conf", "User included\n");
    home.write("other", "ConnectTimeout 1m30s\n");
    let a = home.load("a").unwrap();
    assert_eq!((a.port, a.user.as_deref()), (Some(1001), Some("included")));
    assert_eq!(a.connect_timeout, Some(Duration::from_secs(90)));
    let b = home.load("b").unwrap();
    assert_eq!(
        (b.port, b.user.as_deref()),
        (None, Some("last")),
        "not inside Host a"
    );
}

#[test]
fn an_include_of_itself_ends() {
    let home = Home::new("Include config\n");
    let error = home.load("h").unwrap_err();
    assert!(
        matches!(
            &error,
            SshError::Config {
                line: 1,
                reason: ConfigFault::IncludeDepth,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn match_blocks_are_ignored_with_one_warning() {
    let home = Home::new(
        "Match host h\n Port 1\nMatch exec \"touch /tmp/never\"\n Port 2\nHost h\n Port 3\n",
    );
    let config = home.load("h").unwrap();
    assert_eq!(config.port, Some(3));
    assert_eq!(config.warnings.len(), 1);
    assert!(
        config.warnings[0].contains("line 1"),
        "{:?}",
        config.warnings
    );
}

#[test]
fn other_ways_to_the_host_are_reported() {
    let home = Home::new("Host h\n ProxyJump none\n ProxyCommand nc %h\nHost j\n ProxyJump gw\n");
    assert!(
        home.load("h").unwrap().proxy.is_none(),
        "none comes first and wins"
    );
    let (option, origin) = home.load("j").unwrap().proxy.unwrap();
    assert_eq!((option, origin.line), ("ProxyJump", 5));
}

#[test]
fn strictness_is_never_lowered_to_nothing() {
    for (value, expected, warnings) in [
        ("yes", Strict::Yes, 0),
        ("ask", Strict::Ask, 0),
        ("accept-new", Strict::AcceptNew, 0),
        ("no", Strict::Ask, 1),
        ("off", Strict::Ask, 1),
    ] {
        let config = Home::new(&format!("StrictHostKeyChecking {value}\n"))
            .load("h")
            .unwrap();
        assert_eq!(
            (config.strict, config.warnings.len()),
            (expected, warnings),
            "{value}"
        );
    }
}

#[test]
fn bad_values_name_their_line_and_unknown_options_pass() {
    let fine = "SomethingNew yes\nSendEnv LANG LC_*\nControlPath ~/%C\nGSSAPIAuthentication\n";
    assert!(Home::new(fine).load("h").is_ok());
    for bad in [
        "Port 0",
        "Port x",
        "Port",
        "Port 70000",
        "ConnectTimeout soon",
        "IdentitiesOnly maybe",
        "StrictHostKeyChecking perhaps",
        "IdentityFile \"open",
        "IdentityFile ~other/key",
        "IdentityFile %z",
        "HostName %r",
    ] {
        let error = Home::new(&format!("# one\n\n{bad}\n"))
            .load("h")
            .unwrap_err();
        assert!(
            matches!(error, SshError::Config { line: 3, .. }),
            "{bad}: {error}"
        );
    }
    assert!(
        Home::new("Host other\n Port x\n").load("h").is_ok(),
        "a block that does not apply"
    );
}

#[test]
fn a_file_others_may_write_is_not_believed() {
    let home = Home::new("Port 1\n");
    let file = home.path().join(".ssh/config");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o622)).unwrap();
    let error = home.load("h").unwrap_err();
    assert!(matches!(error, SshError::ConfigFile { .. }), "{error}");
    assert!(
        home.load_for("h", None, Some(&file)).is_ok(),
        "unless the user names it"
    );
}

#[test]
fn intervals_are_those_of_openssh() {
    for (text, seconds) in [
        ("10", 10),
        ("1m", 60),
        ("1h30m", 5_400),
        ("1d", 86_400),
        ("2w", 1_209_600),
    ] {
        assert_eq!(
            parse_interval(text),
            Some(Duration::from_secs(seconds)),
            "{text}"
        );
    }
    for bad in ["", "0", "x", "m", "10x", "99999999999999999999"] {
        assert_eq!(parse_interval(bad), None, "{bad}");
    }
}
