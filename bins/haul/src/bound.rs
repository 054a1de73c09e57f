//! What kept a transfer from being faster, and what to do about it.

use haul_transfer::{BUFFER_BYTES_WANTED, Direction, HostFacts, InForce, Summary};

use crate::human;

/// Share of its time that a stage works from which on it binds: it hardly ever waits.
const BINDING_LOAD: f64 = 0.8;
/// Load of all processors of a machine from which on they bind.
const BINDING_PROCESSORS: f64 = 0.9;
/// Share of datagrams that may overflow the receiving socket before that counts as the limit.
const OVERFLOW_SHARE: f64 = 1e-3;
/// A sender keeps at most half the receiver's socket buffer in flight, and at most one and a half
/// times what arrives in a round trip. From this share of the half on, the buffer binds.
const CREDIT_SHARE: f64 = 0.8;
/// Share of the rate asked for that counts as having got it: the rest is headers and the start.
const TARGET_SHARE: f64 = 0.9;

/// An end of the transfer, in words and in figures.
type End<'a> = (&'static str, &'a HostFacts);

/// What bound the transfer, to follow "limited by". `told` is what was last said of the rate.
pub(crate) fn limit(summary: &Summary, told: Option<&InForce>) -> String {
    let (sender, receiver) = ends(summary);
    overflow(summary, receiver)
        .or_else(|| stage(sender).or_else(|| stage(receiver)))
        .or_else(|| processors(sender).or_else(|| processors(receiver)))
        .or_else(|| credit(summary, receiver))
        .or_else(|| target(summary, told))
        .unwrap_or_else(|| {
            format!(
                "the path: {} got through it, with {:.1} ms of queue and {} loss",
                human::rate(summary.goodput_bps as f64),
                (summary.rtt_ms - summary.min_rtt_ms).max(0.0),
                human::percent(summary.loss),
            )
        })
}

/// What would help, one line each.
pub(crate) fn advice(summary: &Summary) -> Vec<String> {
    let (sender, receiver) = ends(summary);
    let mut lines = Vec::new();
    for ((place, host), granted, sysctl) in [
        (receiver, receiver.1.recv_buffer_bytes, "rmem_max"),
        (sender, sender.1.send_buffer_bytes, "wmem_max"),
    ] {
        // An end that told nothing has no figures.
        if granted > 0 && granted < BUFFER_BYTES_WANTED as u64 && *host != HostFacts::default() {
            lines.push(format!(
                "{place}: the kernel grants {} of {} socket buffer; raise it: sysctl -w \
                 net.core.{sysctl}={BUFFER_BYTES_WANTED}",
                human::bytes(granted),
                human::bytes(BUFFER_BYTES_WANTED as u64),
            ));
        }
    }
    lines
}

/// What the transfer cost, for `-v`: `processor time 0.8 s here (0.39 ns a byte), 1.2 s there (…)`.
pub(crate) fn cost(summary: &Summary) -> String {
    let each = |host: &HostFacts| {
        let time = host.cpu.as_secs_f64();
        let share = 100.0 * time / summary.data_seconds.max(f64::MIN_POSITIVE);
        let bytes = (summary.bytes as f64).max(1.0);
        format!(
            "{} ({share:.0} % of one core, {:.2} ns a byte)",
            human::duration(host.cpu),
            time * 1e9 / bytes
        )
    };
    format!(
        "processor time {} here, {} there",
        each(&summary.here),
        each(&summary.there)
    )
}

fn ends(summary: &Summary) -> (End<'_>, End<'_>) {
    let (here, there) = (("here", &summary.here), ("there", &summary.there));
    match summary.direction {
        Direction::Upload => (here, there),
        Direction::Download => (there, here),
    }
}

fn overflow(summary: &Summary, (place, host): End<'_>) -> Option<String> {
    let datagrams = summary.udp_bytes as f64 / summary.segment_len.max(1) as f64;
    (host.dropped_datagrams as f64 > OVERFLOW_SHARE * datagrams).then(|| {
        format!(
            "the socket buffer {place}: {} of {} datagrams overflowed {}; raise it, or keep other \
             work off that machine",
            human::count(host.dropped_datagrams),
            human::count(datagrams as u64),
            human::bytes(host.recv_buffer_bytes),
        )
    })
}

