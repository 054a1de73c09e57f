//! How many may come in at a time.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

/// Connections in all states together.
const CONNECTIONS_MAX: usize = 256;
/// Connections from one address: strangers that only connect must not keep others out.
const CONNECTIONS_PER_ADDRESS_MAX: usize = 32;

/// Counts who is inside.
#[derive(Debug, Clone, Default)]
pub(crate) struct Door(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A place inside, given up when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    door: Door,
    address: IpAddr,
}

impl Door {
    /// A place for a connection from `address`, unless too many are inside.
    pub(crate) fn enter(&self, address: IpAddr) -> Option<Place> {
        let address = address.to_canonical();
        let mut inside = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = inside.values().sum();
        let from_there = inside.entry(address).or_default();
        if all >= CONNECTIONS_MAX || *from_there >= CONNECTIONS_PER_ADDRESS_MAX {
            return None;
        }
        *from_there += 1;
        Some(Place {
            door: self.clone(),
            address,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inside = self.door.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = inside.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                inside.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_fill_the_house() {
        let door = Door::default();
        let crowd: IpAddr = "192.0.2.1".parse().unwrap();
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        let mut places: Vec<_> = (0..CONNECTIONS_PER_ADDRESS_MAX)
            .map(|_| door.enter(crowd).unwrap())
            .collect();
        assert!(door.enter(crowd).is_none());
        assert!(
            door.enter(mapped).is_none(),
            "the same address in another form"
        );
        assert!(door.enter("192.0.2.2".parse().unwrap()).is_some());
        places.pop();
        assert!(door.enter(mapped).is_some());
    }
}
