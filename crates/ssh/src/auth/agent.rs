//! What keys the user's agent holds.
//!
//! libssh2 talks to the agent without any time limit, so the list is asked for here first, within a
//! limit: an agent that does not answer this is left out. (Signing has no limit: the user may be
//! asked to confirm or to touch a token.)

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::host_key::blob_type;

/// How long an agent may take for each step of listing its keys.
const PATIENCE: Duration = Duration::from_secs(3);
/// Largest answer taken, the limit of OpenSSH's agent.
const ANSWER_BYTES_MAX: usize = 256 << 10;
/// `SSH_AGENTC_REQUEST_IDENTITIES` (draft-ietf-sshm-ssh-agent, 3.5), framed.
const REQUEST_IDENTITIES: [u8; 5] = [0, 0, 0, 1, 11];
/// `SSH_AGENT_IDENTITIES_ANSWER`.
const IDENTITIES_ANSWER: u8 = 12;

/// Public keys the agent behind `socket` holds, in its order.
///
/// # Errors
/// When there is no agent, or it does not answer in time or not sensibly.
pub(super) fn list(socket: &Path) -> io::Result<Vec<Vec<u8>>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(&REQUEST_IDENTITIES)?;
    let mut len = [0; 4];
    stream.read_exact(&mut len)?;
    let len = u32::from_be_bytes(len) as usize;
    if len > ANSWER_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut answer = vec![0; len];
    stream.read_exact(&mut answer)?;
    parse(&answer).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// `byte 12, uint32 count, count × (string key, string comment)`.
fn parse(answer: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (&kind, rest) = answer.split_first()?;
    if kind != IDENTITIES_ANSWER {
        return None;
    }
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    let mut keys = Vec::new();
    for _ in 0..u32::from_be_bytes(*count) {
        let (key, after) = string(rest)?;
        let (_comment, after) = string(after)?;
        keys.push(key.to_vec());
        rest = after;
    }
    Some(keys)
}

/// A length-prefixed string and what follows it.
pub(super) fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_be_bytes(*len) as usize)
}

/// Whether the key lives on a FIDO token, whose signatures libssh2 cannot carry.
pub(super) fn is_token_key(blob: &[u8]) -> bool {
    blob_type(blob).is_some_and(|name| name.starts_with("sk-"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    #[test]
    fn answers_parse_and_nonsense_does_not() {
        let answer = b"\x0c\0\0\0\x02\0\0\0\x01a\0\0\0\x02cc\0\0\0\x02bb\0\0\0\0";
        assert_eq!(parse(answer), Some(vec![b"a".to_vec(), b"bb".to_vec()]));
        for len in 0..answer.len() {
            assert_eq!(parse(&answer[..len]), None, "cut at {len}");
        }
        assert_eq!(parse(b"\x05"), None, "SSH_AGENT_FAILURE");
        assert_eq!(parse(b"\x0c\xff\xff\xff\xff"), None, "an absurd count");
    }

    #[test]
    fn an_agent_that_hangs_up_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent");
        assert!(list(&path).is_err(), "no socket");
        let listener = UnixListener::bind(&path).unwrap();
        let server = thread::spawn(move || drop(listener.accept().unwrap()));
        assert!(list(&path).is_err());
        server.join().unwrap();
    }
}
