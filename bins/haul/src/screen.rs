//! Progress for people, on standard error: a live line on a terminal, a line now and then in a log.

use std::{
    fmt, io,
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

use haul_transfer::{InForce, PathFacts, Progress, SessionFacts, Summary};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

use crate::{args::When, human};

/// Time between two lines of progress where nothing can be redrawn.
const LOG_INTERVAL: Duration = Duration::from_secs(5);
/// Columns drawn when told to draw on what is no terminal.
const WIDTH_WITHOUT_TERMINAL: u16 = 120;
/// Redraws per second at most; progress comes five times a second.
const REDRAW_HZ: u8 = 10;

/// How progress is shown.
#[derive(Debug)]
pub(crate) enum Screen {
    /// One line, redrawn; dark until there is progress, for questions to the user come before.
    Live(ProgressBar, Surface, Option<InForce>),
    /// A line every [`LOG_INTERVAL`].
    Log {
        /// When the last one was written.
        last: Instant,
    },
    /// Not at all.
    Dark,
}

impl Screen {
    /// Chooses. Who asks for silence or reads events does not also want lines in a log.
    pub(crate) fn new(when: When, quiet: bool, json: bool) -> Self {
        let terminal = io::stderr().is_terminal();
        match when {
            When::Never => Self::Dark,
            When::Always if terminal => Self::live(Surface::Terminal),
            When::Always => Self::live(Surface::Pipe),
            When::Auto if quiet => Self::Dark,
            When::Auto if terminal => Self::live(Surface::Terminal),
            When::Auto if json => Self::Dark,
            When::Auto => Self::Log {
                last: Instant::now(),
            },
        }
    }

    fn live(surface: Surface) -> Self {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden());
        // The template is ours and constant; were it wrong, the default style shows the same facts.
        if let Ok(style) = ProgressStyle::with_template("[{bar:20}] {wide_msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        Self::Live(bar, surface, None)
    }

    /// Whether anything of the transfer is shown at all.
    pub(crate) fn is_dark(&self) -> bool {
        matches!(self, Self::Dark)
    }

    /// Whether a live line is drawn on a terminal.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self, Self::Live(_, Surface::Terminal, _))
    }

    /// Keeps in mind what the sender keeps to.
    pub(crate) fn limits(&mut self, told: &InForce) {
        if let Self::Live(_, _, in_force) = self {
            *in_force = Some(*told);
        }
    }

    /// Shows where the transfer is.
    pub(crate) fn progress(&mut self, progress: &Progress) {
        match self {
            Self::Live(bar, surface, in_force) => {
                if progress.scanned {
                    bar.set_length(progress.bytes_total.max(1));
                    bar.set_position(progress.bytes);
                }
                bar.set_message(status(progress, in_force.as_ref()));
                if bar.is_hidden() {
                    bar.set_draw_target(surface.target());
                }
            }
            Self::Log { last } if last.elapsed() >= LOG_INTERVAL => {
                *last = Instant::now();
                self.say(&status(progress, None));
            }
            Self::Log { .. } | Self::Dark => {}
        }
    }

    /// Writes a line above the live one.
    pub(crate) fn say(&self, line: &str) {
        // Nobody is left to tell when standard error is gone.
        let write = || drop(writeln!(io::stderr(), "{line}"));
        match self {
            Self::Live(bar, ..) => bar.suspend(write),
            Self::Log { .. } | Self::Dark => write(),
        }
    }

    /// Takes the live line away.
    pub(crate) fn clear(&self) {
        if let Self::Live(bar, ..) = self {
            bar.finish_and_clear();
        }
    }
}

/// What a live line is drawn on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Surface {
    /// The terminal that standard error is.
    Terminal,
    /// A pipe, as if it were a terminal.
    Pipe,
}

impl Surface {
    fn target(self) -> ProgressDrawTarget {
        match self {
            Self::Terminal => ProgressDrawTarget::stderr_with_hz(REDRAW_HZ),
            Self::Pipe => ProgressDrawTarget::term_like_with_hz(Box::new(AnyStderr), REDRAW_HZ),
        }
    }
}

