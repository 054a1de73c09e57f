//! What kept a path from carrying more, and what to do about it.

use serde_json::Value;

/// What both ends of a flow spent, in seconds of processor time.
#[derive(Debug, Clone)]
pub(crate) struct Cpu {
    pub(crate) sender: f64,
    pub(crate) receiver: f64,
}

impl Cpu {
    /// Who sends and who receives.
    pub(crate) fn of(summary: &Value, is_upload: bool) -> Self {
        let seconds = |end: &str| summary[end]["cpu_seconds"].as_f64().unwrap_or(0.0);
        let (sender, receiver) = if is_upload {
            ("here", "there")
        } else {
            ("there", "here")
        };
        Self {
            sender: seconds(sender),
            receiver: seconds(receiver),
        }
    }
}

/// What bound the flow, then advice.
pub(crate) fn explain(name: &str, summary: &Value, line: &Value) -> Vec<String> {
    let limit = summary["limited_by"]
        .as_str()
        .unwrap_or("what is not known");
    let mut notes = vec![format!("{name}: limited by {limit}")];
    let advice = summary["advice"].as_array().into_iter().flatten();
    notes.extend(advice.filter_map(Value::as_str).map(str::to_owned));
    if line["segmentation_offload"] == false {
        notes.push(
            "here: no UDP segmentation offload, each datagram is a system call of its own; see \
             ethtool -k and the kernel's age (4.18 or later)"
                .to_owned(),
        );
    }
    notes
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_haul_says_is_passed_on() {
        let summary = json!({
            "limited_by": "the path", "advice": ["raise it"],
            "here": { "cpu_seconds": 1.5 }, "there": { "cpu_seconds": 2.5 },
        });
        let offload = |on: bool| json!({ "segmentation_offload": on });
        let notes = explain("upload", &summary, &offload(true));
        assert_eq!(notes, ["upload: limited by the path", "raise it"]);
        assert_eq!(explain("upload", &summary, &offload(false)).len(), 3);
        for is_upload in [true, false] {
            let cpu = Cpu::of(&summary, is_upload);
            let both = (cpu.sender, cpu.receiver);
            assert_eq!(both, if is_upload { (1.5, 2.5) } else { (2.5, 1.5) });
        }
    }
}
