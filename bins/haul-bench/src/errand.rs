//! What is to be moved over which links, which way: common to all that move files.

use haul_wan::{Direction, Link};

use crate::{
    amount::Size,
    ladder::{self, Place},
    link::LinkArgs,
};

/// Which way the data goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Way {
    /// Upload
    Up,
    /// Download
    Down,
}

impl Way {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }

    /// The direction of a link that the data takes.
    pub(crate) fn of(self, link: &Link) -> &Direction {
        match self {
            Self::Up => &link.out,
            Self::Down => &link.back,
        }
    }
}

/// Links, and what to move over them.
#[derive(Debug, clap::Args)]
pub(crate) struct Errand {
    /// Named links, instead of one made of the options
    #[arg(value_name = "LINK")]
    names: Vec<String>,
    #[command(flatten)]
    pub(crate) link: LinkArgs,
    /// Bytes to move [default: what the link carries in ten seconds]
    #[arg(long, value_name = "SIZE")]
    size: Option<Size>,
    /// Which way
    #[arg(
        long,
        default_value = "up",
        value_delimiter = ',',
        value_name = "WAY,…"
    )]
    way: Vec<Way>,
}

impl Errand {
    /// Each link with each way.
    pub(crate) fn legs(&self) -> anyhow::Result<Vec<(Place, Way)>> {
        let places = if self.names.is_empty() {
            self.link.grid()
        } else {
            ladder::named(&self.names, self.link.seed)?
        };
        let ways = |place: Place| self.way.iter().map(move |way| (place.clone(), *way));
        Ok(places.into_iter().flat_map(ways).collect())
    }

    /// Bytes to move over the link.
    pub(crate) fn bytes(&self, link: &Link, way: Way) -> u64 {
        let ten_seconds = || way.of(link).rate_bps.unwrap_or(1_000_000_000) / 8 * 10;
        self.size.map_or_else(ten_seconds, |size| size.0)
    }
}
