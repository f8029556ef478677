//! The raw pump: bytes over io_uring with nothing above. The floor for any proxy on this engine.

use anyhow::Result;

use super::{Found, Mode, Peer, Places, Program, Site};

pub(crate) struct Pump;

impl Peer for Pump {
    fn name(&self) -> &'static str {
        "pump"
    }

    fn find(&self, places: &Places) -> Result<Found, String> {
        let path = super::built_here(places.pump.as_deref(), places, "pump")?;
        Ok(Found { path, version: env!("CARGO_PKG_VERSION").into() })
    }

    fn program(&self, found: &Found, site: &Site) -> Result<Option<Program>> {
        let args = ["--listen".to_owned(), site.listen.to_string(), "--upstream".to_owned(), site.upstream.to_string()];
        Ok(Some(Program::new(&found.path, args)))
    }

    fn carries(&self, mode: Mode) -> bool {
        matches!(mode, Mode::Http | Mode::Tcp | Mode::Dubbo)
    }

    fn pairs_connections(&self) -> bool {
        true
    }
}
