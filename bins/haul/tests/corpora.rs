//! Every committed fuzz input of places and URLs, through the checks of its target.
#![allow(missing_docs, unreachable_pub)]

#[path = "../src/place.rs"]
mod place;
#[path = "../../../fuzz/src/places.rs"]
mod places;
#[path = "../../../fuzz/replay.rs"]
mod replay;
#[path = "../src/url.rs"]
mod url;

use std::path::Path;

#[test]
fn url() {
    let fuzz = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz"));
    replay::replay(fuzz, "url", places::check);
}
