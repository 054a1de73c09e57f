//! Of a protected file nothing leaves as it is, and no part leaves twice with different contents.
#![allow(clippy::unwrap_used)]

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::Path,
    sync::Arc,
};

use haul_batch::Pool;
use haul_disk::{Outgoing, Protection, ScanOptions, Wanted};
use haul_manifest::TORN;
use haul_vault::{Identities, Opener, Recipients, keygen};
use haul_wire::{BLOCK_ADDR_LEN, BlockAddr, HEADER_LEN, segment_len};

const BLOCK_LEN: usize = 1_400;
/// More chunks than are kept sealed.
const CONTENTS_LEN: usize = 20 * 64 * 1024 + 77;

/// A file as it is sent, for a recipient who is there too.
fn sent(source: &Path) -> (Arc<Outgoing>, u64, Identities) {
    let (secret, public) = keygen();
    let key = source.with_extension("key");
    fs::write(&key, secret.as_bytes()).unwrap();
    let mut identities = Identities::default();
    identities.add_file(&key).unwrap();
    let mut recipients = Recipients::default();
    recipients.add(&public).unwrap();
    let mut wanted = Wanted::new(vec![source.to_owned()], ScanOptions::default());
    wanted.protection = Some(Protection {
        recipients: Arc::new(recipients),
        suffix: ".age".to_owned(),
    });
    let outgoing = Outgoing::new(BLOCK_LEN, wanted);
    let totals = outgoing.scan(&mut |_| {}).unwrap();
    (outgoing, totals.content_bytes, identities)
}

/// One block, and whether it is marked as torn.
fn block(outgoing: &Outgoing, pool: &Pool, number: u64) -> (Vec<u8>, bool) {
    let mut batch = pool.try_take().unwrap();
    batch.shape(segment_len(BLOCK_LEN), 1);
    outgoing
        .fill(&[BlockAddr::content(number)], &mut batch)
        .unwrap();
    let segment = batch.segments().next().unwrap();
    let (addr, rest) = segment[HEADER_LEN..].split_at(BLOCK_ADDR_LEN);
    let is_torn = addr != BlockAddr::content(number).encode();
    if is_torn {
        assert_eq!(addr, BlockAddr::content(number | TORN).encode());
    }
    (rest[..BLOCK_LEN].to_vec(), is_torn)
}

#[test]
fn a_part_that_is_asked_for_again_after_a_change_does_not_leave() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("file");
    let contents: Vec<u8> = (0..CONTENTS_LEN).map(|at| (at / 7) as u8).collect();
    fs::write(&source, &contents).unwrap();
    let (outgoing, len, identities) = sent(&source);
    let pool = Pool::new(4);
    let count = len.div_ceil(BLOCK_LEN as u64);
    let mut file = Vec::new();
    for number in 0..count {
        let (bytes, is_torn) = block(&outgoing, &pool, number);
        assert!(!is_torn);
        file.extend(bytes);
    }
    file.truncate(len as usize);
    let mut opened = Vec::new();
    let mut opener = Opener::new(&*file, &identities).unwrap();
    opener.copy_to(&mut opened).unwrap();
    assert!(opened == contents);

    let again = block(&outgoing, &pool, 5);
    assert!(again == (file[5 * BLOCK_LEN..6 * BLOCK_LEN].to_vec(), false));
    // Long enough for the first chunks not to be kept any more.
    for number in count / 2..count {
        block(&outgoing, &pool, number);
    }
    // Behind the back of whoever looks at sizes and times.
    let modified = fs::metadata(&source).unwrap().modified().unwrap();
    let writer = File::options().write(true).open(&source).unwrap();
    writer.write_all_at(b"other", 30_000).unwrap();
    writer.set_modified(modified).unwrap();
    let (bytes, is_torn) = block(&outgoing, &pool, 5);
    assert!(is_torn && bytes.iter().all(|byte| *byte == 0));
    assert_eq!(outgoing.failures().len(), 1);
}
