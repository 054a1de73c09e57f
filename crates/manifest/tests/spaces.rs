//! The content map and the range set against what they stand for, element by element.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeSet;

use haul_manifest::{ContentMap, FileNo, ListError, RangeSet};
use proptest::{collection::vec, prelude::*};

proptest! {
    #[test]
    fn range_set_is_a_set(ranges in vec((0_u64..200, 0_u64..30), 0..80)) {
        let mut set = RangeSet::new();
        let mut model = BTreeSet::new();
        for (start, len) in ranges {
            let range = start..start + len;
            let fresh = range.clone().filter(|value| model.insert(*value)).count();
            prop_assert_eq!(set.insert(range), fresh as u64);
            prop_assert_eq!(set.len(), model.len() as u64);
            prop_assert_eq!(set.is_empty(), model.is_empty());
            let gap = (0..).find(|value| !model.contains(value)).unwrap();
            prop_assert_eq!(set.first_gap(), gap);
        }
        for value in 0..240 {
            prop_assert_eq!(set.contains(value), model.contains(&value));
        }
        for (start, len) in [(0, 240), (50, 0), (20, 90), (199, 1)] {
            let range = start..start + len;
            let gaps: Vec<u64> = set.gaps(range.clone()).flatten().collect();
            let missing: Vec<u64> = range.clone().filter(|value| !model.contains(value)).collect();
            prop_assert_eq!(set.covers(range), missing.is_empty());
            prop_assert_eq!(gaps, missing);
        }
        let ranges: Vec<_> = set.ranges().collect();
        let apart = ranges.windows(2).all(|pair| pair[0].end < pair[1].start);
        prop_assert!(apart, "ranges touch: {:?}", ranges);
        let values: Vec<u64> = ranges.into_iter().flatten().collect();
        prop_assert_eq!(values, model.into_iter().collect::<Vec<_>>());
    }

    /// Every byte of the content space, by hand.
    #[test]
    fn content_map_finds_every_byte(
        extents in vec((0_u64..3, 0_u64..50, 1_u64..9), 1..60),
        queries in vec((0_u64..400, 0_u64..80), 1..20),
        floor in 0_u64..300,
    ) {
        let mut map = ContentMap::new();
        let mut model = Vec::new();
        let mut file = 0;
        for (step, offset, len) in extents {
            file += step;
            map.push(FileNo(file), offset, len).unwrap();
            model.extend((0..len).map(|at| (FileNo(file), offset + at)));
        }
        prop_assert_eq!(map.end(), model.len() as u64);
        for round in 0..2 {
            for (start, len) in &queries {
                let start = if round == 0 { *start } else { start + floor };
                let range = start..start + len;
                let mut found = Vec::new();
                for piece in map.pieces(range.clone()) {
                    prop_assert_eq!(piece.content.start, start + found.len() as u64);
                    found.extend((0..piece.len()).map(|at| (piece.file, piece.file_offset + at)));
                }
                let end = model.len().min(range.end as usize);
                let expected = model.get(start as usize..end).unwrap_or_default();
                let distinct: BTreeSet<_> = expected.iter().map(|(file, _)| file).collect();
                prop_assert_eq!(map.is_shared(range), distinct.len() > 1);
                prop_assert_eq!(found, expected);
            }
            map.release(floor);
        }
    }
}

#[test]
fn d107_content_map_of_a_million_files_is_small_and_can_be_released() {
    let mut map = ContentMap::new();
    for file in 0..1_000_000 {
        map.push(FileNo(file), 0, 1000).unwrap();
    }
    assert_eq!(map.extents(), 1_000_000);
    let piece = map.pieces(777_777_123..777_777_124).next().unwrap();
    assert_eq!((piece.file, piece.file_offset), (FileNo(777_777), 123));
    map.release(900_000_000);
    assert!(map.extents() <= 102_000, "{}", map.extents());
    let piece = map.pieces(900_000_000..900_000_001).next().unwrap();
    assert_eq!(piece.file, FileNo(900_000));
    map.release(1_000_000_000);
    assert_eq!(map.extents(), 0);
    map.push(FileNo(1_000_000), 5, 7).unwrap();
    let piece = map.pieces(1_000_000_001..u64::MAX).next().unwrap();
    assert_eq!(
        (piece.file, piece.file_offset, piece.len()),
        (FileNo(1_000_000), 6, 6)
    );
}

#[test]
fn content_space_does_not_wrap() {
    let mut map = ContentMap::new();
    map.push(FileNo(0), 0, u64::MAX).unwrap();
    assert_eq!(map.push(FileNo(1), 0, 1), Err(ListError::Overflow));
}
