mod had;

use super::{stream::BLOCK_WINDOW_MAX, *};

fn work(list: u64, content: u64) -> Work {
    let mut work = Work::new(false);
    work.set_available(Stream::List, list);
    work.set_available(Stream::Content, content);
    work.set_complete();
    work
}

fn take_all_fresh(work: &mut Work) -> Vec<BlockAddr> {
    std::iter::from_fn(|| work.take_fresh()).collect()
}

#[test]
fn the_list_goes_before_the_content_and_old_before_new() {
    let mut work = work(2, 100);
    let fresh = take_all_fresh(&mut work);
    assert_eq!(
        fresh[..3],
        [
            BlockAddr::list(0),
            BlockAddr::list(1),
            BlockAddr::content(0)
        ]
    );
    assert!(work.is_exhausted() && !work.has_any());
    for block in [70, 5, 30] {
        work.lose(BlockAddr::content(block));
    }
    work.lose(BlockAddr::list(1));
    assert_eq!(work.take_queued(), Some(BlockAddr::list(1)));
    assert_eq!(work.take_queued(), Some(BlockAddr::content(5)));
    work.lose(BlockAddr::content(2));
    assert_eq!(work.take_queued(), Some(BlockAddr::content(2)));
    assert_eq!(work.take_queued(), Some(BlockAddr::content(30)));
    assert_eq!(work.take_queued(), Some(BlockAddr::content(70)));
    assert_eq!(work.take_queued(), None);
}

#[test]
fn a_block_is_queued_once_and_never_after_it_arrived() {
    let mut work = work(0, 10);
    take_all_fresh(&mut work);
    work.lose(BlockAddr::content(3));
    work.lose(BlockAddr::content(3));
    assert_eq!(work.queued(), 1);
    assert!(work.arrive(BlockAddr::content(3)), "late after all");
    assert_eq!((work.queued(), work.take_queued()), (0, None));
    work.lose(BlockAddr::content(3));
    assert_eq!(work.queued(), 0);
    assert!(!work.arrive(BlockAddr::content(3)));
}

#[test]
fn a_block_with_another_copy_in_flight_is_not_queued() {
    let mut work = work(0, 1);
    take_all_fresh(&mut work);
    let block = BlockAddr::content(0);
    work.add_copy(block);
    work.add_copy(block);
    work.lose(block);
    work.lose(block);
    assert_eq!(work.queued(), 0);
    work.lose(block);
    assert_eq!(work.queued(), 1, "all three are lost");
    work.add_copy(block);
    assert_eq!(work.queued(), 0, "the copy is the retransmission");
    work.lose(block);
    assert_eq!(work.queued(), 1);
}

#[test]
fn the_floor_is_the_oldest_block_that_is_missing() {
    let mut work = work(0, 10_000);
    take_all_fresh(&mut work);
    for block in (1..10_000).rev() {
        assert!(work.arrive(BlockAddr::content(block)));
    }
    assert_eq!(work.floor(Stream::Content), BlockNo(0));
    assert!(!work.is_delivered());
    work.arrive(BlockAddr::content(0));
    assert_eq!(work.floor(Stream::Content), BlockNo(10_000));
    assert!(work.is_delivered());
}

#[test]
fn a_missing_block_holds_the_stream_back_in_the_end() {
    let mut work = work(0, u64::MAX >> 17);
    for block in 0..BLOCK_WINDOW_MAX {
        assert_eq!(work.take_fresh(), Some(BlockAddr::content(block)));
        if block > 0 {
            work.arrive(BlockAddr::content(block));
        }
    }
    assert_eq!(work.take_fresh(), None);
    work.arrive(BlockAddr::content(0));
    assert!(work.take_fresh().is_some());
}

#[test]
fn only_the_list_grows_after_the_end() {
    let mut work = work(1, 1);
    work.set_available(Stream::Content, 5);
    assert_eq!(take_all_fresh(&mut work).len(), 2);
    work.set_available(Stream::List, 2);
    assert_eq!(work.take_fresh(), Some(BlockAddr::list(1)));
}

#[test]
fn a_block_whose_parts_are_being_taken_can_be_probed_for() {
    let mut work = work(0, 2);
    work.set_parts(2);
    let first = work.take_fresh().unwrap();
    assert_eq!((first.part.index(), first.part.count()), (0, 2));
    work.lose(first);
    assert_eq!(work.queued(), 0, "its other part is still to be taken");
    assert_eq!(work.first_queued(), Some(first));
    work.add_copy(first);
    let second = BlockAddr::content(0).with_part(Part::new(1, 2).unwrap());
    assert_eq!(work.take_begun(), Some((second, false)));
    assert_eq!(work.take_begun(), None);
    assert!(!work.arrive(first) && work.arrive(second));
    assert_eq!(work.floor(Stream::Content), BlockNo(1));
}

#[test]
fn what_is_put_back_comes_first_and_is_cut_when_the_path_has_shrunk() {
    let mut work = work(0, 2);
    let whole = work.take_fresh().unwrap();
    work.put_back(whole, false);
    assert!(!work.is_exhausted() && work.has_any());
    work.set_parts(3);
    let parts: Vec<_> = std::iter::from_fn(|| work.take_begun()).collect();
    assert_eq!(parts.len(), 3);
    assert!(parts.iter().all(|(part, is_repeat)| {
        !is_repeat && part.part.count() == 3 && part.block == BlockNo(0)
    }));
}
