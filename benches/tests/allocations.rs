//! What the running line asks of the allocator, counted: nothing for each packet.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::path::Path;

use dhat::HeapStats;
use haul_batch::{MAX_BATCH_BYTES, MAX_SEGMENTS};
use haul_benches::{Ends, Pair, Setup, fill};
use haul_flow::Policy;
use haul_wire::{SuiteId, block_len, segment_len};

#[global_allocator]
static HEAP: dhat::Alloc = dhat::Alloc;

/// Allocations for one full batch, both ends together, that are accounted for: the packet numbers
/// that the opening stage tells the driver, reports, and what grows now and then.
const FOR_A_BATCH: f64 = 4.0;

/// Allocations and packets of a transfer.
fn transfer(folder: &Path, datagram_len: usize, bytes: u64) -> (u64, u64) {
    let source = folder.join("file");
    fill(&source, bytes).unwrap();
    let destination = tempfile::tempdir_in(folder).unwrap();
    let before = HeapStats::get().total_blocks;
    let pair = Pair::start(&Setup {
        ends: Ends::Files {
            source: &source,
            destination: destination.path(),
        },
        suite: SuiteId::Aes128Cfb,
        datagram_len,
        policy: Policy::Fair,
        rate_target_bps: None,
    });
    let (sent, _) = pair.unwrap().finish().unwrap();
    let allocations = HeapStats::get().total_blocks - before;
    (allocations, sent.sender.unwrap().sent_packets)
}

#[test]
fn nothing_is_allocated_for_each_packet() {
    let _profiler = dhat::Profiler::builder().testing().build();
    let folder = tempfile::tempdir().unwrap();
    for datagram_len in [1452, 8952] {
        // What starting costs is the same in both.
        let (few, short) = transfer(folder.path(), datagram_len, 32 << 20);
        let (many, long) = transfer(folder.path(), datagram_len, 160 << 20);
        let stride = segment_len(block_len(datagram_len));
        let batch = (MAX_BATCH_BYTES / stride).min(MAX_SEGMENTS) as f64;
        let each = many.saturating_sub(few) as f64 / (long - short) as f64;
        println!(
            "datagrams of {datagram_len}: {each:.3} allocations for a packet, {:.2} for a batch",
            each * batch
        );
        assert!(each * batch < FOR_A_BATCH, "{each} for each packet");
    }
}
