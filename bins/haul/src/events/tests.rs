use std::{collections::BTreeMap, time::Duration};

use haul_transfer::{
    Act, ChangeRecord, Digests, Direction, EcnState, ErrorCode, Limits, Omitted, PathFacts, Policy,
    SuiteId, Warning,
};
use serde_json::Value;

use super::*;

/// One event of each type, in the order in which a run writes them.
pub(crate) fn one_of_each() -> Vec<Value> {
    let mut json = JsonLines::new(Vec::new());
    json.event(&Event::Session(SessionFacts {
        direction: Direction::Upload,
        suite: SuiteId::Aes128Cfb,
        policy: Policy::Fair,
        peer: "[2001:db8::7]:33001".parse().unwrap(),
        segment_len: 1452,
        rtt: Duration::from_micros(23_104),
        agent: "haul/0.1.0".to_owned(),
    }));
    json.event(&Event::Path(PathFacts {
        peer: "[2001:db8::9]:40112".parse().unwrap(),
        moves: 1,
        segment_len: 1472,
    }));
    json.event(&Event::Limits(in_force()));
    json.event(&Event::Progress(progress()));
    json.event(&Event::File(FileRecord {
        path: b"run7/\xff.bam".to_vec(),
        bytes: 7,
        failure: None,
    }));
    json.event(&Event::Digest(DigestRecord {
        path: b"run7/a.bam".to_vec(),
        bytes: 7,
        digests: Digests {
            blake3: [0; 32],
            sha256: None,
        },
    }));
    json.event(&Event::Change(ChangeRecord {
        act: Act::Delete,
        path: b"run6/\xff.bam".to_vec(),
        done: true,
    }));
    json.event(&Event::Warning(Warning {
        text: "the clock of the other end is odd".to_owned(),
        remote: true,
    }));
    json.event(&Event::Line(LineFacts {
        stages: vec![StageFacts {
            name: "seal".to_owned(),
            busy: Duration::from_millis(5_100),
            waiting_for_input: Duration::from_millis(8_900),
            waiting_for_output: Duration::from_millis(100),
        }],
        packet_len: 1500,
        segment_len: 1452,
        send_buffer_bytes: 33_554_432,
        recv_buffer_bytes: 33_554_432,
        ecn: Some(EcnState::Off),
        segmentation_offload: true,
    }));
    let minute = Duration::from_secs(60);
    json.retry(&Failure::Cancelled, minute, minute);
    json.error(&Failure::Cancelled);
    let mut report = Report::new();
    report.retrying(&Failure::Cancelled);
    json.summary(
        &summary(),
        &[FailedFile {
            path: "a".to_owned(),
            why: "b".to_owned(),
        }],
        &report,
    );
    lines(json)
}

pub(crate) fn in_force() -> InForce {
    InForce {
        asked: Limits {
            policy: Policy::Fair,
            target_bps: Some(400_000_000),
            min_bps: 0,
        },
        ceiling_bps: Some(300_000_000),
        cause: Cause::Asked,
    }
}

pub(crate) fn progress() -> Progress {
    Progress {
        elapsed: Duration::from_millis(1500),
        bytes: 1_200_000_000,
        bytes_total: 5_000_000_000,
        files: 12,
        files_total: 20_000,
        scanned: true,
        rate_bps: 7_000_000_000,
        goodput_bps: 6_900_000_000,
        loss: 0.0002,
        loss_floor: 0.0001,
        rtt: Duration::from_millis(23),
        min_rtt: Duration::from_millis(20),
        latest_rtt: Duration::from_millis(24),
        jitter: Duration::from_micros(500),
        mode: "track".to_owned(),
        sent_bytes: 1_300_000_000,
        retransmitted_bytes: 1_200_000,
        eta: Some(Duration::from_secs(44)),
    }
}

pub(crate) fn summary() -> Summary {
    Summary {
        direction: Direction::Upload,
        is_measurement: false,
        is_rehearsal: false,
        bytes: 12_345_678_901,
        files: 20_000,
        there_files: 0,
        there_bytes: 0,
        kept: 0,
        deleted: 0,
        failed: 0,
        corrupt: 0,
        omitted: Some(Omitted {
            left_out: 12,
            special: 1,
        }),
        seconds: 14.21,
        data_seconds: 14.1,
        goodput_bps: 6_900_000_000,
        udp_bytes: 12_700_000_000,
        retransmitted_bytes: 2_500_000,
        loss: 0.0002,
        loss_floor: 0.0001,
        rtt_ms: 23.1,
        bandwidth_bps: 7_100_000_000,
        min_rtt_ms: 20.0,
        jitter_ms: 0.5,
        segment_len: 1452,
        here: host(6_300, 0),
        there: host(7_100, 3),
        control_bytes: 2_048,
        suite: SuiteId::Aes128Cfb,
        policy: Policy::Fair,
    }
}

