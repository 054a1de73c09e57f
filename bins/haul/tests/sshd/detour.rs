//! A server that no UDP reaches: the other end runs in a network of its own.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use crate::{ends::HAUL, noise::noise, outcome::of_type, server::Server};

/// A haul for the other end that only its standard streams connect with the world.
fn secluded(server: &Server) -> PathBuf {
    let path = server.path("secluded");
    let script = format!(
        "#!/bin/sh\nexec unshare --net sh -c 'ip link set lo up && exec \"$0\" \"$@\"' {HAUL} \"$@\"\n"
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn where_udp_is_closed_both_ways_go_over_ssh() {
    let server = Server::start();
    let remote = secluded(&server);
    let remote = remote.to_str().unwrap();
    let content = noise(4, 5_000_000);
    fs::write(server.here().join("up"), &content).unwrap();
    fs::write(server.there().join("down"), &content).unwrap();
    let there = format!("127.0.0.1:{}", server.there().display());

    let up = server.json(&["-S", remote, "up", &there]);
    assert_eq!(up.status, 0, "{}", up.stderr);
    let text = of_type(&up.events, "warning")[0]["text"].as_str().unwrap();
    assert!(
        text.contains("client to server") && text.contains("over SSH"),
        "{text}"
    );
    assert!(up.summary("control_bytes").as_u64().unwrap() > 5_000_000);
    assert!(fs::read(server.there().join("up")).unwrap() == content);

    let down = server.json(&["-S", remote, &format!("{there}/down"), "."]);
    assert_eq!(down.status, 0, "{}", down.stderr);
    assert!(fs::read(server.here().join("down")).unwrap() == content);

    let refused = server.json(&["-S", remote, "--no-fallback", "up", &there]);
    assert_eq!(refused.status, 18, "{}", refused.stderr);
}