/// `1.2 GB of 5.0 GB, 24.0 %, 6.9 Gbit/s, ETA 44.0 s, …`: the most wanted first, for a narrow
/// window cuts the end off.
pub(crate) fn status(progress: &Progress, in_force: Option<&InForce>) -> String {
    let mut parts = Vec::with_capacity(9);
    if progress.scanned {
        parts.push(format!(
            "{} of {}",
            human::bytes(progress.bytes),
            human::bytes(progress.bytes_total)
        ));
        if progress.bytes_total > 0 {
            let share = progress.bytes as f64 / progress.bytes_total as f64;
            parts.push(format!("{:.1} %", share * 100.0));
        }
    } else if progress.files_total > 0 {
        parts.push(format!("{} (still listing)", human::bytes(progress.bytes)));
    } else {
        parts.push(human::bytes(progress.bytes));
    }
    parts.push(human::rate(progress.goodput_bps as f64));
    if let Some(eta) = progress.eta {
        parts.push(format!("ETA {}", human::duration(eta)));
    }
    if let Some(told) = in_force {
        parts.push(policy(told, &progress.mode));
    }
    if progress.files > 0 {
        parts.push(format!(
            "{} of {}",
            human::count(progress.files),
            human::files(progress.files_total)
        ));
    } else if progress.files_total > 0 {
        parts.push(human::files(progress.files_total));
    }
    parts.push(format!("loss {}", human::percent(progress.loss)));
    parts.push(format!("RTT {}", human::rtt(progress.rtt)));
    if progress.retransmitted_bytes > 0 {
        parts.push(format!(
            "{} sent again",
            human::bytes(progress.retransmitted_bytes)
        ));
    }
    parts.join(", ")
}

/// `fair (track), at most 300 Mbit/s`.
fn policy(told: &InForce, mode: &str) -> String {
    let limits = told.limits();
    let mut words = limits.policy.to_string();
    if !mode.is_empty() && mode != words {
        words.push_str(&format!(" ({mode})"));
    }
    if let Some(target) = limits.target_bps {
        words.push_str(&format!(", at most {}", human::rate(target as f64)));
    }
    words
}

/// `now policy fair, target 300 Mbit/s (400 Mbit/s asked for, the server allows no more)`.
pub(crate) fn in_force(told: &InForce) -> String {
    let limits = told.limits();
    let mut words = format!("now policy {}", limits.policy);
    match limits.target_bps {
        Some(target) => words.push_str(&format!(", target {}", human::rate(target as f64))),
        None => words.push_str(", no target"),
    }
    if limits.min_bps > 0 {
        words.push_str(&format!(", minimum {}", human::rate(limits.min_bps as f64)));
    }
    if limits != told.asked {
        let asked = told.asked.target_bps;
        let asked = asked.map_or_else(|| "none".to_owned(), |bps| human::rate(bps as f64));
        words.push_str(&format!(" ({asked} asked for, the server allows no more)"));
    }
    words
}

/// `12.3 GB, 20,000 files in 14.2 s: 6.9 Gbit/s, 0.02 % loss, RTT 23 ms`.
pub(crate) fn account(summary: &Summary) -> String {
    let what = if summary.is_measurement {
        " from memory to memory".to_owned()
    } else {
        let kept = match summary.kept {
            0 => String::new(),
            kept => format!(" ({} more kept as they are)", human::count(kept)),
        };
        let deleted = match summary.deleted {
            0 => String::new(),
            deleted => format!(" ({} deleted)", human::count(deleted)),
        };
        format!(", {}{kept}{deleted}", human::files(summary.files))
    };
    if summary.is_rehearsal {
        return rehearsal(summary);
    }
    let bytes = human::bytes(summary.bytes);
    let there = match summary.there_bytes {
        0 => String::new(),
        there if there == summary.bytes => {
            let time = human::duration(seconds(summary.seconds));
            return format!("{bytes}{what}, all of it there already, in {time}");
        }
        there => format!(" ({} of it there already)", human::bytes(there)),
    };
    format!(
        "{bytes}{what}{there} in {}: {}, {} loss, RTT {}",
        human::duration(seconds(summary.seconds)),
        human::rate(summary.goodput_bps as f64),
        human::percent(summary.loss),
        human::rtt(seconds(summary.rtt_ms / 1e3)),
    )
}

/// `dry run: 12.3 GB in 20 files to be sent, 5 there already, 3 to be deleted; nothing was changed`.
fn rehearsal(summary: &Summary) -> String {
    let bytes = summary.bytes.saturating_sub(summary.there_bytes);
    let files = summary.files.saturating_sub(summary.there_files);
    let there = summary.there_files.saturating_add(summary.kept);
    format!(
        "dry run: {} in {} to be sent, {} there already, {} to be deleted; nothing was changed",
        human::bytes(bytes),
        human::files(files),
        human::count(there),
        human::count(summary.deleted),
    )
}

