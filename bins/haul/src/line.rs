//! What `-v` says at the end about this machine's share: where the data path spent its time.

use haul_transfer::{EcnState, LineFacts, StageFacts};

use crate::human;

/// One line per stage, and what the socket was given.
pub(crate) fn account(facts: &LineFacts) -> Vec<String> {
    let mut lines: Vec<String> = facts.stages.iter().map(stage).collect();
    lines.push(format!(
        "packets of {} bytes get through, {} of them datagram; socket buffers {} to send, {} to \
         receive; segmentation offload {}",
        human::count(facts.packet_len as u64),
        human::count(facts.segment_len as u64),
        human::bytes(facts.send_buffer_bytes as u64),
        human::bytes(facts.recv_buffer_bytes as u64),
        if facts.segmentation_offload {
            "on"
        } else {
            "off"
        },
    ));
    if let Some(state) = facts.ecn.filter(|state| *state != EcnState::Off) {
        lines.push(format!("marks of congestion (ECN): {state}"));
    }
    lines
}

/// `stage seal: 93 % busy, 5 % waiting for input, 2 % waiting for output`.
fn stage(facts: &StageFacts) -> String {
    let all = facts.busy + facts.waiting_for_input + facts.waiting_for_output;
    let percent = |part: std::time::Duration| {
        100.0 * part.as_secs_f64() / all.as_secs_f64().max(f64::MIN_POSITIVE)
    };
    format!(
        "stage {}: {:.0} % busy, {:.0} % waiting for input, {:.0} % waiting for output",
        facts.name,
        percent(facts.busy),
        percent(facts.waiting_for_input),
        percent(facts.waiting_for_output),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn stage(name: &str, [busy, input, output]: [u64; 3]) -> StageFacts {
        StageFacts {
            name: name.to_owned(),
            busy: Duration::from_millis(busy),
            waiting_for_input: Duration::from_millis(input),
            waiting_for_output: Duration::from_millis(output),
        }
    }

    fn facts(stages: Vec<StageFacts>) -> LineFacts {
        LineFacts {
            stages,
            packet_len: 1500,
            segment_len: 1456,
            send_buffer_bytes: 33_554_432,
            recv_buffer_bytes: 212_992,
            ecn: Some(EcnState::Capable),
            segmentation_offload: true,
        }
    }

    #[test]
    fn each_stage_says_where_its_time_went() {
        let stages = vec![
            stage("read", [100, 0, 900]),
            stage("seal", [1_900, 80, 20]),
            stage("send", [0, 0, 0]),
        ];
        assert_eq!(
            account(&facts(stages)),
            [
                "stage read: 10 % busy, 0 % waiting for input, 90 % waiting for output",
                "stage seal: 95 % busy, 4 % waiting for input, 1 % waiting for output",
                "stage send: 0 % busy, 0 % waiting for input, 0 % waiting for output",
                "packets of 1,500 bytes get through, 1,456 of them datagram; socket buffers \
                 33.6 MB to send, 213 kB to receive; segmentation offload on",
                "marks of congestion (ECN): capable",
            ]
        );
    }
}
