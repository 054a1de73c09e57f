//! A peer that follows a script instead of the protocol, at either end of a real haul.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use crate::{
    ends::HAUL,
    judging::expect_one_error,
    outcome::{expect_status, stderr},
    site::{Site, finish},
    tree::{Tree, tree},
};

fn evil() -> PathBuf {
    let binary = PathBuf::from(HAUL).with_file_name("haul-evil");
    assert!(
        binary.exists(),
        "haul-evil is not built: scripts/test builds it first"
    );
    binary
}

/// What haul makes of another end that plays this.
fn against(site: &Site, scenario: &str, arguments: &[&str]) -> Output {
    let program = format!("{} server {scenario}", evil().display());
    let mut command = site.bare();
    command.args(["--ssh-program", &program, "--retry-for", "0"]);
    finish(command.args(arguments).spawn().unwrap())
}

/// What a download of `f` from it ends with: this status and one error, and nothing has been made.
#[track_caller]
fn download(scenario: &str, status: i32) -> String {
    let site = Site::new();
    let output = against(&site, scenario, &["localhost:f", "."]);
    expect_status(status, &output);
    let published = tree(&site.here());
    assert!(published.is_empty(), "{scenario}: {published:?}");
    expect_one_error(&output)
}

/// What an upload to it ends with.
#[track_caller]
fn upload(scenario: &str, status: i32) -> String {
    let site = Site::new();
    fs::write(site.here().join("f"), vec![b'x'; 1 << 20]).unwrap();
    let output = against(&site, scenario, &["f", "localhost:"]);
    expect_status(status, &output);
    expect_one_error(&output)
}

/// What `haul --remote` that serves this ends with, and what it has made.
fn served(scenario: &str) -> (Output, Tree) {
    let site = Site::new();
    let child = Command::new(evil())
        .args(["client", scenario, HAUL, "--remote", "--proto", "1"])
        .current_dir(site.there())
        .env("HOME", site.there())
        .env("SSH_CONNECTION", "127.0.0.1 50000 127.0.0.1 22")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    (finish(child), tree(&site.there()))
}

/// It ends with this status, and nothing has been made. Its last words.
#[track_caller]
fn serve(scenario: &str, status: i32) -> String {
    let (output, made) = served(scenario);
    expect_status(status, &output);
    assert!(made.is_empty(), "{scenario}: {made:?}");
    stderr(&output)
}

#[test]
fn w21_data_that_no_file_has_ends() {
    for scenario in ["w21-beyond-end", "w21-no-length", "w21-other-length"] {
        download(scenario, 32);
    }
}

#[test]
fn w22_the_second_of_two_different_blocks_is_ignored() {
    let site = Site::new();
    let output = against(&site, "w22-twice", &["localhost:f", "."]);
    expect_status(0, &output);
    assert_eq!(fs::read(site.here().join("f")).unwrap(), [b'1'; 100]);
}

#[test]
fn w23_a_report_of_what_was_never_sent_ends() {
    let error = upload("w23-unsent", 32);
    assert!(error.contains("only numbers below"), "{error}");
}

#[test]
fn w24_absurd_reports_are_borne() {
    upload("w24-absurd", 130);
}

#[test]
fn w25_a_report_of_too_many_ranges_ends() {
    upload("w25-ranges", 32);
}

