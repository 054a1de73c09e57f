use std::time::Duration;

use haul_flow::Time;

use crate::content::Content;

/// How the sender's side learns of its blocks: a scan that finds them step by step.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceConfig {
    /// In how many steps the blocks become known, at least 1.
    pub steps: u64,
    /// Time between steps. Long ones starve the sender: an application-limited phase.
    pub every: Duration,
}

impl SourceConfig {
    /// Everything is known at once.
    pub fn ready() -> Self {
        Self {
            steps: 1,
            every: Duration::ZERO,
        }
    }

    /// When the last block becomes known.
    pub fn complete_at(&self) -> Time {
        Time::ZERO + self.every * (self.steps.saturating_sub(1)) as u32
    }
}

/// Blocks that are known by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Known {
    /// Of the list.
    pub list_blocks: u64,
    /// Of the contents.
    pub content_blocks: u64,
    /// Whether these are all.
    pub complete: bool,
}

/// A running [`SourceConfig`].
#[derive(Debug)]
pub(crate) struct Source {
    config: SourceConfig,
    content: Content,
    done: u64,
}

impl Source {
    /// A source that has told nothing yet.
    pub(crate) fn new(config: SourceConfig, content: Content) -> Self {
        Self {
            config,
            content,
            done: 0,
        }
    }

    /// When the next step is due.
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        let due = Time::ZERO + self.config.every * self.done as u32;
        (self.done < self.config.steps).then_some(due)
    }

    /// Takes a step that is due.
    pub(crate) fn poll_known(&mut self, now: Time) -> Option<Known> {
        self.poll_timeout().filter(|due| *due <= now)?;
        self.done += 1;
        let part = |blocks: u64| blocks * self.done / self.config.steps;
        Some(Known {
            list_blocks: part(self.content.list_blocks),
            content_blocks: part(self.content.content_blocks),
            complete: self.done == self.config.steps,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_only_grow_and_the_last_is_everything() {
        let content = Content {
            seed: 0,
            list_blocks: 2,
            content_blocks: 10,
        };
        let config = SourceConfig {
            steps: 3,
            every: Duration::from_millis(5),
        };
        assert_eq!(config.complete_at(), Time(10_000_000));
        let mut source = Source::new(config, content);
        let mut known = Vec::new();
        while let Some(due) = source.poll_timeout() {
            if due > Time::ZERO {
                assert_eq!(source.poll_known(due - Duration::from_nanos(1)), None);
            }
            known.extend(source.poll_known(due));
        }
        let contents: Vec<u64> = known.iter().map(|known| known.content_blocks).collect();
        assert_eq!(contents, [3, 6, 10]);
        assert_eq!(
            known.last().map(|k| (k.list_blocks, k.complete)),
            Some((2, true))
        );
    }
}
