//! The seeds of every target: `valid-…` are accepted by the check, and the tests hold them to it;
//! `hostile-…` begin where attackers would.

mod datagrams;
mod flows;
mod lists;
mod messages;
mod texts;

use std::{fs, io, path::Path};

/// One target's seeds: name and bytes.
type Seeds = Vec<(String, Vec<u8>)>;

/// Writes all of them below `corpus`, one folder a target. Files of other names stay.
pub fn write(corpus: &Path) -> io::Result<()> {
    let targets: [(&str, Seeds); 9] = [
        ("control_frame", messages::control_frame()),
        ("datagram", datagrams::datagram()),
        ("flow_receiver", flows::flow_receiver()),
        ("known_hosts", texts::known_hosts()),
        ("list_entries", lists::list_entries()),
        ("path_bodies", datagrams::path_bodies()),
        ("report", flows::report()),
        ("ssh_config", texts::ssh_config()),
        ("url", texts::url()),
    ];
    for (target, seeds) in targets {
        let folder = corpus.join(target);
        fs::create_dir_all(&folder)?;
        for (name, bytes) in seeds {
            fs::write(folder.join(name), bytes)?;
        }
    }
    Ok(())
}

/// A seed the check accepts.
fn valid(name: &str, bytes: impl Into<Vec<u8>>) -> (String, Vec<u8>) {
    (format!("valid-{name}"), bytes.into())
}

/// A seed that is wrong in one respect.
fn hostile(name: &str, bytes: impl Into<Vec<u8>>) -> (String, Vec<u8>) {
    (format!("hostile-{name}"), bytes.into())
}
