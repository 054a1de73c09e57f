use super::*;

fn ledger(planned: u64, sent: u64) -> Ledger {
    let mut ledger = Ledger::new(1_440);
    for number in 0..planned {
        ledger.plan(BlockAddr::content(number), false);
    }
    for number in 0..sent {
        assert!(ledger.sent(number, Time(number)).is_some());
    }
    ledger
}

fn numbers(arrived: &[Arrived]) -> Vec<u64> {
    arrived.iter().map(|one| one.packet.number).collect()
}

#[test]
fn a_packet_arrives_once() {
    let mut ledger = ledger(300, 300);
    let mut arrived = Vec::new();
    ledger.arrive(10, 200, &mut arrived);
    assert_eq!(numbers(&arrived), (10..200).collect::<Vec<_>>());
    assert_eq!(ledger.in_flight(), 110);
    arrived.clear();
    ledger.arrive(0, 205, &mut arrived);
    assert_eq!(
        numbers(&arrived),
        (0..10).chain(200..205).collect::<Vec<_>>()
    );
    ledger.advance(Time::ZERO);
    assert_eq!((ledger.base(), ledger.in_flight()), (205, 95));
}

#[test]
fn only_sent_packets_can_be_lost() {
    let mut ledger = ledger(10, 5);
    let mut lost = Vec::new();
    ledger.miss(0, 10, |_, _| true, &mut lost);
    assert_eq!(lost.len(), 5);
    assert_eq!((ledger.in_flight(), ledger.planned()), (0, 5));
    assert_eq!(ledger.sent_end(), 5);
    assert_eq!(ledger.oldest_in_flight(|_| true), None);
}

#[test]
fn a_lost_packet_is_watched_and_then_forgotten() {
    let mut ledger = ledger(10, 10);
    let mut lost = Vec::new();
    ledger.miss(0, 10, |number, _| number < 2, &mut lost);
    ledger.advance(Time(1));
    assert_eq!(
        ledger.base(),
        1,
        "packet 1 was sent at 1 and is still watched"
    );
    let mut arrived = Vec::new();
    ledger.arrive(0, 3, &mut arrived);
    assert_eq!(numbers(&arrived), [1, 2]);
    assert!(arrived[0].was_lost && arrived[0].was_absent);
    assert!(!arrived[1].was_lost && arrived[1].was_absent);
}

#[test]
fn a_report_may_be_quicker_than_the_word_that_a_packet_left() {
    let mut ledger = ledger(2, 0);
    let mut arrived = Vec::new();
    ledger.arrive(0, 1, &mut arrived);
    assert_eq!(arrived[0].packet.sent_at, None);
    ledger.advance(Time::ZERO);
    assert_eq!(ledger.base(), 0);
    assert!(ledger.sent(0, Time(5)).is_some());
    assert_eq!(ledger.sent(0, Time(6)), None, "leaves once");
    assert_eq!((ledger.in_flight(), ledger.planned()), (0, 1));
    ledger.advance(Time::ZERO);
    assert_eq!(ledger.base(), 1);
}

#[test]
fn the_ring_grows_and_keeps_what_it_holds() {
    let count = LEDGER_PACKETS_FIRST * 3;
    let mut ledger = Ledger::new(1_440);
    for number in 0..count {
        ledger.plan(BlockAddr::list(number * 7), number % 2 == 1);
        if number < 1_000 {
            ledger.sent(number, Time(number));
            ledger.arrive(number, number + 1, &mut Vec::new());
            ledger.advance(Time::ZERO);
        }
    }
    for number in 1_000..count {
        let left = ledger.sent(number, Time(number)).unwrap();
        assert_eq!((left.bytes, left.is_repeat), (1_440, number % 2 == 1));
        let packet = ledger.packet(number).unwrap();
        assert_eq!(packet.block, BlockAddr::list(number * 7));
    }
    let oldest = |from: u64| ledger.oldest_in_flight(move |block| block.block.0 >= from * 7);
    assert_eq!(oldest(0).unwrap().number, 1_000);
    assert_eq!(oldest(2_000).unwrap().number, 2_000);
    assert_eq!(oldest(count), None);
    let newest = |end: u64| ledger.newest_in_flight(move |block| block.block.0 < end * 7);
    assert_eq!(newest(count).unwrap().number, count - 1);
    assert_eq!(newest(2_000).unwrap().number, 1_999);
    assert_eq!(ledger.room(), LEDGER_PACKETS_MAX - (count - 1_000));
}

#[test]
fn what_is_too_long_for_the_path_is_lost_and_bytes_are_counted() {
    let mut ledger = ledger(10, 8);
    let part = Part::new(1, 2).unwrap();
    ledger.plan(BlockAddr::content(99).with_part(part), true);
    let left = ledger.sent(10, Time(10)).unwrap();
    assert_eq!((left.bytes, left.is_repeat), (752, true));
    assert_eq!(ledger.packet(10).unwrap().block.part, part);
    assert_eq!(ledger.in_flight_bytes(), 8 * 1_440 + 752);
    let mut lost = Vec::new();
    ledger.lose_longer(1_200, &mut lost);
    assert_eq!(lost.len(), 8);
    assert_eq!((ledger.in_flight(), ledger.in_flight_bytes()), (1, 752));
    assert_eq!((ledger.planned(), ledger.planned_bytes()), (2, 2 * 1_440));
}
