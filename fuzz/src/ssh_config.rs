//! An SSH configuration. Input: the file.

use std::io::Write as _;

/// Any file is read or refused. One with `Include` is passed over: it would name files of this
/// machine.
pub fn check(data: &[u8]) -> bool {
    if data
        .to_ascii_lowercase()
        .windows(7)
        .any(|part| part == b"include")
    {
        return false;
    }
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(data).expect("room for it");
    haul_ssh::check_config(file.path(), "h.example").is_ok()
}
