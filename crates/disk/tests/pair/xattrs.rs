//! Extended attributes by path.

use std::path::Path;

use rustix::{
    fs::{XattrFlags, lgetxattr, lsetxattr},
    io::Errno,
    process::geteuid,
};

pub const ACCESS: &str = "system.posix_acl_access";
pub const DEFAULT: &str = "system.posix_acl_default";

/// An access control list as the kernel takes it (version 2): owner, user 77, group, mask, others.
pub fn acl(mask: u8) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0];
    let nobody = u32::MAX;
    for (tag, permissions, id) in [
        (1_u8, 7, nobody),
        (2, 6, 77),
        (4, 5, nobody),
        (0x10, mask, nobody),
        (0x20, 0, nobody),
    ] {
        bytes.extend([tag, 0, permissions, 0]);
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

/// `VFS_CAP_REVISION_2` with `CAP_NET_RAW` permitted and effective.
pub fn capability() -> Vec<u8> {
    let words = [0x0200_0001_u32, 1 << 13, 0, 0, 0];
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

pub fn set(path: &Path, name: &str, value: &[u8]) {
    lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
}

pub fn get(path: &Path, name: &str) -> Result<Vec<u8>, Errno> {
    let mut value = vec![0; 70_000];
    let len = lgetxattr(path, name, &mut value)?;
    value.truncate(len);
    Ok(value)
}

pub fn need_root() {
    assert!(
        geteuid().is_root(),
        "this test needs root, to give files away"
    );
}