/// What else a measurement found: `least RTT 20 ms, jitter 1 ms; processor time 1.2 s here, …`.
pub(crate) fn findings(summary: &Summary) -> String {
    let (here, there) = (&summary.here, &summary.there);
    format!(
        "least RTT {}, jitter {}; datagrams of {} bytes; processor time {} here, {} there; \
         overflowed at the receiving socket: {}",
        human::rtt(seconds(summary.min_rtt_ms / 1e3)),
        human::rtt(seconds(summary.jitter_ms / 1e3)),
        human::count(summary.segment_len as u64),
        human::duration(here.cpu),
        human::duration(there.cpu),
        human::count(here.dropped_datagrams + there.dropped_datagrams),
    )
}

/// What was agreed, for `-v`.
pub(crate) fn agreement(facts: &SessionFacts) -> String {
    format!(
        "path to {} open: sealed with {}, policy {}, datagrams of {} bytes, RTT {}, {} there",
        facts.peer,
        facts.suite,
        facts.policy,
        human::count(facts.segment_len as u64),
        human::rtt(facts.rtt),
        facts.agent,
    )
}

/// What has become of the path.
pub(crate) fn change(facts: &PathFacts) -> String {
    format!(
        "path changed: to {}, moved {} times, datagrams of {} bytes",
        facts.peer,
        facts.moves,
        human::count(facts.segment_len as u64),
    )
}

/// A number of seconds that came as a float; nonsense counts as none.
fn seconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value).unwrap_or_default()
}

/// Standard error as if it were a terminal, for `--progress always` into a pipe whose reader draws.
struct AnyStderr;

impl fmt::Debug for AnyStderr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyStderr")
    }
}

impl TermLike for AnyStderr {
    fn width(&self) -> u16 {
        WIDTH_WITHOUT_TERMINAL
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        if n == 0 {
            Ok(())
        } else {
            write!(io::stderr(), "\x1b[{n}A")
        }
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        if n == 0 {
            Ok(())
        } else {
            write!(io::stderr(), "\x1b[{n}B")
        }
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        if n == 0 {
            Ok(())
        } else {
            write!(io::stderr(), "\x1b[{n}C")
        }
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        if n == 0 {
            Ok(())
        } else {
            write!(io::stderr(), "\x1b[{n}D")
        }
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        writeln!(io::stderr(), "{text}")
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        write!(io::stderr(), "{text}")
    }

    fn clear_line(&self) -> io::Result<()> {
        write!(io::stderr(), "\r\x1b[2K")
    }

    fn flush(&self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::tests::{in_force as told, progress, summary};

    #[test]
    fn the_last_line_says_it_all() {
        assert_eq!(
            account(&summary()),
            "12.3 GB, 20,000 files in 14.2 s: 6.9 Gbit/s, 0.02 % loss, RTT 23 ms"
        );
    }

    #[test]
    fn a_measurement_says_what_it_found() {
        let summary = Summary {
            is_measurement: true,
            files: 0,
            ..summary()
        };
        assert_eq!(
            account(&summary),
            "12.3 GB from memory to memory in 14.2 s: 6.9 Gbit/s, 0.02 % loss, RTT 23 ms"
        );
        assert_eq!(
            findings(&summary),
            "least RTT 20 ms, jitter 0.50 ms; datagrams of 1,452 bytes; processor time 6.3 s here, \
             7.1 s there; overflowed at the receiving socket: 3"
        );
    }

    #[test]
    fn a_status_begins_with_the_most_wanted() {
        assert_eq!(
            status(&progress(), Some(&told())),
            "1.2 GB of 5.0 GB, 24.0 %, 6.9 Gbit/s, ETA 44.0 s, fair (track), at most 300 Mbit/s, 12 of 20,000 files, loss 0.02 %, \
             RTT 23 ms, 1.2 MB sent again"
        );
        let early = Progress {
            scanned: false,
            files: 0,
            eta: None,
            ..progress()
        };
        assert_eq!(
            status(&early, None),
            "1.2 GB (still listing), 6.9 Gbit/s, 20,000 files, loss 0.02 %, RTT 23 ms, \
             1.2 MB sent again"
        );
    }

    #[test]
    fn a_wish_that_is_cut_is_told_as_cut() {
        assert_eq!(
            in_force(&told()),
            "now policy fair, target 300 Mbit/s (400 Mbit/s asked for, the server allows no more)"
        );
        let free = InForce {
            ceiling_bps: None,
            ..told()
        };
        assert_eq!(in_force(&free), "now policy fair, target 400 Mbit/s");
    }

    #[test]
    fn a_status_survives_having_nothing_to_do() {
        let idle = Progress {
            bytes: 0,
            bytes_total: 0,
            goodput_bps: 0,
            ..progress()
        };
        let status = status(&idle, None);
        assert!(
            status.starts_with("0 bytes of 0 bytes, 0 bit/s, "),
            "{status}"
        );
    }
}
