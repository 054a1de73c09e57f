//! What of files could not be kept beside their contents: how one end tells the other, and people.

use haul_disk::Unkept;
use haul_wire::control::{self, PATH_LEN_MAX, Text, UNKEPT_MAX, escaped};
use serde_bytes::ByteBuf;

/// As it travels in the verdict.
pub(super) fn to_wire(unkept: &[Unkept]) -> Vec<control::Unkept> {
    let kinds = unkept.iter().take(UNKEPT_MAX);
    let told = kinds.map(|unkept| control::Unkept {
        kind: Text::new(unkept.attribute.to_string()),
        count: unkept.count,
        path: ByteBuf::from(&unkept.path[..unkept.path.len().min(PATH_LEN_MAX)]),
        why: Text::new(unkept.why.to_string()),
    });
    told.collect()
}

/// For a person: `done` is what could not be done with it.
pub(super) fn told(unkept: &control::Unkept, done: &str) -> String {
    let control::Unkept {
        kind,
        count,
        path,
        why,
    } = unkept;
    let path = escaped(path);
    match count {
        1 => format!("{kind} of {path} could not be {done}: {why}"),
        _ => format!("{kind} of {count} files could not be {done} (first: {path}): {why}"),
    }
}

#[cfg(test)]
mod tests {
    use haul_disk::{Attribute, KeepError};

    use super::*;

    #[test]
    fn what_is_not_kept_is_told_in_one_line() {
        let mut unkept = Unkept {
            attribute: Attribute::Owner,
            count: 12,
            path: b"a/\x1b[2J".to_vec(),
            why: KeepError::Unprivileged,
        };
        let text = |unkept: &Unkept| told(&to_wire(std::slice::from_ref(unkept))[0], "kept");
        assert_eq!(
            text(&unkept),
            "owner of 12 files could not be kept (first: a/\\u{1b}[2J): only with --privileged"
        );
        unkept.count = 1;
        unkept.path = vec![b'n'; PATH_LEN_MAX + 1];
        let long = text(&unkept);
        assert!(long.starts_with("owner of nnn") && long.contains("n could not be kept: only"));
        assert!(long.len() < PATH_LEN_MAX + 80);
    }
}
