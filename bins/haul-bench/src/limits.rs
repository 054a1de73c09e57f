//! What kept a path from carrying more, and what to do about it.

use serde_json::Value;

/// Share of its time that a stage works from which on it binds: it hardly ever waits.
const BINDING_LOAD: f64 = 0.8;
/// Share of datagrams that may overflow the receiving socket before that counts as the limit.
const OVERFLOW_SHARE: f64 = 1e-3;
/// A sender keeps at most half the receiver's socket buffer in flight, and at most one and a half
/// times what arrives in a round trip. From this share of the half on, the buffer binds.
const CREDIT_SHARE: f64 = 0.8;

/// What one end's host said of itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Host {
    /// `here`, `there`.
    place: &'static str,
    pub(crate) cpu_seconds: f64,
    busiest_stage: String,
    busiest_load: f64,
    wanted_buffer: f64,
    send_buffer: f64,
    recv_buffer: f64,
    dropped: f64,
}

/// Both ends of a flow.
#[derive(Debug, Clone)]
pub(crate) struct Ends {
    pub(crate) sender: Host,
    pub(crate) receiver: Host,
}

impl Host {
    fn of(value: &Value, place: &'static str) -> Self {
        let number = |field: &str| value[field].as_f64().unwrap_or(0.0);
        Self {
            place,
            cpu_seconds: number("cpu_seconds"),
            busiest_stage: value["busiest_stage"].as_str().unwrap_or("").to_owned(),
            busiest_load: number("busiest_load"),
            wanted_buffer: number("wanted_buffer_bytes"),
            send_buffer: number("send_buffer_bytes"),
            recv_buffer: number("recv_buffer_bytes"),
            dropped: number("dropped_datagrams"),
        }
    }
}

impl Ends {
    /// Who sends and who receives.
    pub(crate) fn of(summary: &Value, is_upload: bool) -> Self {
        let here = Host::of(&summary["here"], "here");
        let there = Host::of(&summary["there"], "there");
        if is_upload {
            Self {
                sender: here,
                receiver: there,
            }
        } else {
            Self {
                sender: there,
                receiver: here,
            }
        }
    }
}

/// What bound the flow, then advice.
pub(crate) fn explain(name: &str, summary: &Value, line: &Value, ends: &Ends) -> Vec<String> {
    let mut notes = vec![format!("{name}: limited by {}", limit(summary, ends))];
    for (host, granted, sysctl) in [
        (&ends.receiver, ends.receiver.recv_buffer, "rmem_max"),
        (&ends.sender, ends.sender.send_buffer, "wmem_max"),
    ] {
        if granted < host.wanted_buffer {
            notes.push(format!(
                "{}: the kernel grants {:.0} kB of {:.0} kB socket buffer; raise it: sysctl -w \
                 net.core.{sysctl}={:.0}",
                host.place,
                granted / 1e3,
                host.wanted_buffer / 1e3,
                host.wanted_buffer
            ));
        }
    }
    if line["segmentation_offload"] == false {
        notes.push(
            "here: no UDP segmentation offload, each datagram is a system call of its own; see \
             ethtool -k and the kernel's age (4.18 or later)"
                .to_owned(),
        );
    }
    notes
}

fn limit(summary: &Value, ends: &Ends) -> String {
    let number = |field: &str| summary[field].as_f64().unwrap_or(0.0);
    let Ends { sender, receiver } = ends;
    let datagrams = number("udp_bytes") / number("datagram_bytes").max(1.0);
    if receiver.dropped > OVERFLOW_SHARE * datagrams {
        return format!(
            "the socket buffer {}: {:.0} of {datagrams:.0} datagrams overflowed {:.0} kB; raise it, \
             or keep other work off that machine",
            receiver.place,
            receiver.dropped,
            receiver.recv_buffer / 1e3
        );
    }
    for host in [sender, receiver] {
        if host.busiest_load >= BINDING_LOAD {
            return format!(
                "the processor {}: stage {} worked {:.0} % of the time",
                host.place,
                host.busiest_stage,
                host.busiest_load * 100.0
            );
        }
    }
    let in_flight = number("goodput_bps") / 8.0 * number("rtt_ms") / 1e3;
    let credit = receiver.recv_buffer / 2.0;
    if credit > 0.0 && receiver.recv_buffer < receiver.wanted_buffer {
        let share = in_flight / credit;
        if share >= CREDIT_SHARE {
            return format!(
                "the socket buffer {}: {:.0} kB in flight where {:.0} kB fit",
                receiver.place,
                in_flight / 1e3,
                credit / 1e3
            );
        }
    }
    if summary["policy"] == "fixed" {
        return "the rate that was asked for".to_owned();
    }
    format!(
        "the path: {:.0} Mbit/s got through it, with {:.1} ms of queue and {:.2} % loss",
        number("goodput_bps") / 1e6,
        number("queue_ms"),
        number("loss") * 100.0
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn summary() -> Value {
        let host = |dropped: u64| {
            json!({
                "cpu_seconds": 1.5, "busiest_stage": "seal", "busiest_load": 0.4,
                "wanted_buffer_bytes": 33_554_432, "send_buffer_bytes": 33_554_432,
                "recv_buffer_bytes": 33_554_432, "dropped_datagrams": dropped,
            })
        };
        json!({
            "policy": "fair", "goodput_bps": 900_000_000_u64, "rtt_ms": 21.0, "min_rtt_ms": 20.0,
            "queue_ms": 1.0, "loss": 0.001, "udp_bytes": 1_452_000_000_u64,
            "datagram_bytes": 1452, "here": host(0), "there": host(0),
        })
    }

    fn first(summary: &Value, is_upload: bool) -> String {
        let line = json!({ "segmentation_offload": true });
        let ends = Ends::of(summary, is_upload);
        explain("upload", summary, &line, &ends).join("\n")
    }

    #[test]
    fn a_path_that_fills_is_the_limit() {
        let text = first(&summary(), true);
        assert_eq!(
            text,
            "upload: limited by the path: 900 Mbit/s got through it, with 1.0 ms of queue and \
             0.10 % loss"
        );
    }

    #[test]
    fn a_busy_stage_is_the_limit_wherever_it_is() {
        let mut summary = summary();
        summary["there"]["busiest_load"] = json!(0.93);
        summary["there"]["busiest_stage"] = json!("open");
        let text = first(&summary, true);
        assert!(
            text.contains("processor there: stage open worked 93 %"),
            "{text}"
        );
        let text = first(&summary, false);
        assert!(text.contains("processor there"), "{text}");
    }

    #[test]
    fn small_buffers_are_told_with_the_line_that_mends_them() {
        let mut summary = summary();
        summary["there"]["recv_buffer_bytes"] = json!(212_992);
        let text = first(&summary, true);
        assert!(
            text.contains("socket buffer there: 2362 kB in flight"),
            "{text}"
        );
        assert!(
            text.contains("there: the kernel grants 213 kB of 33554 kB"),
            "{text}"
        );
        assert!(
            text.contains("sysctl -w net.core.rmem_max=33554432"),
            "{text}"
        );
        // Who only sends needs no receive buffer.
        assert!(!first(&summary, false).contains("sysctl"));
        summary["there"]["dropped_datagrams"] = json!(50_000);
        let text = first(&summary, true);
        assert!(
            text.contains("50000 of 1000000 datagrams overflowed"),
            "{text}"
        );
    }

    #[test]
    fn a_fixed_rate_limits_itself() {
        let mut summary = summary();
        summary["policy"] = json!("fixed");
        assert!(first(&summary, true).contains("rate that was asked for"));
    }
}
