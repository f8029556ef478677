//! Everything that can be measured: what comes with the harness, and what files add to it.

use std::fmt;
use std::path::Path;

use anyhow::{Result, ensure};

use crate::peers::{Described, PEERS, Peer};
use crate::scenarios::{SPECIAL, Scenario, described};

/// Peers and scenarios, in the order of the report. They are there until the program ends, and leaked for that reason.
#[derive(Clone)]
pub(crate) struct Catalog {
    pub(crate) peers: Vec<&'static dyn Peer>,
    pub(crate) scenarios: Vec<&'static dyn Scenario>,
}

impl Catalog {
    /// What comes with the harness.
    pub(crate) fn built_in() -> Result<Self> {
        let described = described::built_in()?.into_iter().map(|scenario| &*Box::leak(Box::new(scenario)));
        let scenarios = described.map(|scenario| scenario as &dyn Scenario).chain(SPECIAL.iter().copied());
        Ok(Self { peers: PEERS.to_vec(), scenarios: scenarios.collect() })
    }

    /// Adds the proxy that a file describes.
    pub(crate) fn add_peer(&mut self, file: &Path) -> Result<()> {
        let peer = Box::leak(Box::new(Described::read(file)?));
        ensure!(self.peer(peer.name()).is_none(), "{}: there is a peer {} already", file.display(), peer.name());
        self.peers.push(peer);
        Ok(())
    }

    /// Adds the scenario that a file describes.
    pub(crate) fn add_scenario(&mut self, file: &Path) -> Result<()> {
        let scenario = Box::leak(Box::new(described::read(file)?));
        let name = scenario.name();
        ensure!(self.scenario(name).is_none(), "{}: there is a scenario {name} already", file.display());
        self.scenarios.push(scenario);
        Ok(())
    }

    /// The peer of this name.
    pub(crate) fn peer(&self, name: &str) -> Option<&'static dyn Peer> {
        self.peers.iter().copied().find(|peer| peer.name() == name)
    }

    /// The scenario of this name.
    pub(crate) fn scenario(&self, name: &str) -> Option<&'static dyn Scenario> {
        self.scenarios.iter().copied().find(|scenario| scenario.name() == name)
    }
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peers: Vec<_> = self.peers.iter().map(|peer| peer.name()).collect();
        let scenarios: Vec<_> = self.scenarios.iter().map(|scenario| scenario.name()).collect();
        f.debug_struct("Catalog").field("peers", &peers).field("scenarios", &scenarios).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_primaries_are_columns() {
        let catalog = Catalog::built_in().unwrap();
        let names: BTreeSet<_> = catalog.scenarios.iter().map(|s| s.name()).collect();
        assert_eq!(names.len(), catalog.scenarios.len());
        for scenario in &catalog.scenarios {
            assert!(scenario.columns().contains(&scenario.primary()), "{}", scenario.name());
            assert!(!scenario.about().is_empty());
        }
        let names: BTreeSet<_> = catalog.peers.iter().map(|p| p.name()).collect();
        assert_eq!(names.len(), catalog.peers.len());
        assert!(names.iter().all(|name| catalog.peer(name).is_some()));
    }

    #[test]
    fn files_add_to_it_once() {
        let mut catalog = Catalog::built_in().unwrap();
        let example = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
        for again in [false, true] {
            assert_eq!(catalog.add_peer(&example("peer.yaml")).is_err(), again);
            assert_eq!(catalog.add_scenario(&example("scenario.yaml")).is_err(), again);
        }
        assert!(catalog.peer("nginx-plain").is_some() && catalog.scenario("many-clients").is_some());
    }
}
