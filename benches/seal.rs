//! Throughput of sealing and opening on one core, per suite and back end, beside others packet after
//! packet in the same run: the plain crates `cfb-mode` and `cmac`, of which `x` is a multiple, and
//! AES-128-GCM of aws-lc, which is the fastest to be had. Compare the ratios, machines are noisy.
//!
//! `cargo bench -p haul-benches --bench seal [-- SUITE]`
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use aes::{
    Aes128, Block,
    cipher::{BlockCipherEncrypt, InnerIvInit, KeyInit},
};
use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use cmac::{Cmac, Mac};
use haul_batch::{Batch, MAX_BATCH_BYTES, MAX_SEGMENTS, Pool};
use haul_seal::{Backend, Direction, OpenOptions, Opener, SealOptions, Sealer, TrafficSecret};
use haul_wire::{HEADER_LEN, Kind, Lane, PacketCounter, SessionId, SuiteId, TAG_LEN};

/// Datagram lengths: IPv6 minimum, Ethernet, jumbo frame.
const STRIDES: [usize; 3] = [1232, 1440, 8928];
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(60);

fn main() {
    let wanted = std::env::args().nth(1).filter(|arg| !arg.starts_with("--"));
    println!(
        "{:18} {:10} {:>6} {:>5}  {:>14}  {:>14}",
        "suite", "back end", "stride", "count", "seal GB/s", "open GB/s"
    );
    for stride in STRIDES {
        let count = (MAX_BATCH_BYTES / stride).min(MAX_SEGMENTS);
        let serial = best(|pool| serial_round(pool, stride, count));
        print_line("aes128cfb", "plain", (stride, count), serial, serial);
        let gcm = best(|pool| aws_lc_round(pool, stride, count));
        print_line("aes128gcm", "aws-lc", (stride, count), gcm, serial);
        for suite in SuiteId::ALL {
            if wanted.as_ref().is_some_and(|name| name != suite.name()) {
                continue;
            }
            for backend in backends(suite) {
                let speed = best(|pool| round(pool, suite, backend, stride, count));
                print_line(suite.name(), backend.name(), (stride, count), speed, serial);
            }
        }
    }
}

/// Back ends make a difference for the suites that haul builds from AES itself.
fn backends(suite: SuiteId) -> Vec<Backend> {
    match suite {
        SuiteId::Aes128Cfb | SuiteId::Aes256Cfb | SuiteId::NoneCmac => {
            Backend::available().collect()
        }
        _ => vec![Backend::Portable],
    }
}

fn print_line(
    suite: &str,
    backend: &str,
    (stride, count): (usize, usize),
    (seal, open): (f64, f64),
    serial: (f64, f64),
) {
    println!(
        "{suite:18} {backend:10} {stride:6} {count:5}  {seal:6.2} {:6.1}x  {open:6.2} {:6.1}x",
        seal / serial.0,
        open / serial.1,
    );
}

/// GB/s of sealing and of opening in the best round of several.
fn best(mut round: impl FnMut(&Pool) -> (f64, f64)) -> (f64, f64) {
    let pool = Pool::new(1);
    (0..ROUNDS).fold((0.0, 0.0), |(seal, open): (f64, f64), _| {
        let (s, o) = round(&pool);
        (seal.max(s), open.max(o))
    })
}

fn secret() -> TrafficSecret {
    haul_benches::traffic(Direction::ClientToServer).unwrap()
}

/// Runs `step`, which gives the times of sealing and opening a batch, for one round.
fn measure(bytes: usize, mut step: impl FnMut() -> (Duration, Duration)) -> (f64, f64) {
    let (mut sealing, mut opening) = (Duration::ZERO, Duration::ZERO);
    let mut batches = 0;
    let start = Instant::now();
    while start.elapsed() < ROUND {
        let (seal, open) = step();
        sealing += seal;
        opening += open;
        batches += 1;
    }
    let speed = |time: Duration| (bytes * batches) as f64 / time.as_secs_f64() / 1e9;
    (speed(sealing), speed(opening))
}

