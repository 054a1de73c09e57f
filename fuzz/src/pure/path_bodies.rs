//! Opened bodies of the small datagrams.
//!
//! Input: which kind (1 byte), then the body.

use std::fmt::Debug;

use haul_wire::path::{Challenge, Echo, Hello, Probe, Response, Sync, decode, encode};
use serde::{Serialize, de::DeserializeOwned};

/// A body that decodes is what decoding its encoding gives.
pub fn check(data: &[u8]) -> bool {
    let Some((kind, body)) = data.split_first() else {
        return false;
    };
    match kind % 6 {
        0 => survives::<Hello>(body),
        1 => survives::<Challenge>(body),
        2 => survives::<Response>(body),
        3 => survives::<Probe>(body),
        4 => survives::<Sync>(body),
        _ => survives::<Echo>(body),
    }
}

fn survives<T: Serialize + DeserializeOwned + PartialEq + Debug>(body: &[u8]) -> bool {
    let Ok(value) = decode::<T>("body", body) else {
        return false;
    };
    let mut out = [0; 64];
    let len = encode(&value, &mut out).expect("the largest body takes 20 bytes");
    assert!(
        len <= body.len(),
        "{value:?} came out of fewer bytes than it takes"
    );
    assert_eq!(decode::<T>("body", &out[..len]), Ok(value));
    true
}
