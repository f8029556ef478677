//! No proxy: the client talks to the upstream. Shows what the load side can do at most.

use anyhow::Result;

use super::{Found, Mode, Peer, Places, Program, Site};

pub(crate) struct Direct;

impl Peer for Direct {
    fn name(&self) -> &'static str {
        "direct"
    }

    fn find(&self, _places: &Places) -> Result<Found, String> {
        Ok(Found { path: "direct".into(), version: "no proxy".into() })
    }

    fn program(&self, _found: &Found, _site: &Site) -> Result<Option<Program>> {
        Ok(None)
    }

    fn carries(&self, mode: Mode) -> bool {
        mode != Mode::Mesh
    }

    fn is_process(&self) -> bool {
        false
    }
}