fn shaped(pool: &Pool, stride: usize, count: usize) -> Batch {
    let mut batch = pool.try_take().unwrap();
    batch.shape(stride, count);
    batch
}

fn round(pool: &Pool, suite: SuiteId, backend: Backend, stride: usize, count: usize) -> (f64, f64) {
    let session = SessionId(1);
    let seal_options = SealOptions {
        backend,
        ..SealOptions::default()
    };
    let open_options = OpenOptions {
        backend,
        ..OpenOptions::default()
    };
    let sealer = Sealer::with_options(suite, secret(), session, seal_options);
    let opener = Opener::with_options(suite, secret(), session, open_options);
    let mut numbers = PacketCounter::new();
    measure(stride * count, || {
        let batch = shaped(pool, stride, count);
        let run = numbers.take(count).unwrap();
        let start = Instant::now();
        let sealed = sealer
            .seal_batch(Kind::Data, Lane::DATA, run, batch)
            .unwrap();
        let sealed_at = Instant::now();
        let opened = opener.open_batch(sealed.into_batch(), 0);
        let opened_at = Instant::now();
        assert_eq!(opened.segments().len(), count);
        (sealed_at - start, opened_at - sealed_at)
    })
}

/// The same work with `cfb-mode` and `cmac`, keys set up once, packet after packet.
fn serial_round(pool: &Pool, stride: usize, count: usize) -> (f64, f64) {
    let key = |byte| Aes128::new(&[byte; 16].into());
    let (enc, iv_key) = (key(1), key(2));
    let mac = <Cmac<Aes128> as KeyInit>::new(&[3; 16].into());
    let iv_of = |segment: &[u8]| {
        let mut iv = Block::try_from(&segment[..HEADER_LEN]).unwrap();
        iv_key.encrypt_block(&mut iv);
        iv
    };
    let end = stride - TAG_LEN;
    measure(stride * count, || {
        let mut batch = shaped(pool, stride, count);
        let start = Instant::now();
        for segment in batch.segments_mut() {
            cfb_mode::Encryptor::<&Aes128>::inner_iv_init(&enc, &iv_of(segment))
                .encrypt(&mut segment[HEADER_LEN..end]);
            let tag = mac.clone().chain_update(&segment[..end]).finalize();
            segment[end..].copy_from_slice(&tag.into_bytes());
        }
        let sealed_at = Instant::now();
        for segment in batch.segments_mut() {
            let tag = mac.clone().chain_update(&segment[..end]);
            assert!(tag.verify_slice(&segment[end..]).is_ok());
            cfb_mode::Decryptor::<&Aes128>::inner_iv_init(&enc, &iv_of(segment))
                .decrypt(&mut segment[HEADER_LEN..end]);
        }
        black_box(batch.bytes());
        (sealed_at - start, sealed_at.elapsed())
    })
}

/// The same packets with AES-128-GCM of aws-lc, the header as associated data.
fn aws_lc_round(pool: &Pool, stride: usize, count: usize) -> (f64, f64) {
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &[1; 16]).unwrap());
    let end = stride - TAG_LEN;
    let mut number = 0_u64;
    let nonce = |number: u64| {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&number.to_be_bytes());
        Nonce::assume_unique_for_key(nonce)
    };
    measure(stride * count, || {
        let mut batch = shaped(pool, stride, count);
        let first = number;
        let start = Instant::now();
        for segment in batch.segments_mut() {
            let (header, rest) = segment.split_at_mut(HEADER_LEN);
            let (body, place) = rest.split_at_mut(end - HEADER_LEN);
            let tag = key
                .seal_in_place_separate_tag(nonce(number), Aad::from(&*header), body)
                .unwrap();
            place.copy_from_slice(tag.as_ref());
            number += 1;
        }
        let sealed_at = Instant::now();
        for (number, segment) in (first..).zip(batch.segments_mut()) {
            let (header, rest) = segment.split_at_mut(HEADER_LEN);
            key.open_in_place(nonce(number), Aad::from(&*header), rest)
                .unwrap();
        }
        black_box(batch.bytes());
        (sealed_at - start, sealed_at.elapsed())
    })
}