fn host(cpu_millis: u64, dropped_datagrams: u64) -> HostFacts {
    HostFacts {
        cpu: Duration::from_millis(cpu_millis),
        send_buffer_bytes: 33_554_432,
        recv_buffer_bytes: 33_554_432,
        dropped_datagrams,
        busiest: ("seal".to_owned(), 0.36),
        machine_load: 0.5,
    }
}

fn lines(json: JsonLines<Vec<u8>>) -> Vec<Value> {
    let text = String::from_utf8(json.out.unwrap()).unwrap();
    assert!(text.ends_with('\n'));
    text.lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

/// Names and JSON types of an event's fields; numbers are numbers, and null is compatible.
fn shape(event: &Value) -> BTreeMap<String, &'static str> {
    let kind = |value: &Value| match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let fields = event.as_object().expect("an event is an object");
    fields
        .iter()
        .map(|(name, value)| (name.clone(), kind(value)))
        .collect()
}

fn kind_of(event: &Value) -> &str {
    event["type"].as_str().expect("an event has a type")
}

#[test]
fn the_documented_examples_have_exactly_the_fields_that_are_written() {
    let document = include_str!("../../../../docs/EVENTS.md");
    let written = one_of_each();
    let mut seen = Vec::new();
    for line in document.lines().filter(|line| line.starts_with("{\"v\":")) {
        let example: Value = serde_json::from_str(line).expect(line);
        let kind = kind_of(&example);
        assert_eq!(example["v"], SCHEMA, "{line}");
        let ours = written
            .iter()
            .find(|event| kind_of(event) == kind)
            .expect(kind);
        let (documented, ours) = (shape(&example), shape(ours));
        assert!(
            documented.keys().eq(ours.keys()),
            "{kind}: {documented:?} {ours:?}"
        );
        for (field, a) in &documented {
            let b = ours[field];
            assert!(
                *a == b || *a == "null" || b == "null",
                "{kind}.{field}: {a} {b}"
            );
        }
        seen.push(kind.to_owned());
    }
    for event in &written {
        let count = seen.iter().filter(|kind| *kind == kind_of(event)).count();
        assert_eq!(
            count,
            1,
            "{} needs one example in docs/EVENTS.md",
            kind_of(event)
        );
    }
}

#[test]
fn every_field_is_explained() {
    let document = include_str!("../../../../docs/EVENTS.md");
    for event in one_of_each() {
        for field in shape(&event).keys() {
            assert!(
                document.contains(&format!("`{field}`")),
                "{}.{field}",
                kind_of(&event)
            );
        }
    }
}

#[test]
fn names_that_are_not_text_are_marked() {
    let mut json = JsonLines::new(Vec::new());
    for path in [&b"plain 100%"[..], b"odd%\xff"] {
        let path = path.to_vec();
        json.event(&Event::File(FileRecord {
            path,
            bytes: 0,
            failure: Some("why".to_owned()),
        }));
    }
    let events = lines(json);
    assert_eq!(events[0]["path"], "plain 100%");
    assert_eq!(events[0]["encoded"], false);
    assert_eq!(events[1]["path"], "odd%25%FF");
    assert_eq!(events[1]["encoded"], true);
    assert_eq!(events[1]["ok"], false);
    assert_eq!(events[1]["error"], "why");
}

#[test]
fn errors_carry_the_exit_status() {
    let mut json = JsonLines::new(Vec::new());
    json.error(&Failure::Cancelled);
    let event = &lines(json)[0];
    assert_eq!(event["code"], ErrorCode::Cancelled as u8);
    assert_eq!(event["name"], "cancelled");
    assert_eq!(event["retryable"], true);
}

#[test]
fn a_reader_that_leaves_does_not_stop_the_transfer() {
    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut json = JsonLines::new(Gone);
    json.event(&Event::Progress(progress()));
    assert!(json.out.is_none());
    json.event(&Event::Progress(progress()));
}
