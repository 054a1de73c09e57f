use haul_manifest::{Layout, MAX_PATH_LEN, Name};
use haul_vault::Sealer;
use rustix::{fs::Stat, io::Errno};

use super::{Scan, Spot, size};
use crate::FailureKind;

/// Name, size and layout that a file is listed with, and what makes it, if it is protected.
pub(super) type Listed = (Name, u64, Layout, Option<Sealer>);

impl Scan<'_> {
    /// How a file is listed: as it is, or as the protected one that is made of it, which has no holes. `None`: it
    /// cannot be, and that has been noted.
    pub(super) fn protected(
        &mut self,
        at: Spot,
        name: Name,
        local: &[u8],
        stat: &Stat,
        layout: Layout,
    ) -> Option<Listed> {
        let Some(protection) = &self.out.wanted.protection else {
            return Some((name, size(stat), layout, None));
        };
        let begun = protection.name(&name).and_then(|name| {
            let separator = usize::from(at.levels > 0);
            match at.path_len + separator + name.as_bytes().len() > MAX_PATH_LEN {
                true => Err(FailureKind::Os(Errno::NAMETOOLONG)),
                false => Ok((name, protection.begin(size(stat))?)),
            }
        });
        match begun {
            Ok((name, sealer)) => Some((name, sealer.sealed_len(), Layout::Dense, Some(sealer))),
            Err(why) => {
                let mut state = self.out.lock();
                let path = state.places.path(at.place, local);
                state.fail(path, why);
                state.listing.note_unlisted();
                None
            }
        }
    }
}