fn stage((place, host): End<'_>) -> Option<String> {
    let (name, load) = &host.busiest;
    (*load >= BINDING_LOAD).then(|| {
        let what = match name.as_str() {
            "read" | "write" => "the file system or the processor",
            _ => "the processor",
        };
        format!(
            "{what} {place}: stage {name} worked {} of the time",
            human::percent(*load)
        )
    })
}

fn processors((place, host): End<'_>) -> Option<String> {
    (host.machine_load >= BINDING_PROCESSORS).then(|| {
        format!(
            "the processors {place}: {} busy with this and whatever else runs there",
            human::percent(host.machine_load)
        )
    })
}

fn credit(summary: &Summary, (place, host): End<'_>) -> Option<String> {
    let granted = host.recv_buffer_bytes;
    let credit = granted as f64 / 2.0;
    let in_flight = summary.goodput_bps as f64 / 8.0 * summary.rtt_ms / 1e3;
    let binds =
        granted > 0 && granted < BUFFER_BYTES_WANTED as u64 && in_flight >= CREDIT_SHARE * credit;
    binds.then(|| {
        format!(
            "the socket buffer {place}: {} in flight where {} fit",
            human::bytes(in_flight as u64),
            human::bytes(credit as u64),
        )
    })
}

fn target(summary: &Summary, told: Option<&InForce>) -> Option<String> {
    let target = told?.limits().target_bps?;
    (summary.goodput_bps as f64 >= TARGET_SHARE * target as f64)
        .then(|| format!("the rate that was set: {}", human::rate(target as f64)))
}

#[cfg(test)]
mod tests {
    use haul_transfer::{Cause, Limits};

    use super::*;
    use crate::events::tests::{in_force, summary};

    fn quiet() -> Summary {
        let mut summary = summary();
        summary.there.dropped_datagrams = 0;
        summary
    }

    #[test]
    fn a_path_that_fills_is_the_limit() {
        assert_eq!(
            limit(&quiet(), None),
            "the path: 6.9 Gbit/s got through it, with 3.1 ms of queue and 0.02 % loss"
        );
        assert!(advice(&quiet()).is_empty());
    }

    #[test]
    fn a_busy_stage_is_the_limit_wherever_it_is() {
        let mut summary = quiet();
        summary.there.busiest = ("open".to_owned(), 0.93);
        let text = "the processor there: stage open worked 93.0 % of the time";
        for direction in [Direction::Upload, Direction::Download] {
            summary.direction = direction;
            assert_eq!(limit(&summary, None), text);
        }
        summary.there.busiest.0 = "write".to_owned();
        assert!(limit(&summary, None).starts_with("the file system or the processor there"));
    }

    #[test]
    fn a_machine_without_an_idle_processor_is_the_limit() {
        let mut summary = quiet();
        summary.here.machine_load = 0.97;
        assert_eq!(
            limit(&summary, None),
            "the processors here: 97.0 % busy with this and whatever else runs there"
        );
    }

    #[test]
    fn small_buffers_are_told_with_the_line_that_mends_them() {
        let mut summary = quiet();
        summary.there.recv_buffer_bytes = 212_992;
        let text = limit(&summary, None);
        assert!(
            text.starts_with("the socket buffer there: 19.9 MB in flight"),
            "{text}"
        );
        let lines = advice(&summary).join("\n");
        assert!(
            lines.contains("sysctl -w net.core.rmem_max=33554432"),
            "{lines}"
        );
        summary.there.dropped_datagrams = 50_000;
        let text = limit(&summary, None);
        assert!(
            text.contains("50,000 of 8,746,556 datagrams overflowed"),
            "{text}"
        );
        // Who only sends needs no receive buffer.
        summary.direction = Direction::Download;
        assert!(advice(&summary).is_empty());
    }

    #[test]
    fn a_rate_that_was_reached_is_the_limit() {
        let asked = |target_bps| InForce {
            asked: Limits {
                target_bps,
                ..in_force().asked
            },
            ceiling_bps: None,
            cause: Cause::Asked,
        };
        let text = limit(&quiet(), Some(&asked(Some(7_000_000_000))));
        assert_eq!(text, "the rate that was set: 7.0 Gbit/s");
        for told in [asked(None), asked(Some(20_000_000_000))] {
            assert!(limit(&quiet(), Some(&told)).starts_with("the path"));
        }
    }
}