#[test]
fn w27_a_closed_direction_is_named_in_time() {
    let began = Instant::now();
    let site = Site::new();
    fs::write(site.here().join("f"), "x").unwrap();
    let output = against(&site, "w27-silence", &["--no-fallback", "f", "localhost:"]);
    expect_status(18, &output);
    let error = expect_one_error(&output);
    assert!(error.contains("server to client"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(15));
}

#[test]
fn c34_a_frame_longer_than_any_ends() {
    download("c34-length", 32);
    serve("c34-length", 32);
}

#[test]
fn c35_a_trickled_hello_meets_the_deadline() {
    let error = download("c35-trickle", 19);
    assert!(error.contains("no server hello"), "{error}");
}

#[test]
fn c36_noise_is_borne_escaped_or_ends() {
    download("c36-noise", 32);
    let error = download("c36-escapes", 14);
    assert!(error.contains("\\u{1b}]0;owned\\u{7}"), "{error}");
}

#[test]
fn c37_no_common_suite_ends_with_what_was_offered_and_allowed() {
    for scenario in ["c37-nothing-known", "c37-only-plaintext"] {
        let words = serve(scenario, 16);
        assert!(words.contains("no common cipher: offered"), "{words}");
        assert!(words.contains("allowed here aes128cfb"), "{words}");
    }
}

#[test]
fn c38_a_choice_that_was_not_offered_ends() {
    for scenario in ["c38-suite", "c38-version"] {
        let error = download(scenario, 32);
        assert!(error.contains("not offered"), "{error}");
    }
}

#[test]
fn c40_a_key_share_of_nothing_ends() {
    download("c40-zero-share", 32);
    serve("c40-zero-share", 32);
}

#[test]
fn c41_a_confirmation_wrong_missing_or_twice_ends() {
    download("c41-wrong", 33);
    download("c41-missing", 19);
    download("c41-twice", 32);
    serve("c41-wrong", 33);
    serve("c41-twice", 32);
    serve("c41-missing", 19);
}

#[test]
fn c42_messages_out_of_order_end() {
    for scenario in ["c42-verdict-first", "c42-status-first", "c42-confirm-again"] {
        let error = download(scenario, 32);
        assert!(error.contains("unexpected"), "{error}");
    }
    for scenario in ["c42-request-first", "c42-verdict-first"] {
        serve(scenario, 32);
    }
}

#[test]
fn c43_a_feature_that_must_be_known_and_is_not_ends() {
    download("c43-required", 15);
    serve("c43-required", 15);
}

#[test]
fn c44_lists_of_absurd_length_depth_or_size_end() {
    download("c44-overflow", 32);
    serve("c44-sources", 32);
    // Of what is too deep nothing is made; what comes before it was a list like others.
    let (output, made) = served("c44-deep");
    expect_status(32, &output);
    assert!(made.len() <= 1_024, "{} levels", made.len());
}

#[test]
fn c45_absurd_limits_of_the_peer_are_borne() {
    upload("c45-limits", 30);
}

#[test]
fn c47_a_megabyte_of_nothing_sensible_ends() {
    download("c47-depth", 32);
}

#[test]
fn c48_words_of_the_peer_are_cut_and_escaped() {
    let error = download("c48-words", 23);
    assert!(
        error.contains("\\u{1b}]0;owned\\u{7}\\r\\nhaul: error: fake"),
        "{error}"
    );
    assert!(error.len() < 1_400, "{}", error.len());
}

#[test]
fn c49_an_end_in_every_state_is_noticed() {
    download("c49-nothing", 14);
    for scenario in [
        "c49-preamble",
        "c49-confirmed",
        "c49-accepted",
        "c49-opened",
    ] {
        download(scenario, 30);
        upload(scenario, 30);
    }
    for scenario in [
        "c49-preamble",
        "c49-confirmed",
        "c49-requested",
        "c49-opened",
    ] {
        serve(scenario, 30);
    }
}

#[test]
fn c50_a_peer_that_does_not_listen_ends() {
    let error = upload("c50-deaf", 30);
    assert!(error.contains("does not read"), "{error}");
}

#[test]
fn n62_names_that_lead_elsewhere_end() {
    for scenario in [
        "n62-..", "n62-.", "n62-|abs", "n62-..|a", "n62-a||b", "n62-a|", "n62-a0b",
    ] {
        download(scenario, 32);
    }
    serve("n62-names", 32);
}

#[test]
fn n73_powers_of_the_peer_are_not_given() {
    use std::os::unix::fs::PermissionsExt as _;
    let site = Site::new();
    let output = against(&site, "n73-powers", &["-p", "localhost:f", "."]);
    expect_status(0, &output);
    let mode = fs::metadata(site.here().join("f"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o777);
}

#[test]
fn n74_a_name_that_was_not_asked_for_ends() {
    let error = download("n74-unasked", 32);
    assert!(error.contains("not asked for"), "{error}");
}
