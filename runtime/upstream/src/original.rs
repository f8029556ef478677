//! Hosts that nobody configured: where a connection was going, or what a request names.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use ringway_api::{Address, ConnCx, HostState, RequestHead, Time};

use crate::host::{Host, Seat, Settings, Shared};
use crate::host_set::key;
use crate::{HostParams, HostReport};

/// Requests go to the original destination of their connection (Envoy's `ORIGINAL_DST` clusters).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginalDestination {
    /// A field of requests that names another destination, as `ip:port`. Whoever can send it chooses the host.
    pub header: Option<Box<str>>,
    /// The port instead of the destination's.
    pub port: Option<u16>,
    /// A host is forgotten when it was not used for this long.
    pub keep: Duration,
    /// Hosts that each worker knows at most; 1 or more. The one that was not used for longest makes room for another.
    pub max_hosts: usize,
}

/// The hosts that a worker has come to know.
#[derive(Default)]
pub(crate) struct Known {
    hosts: RefCell<HashMap<Address, Visited>>,
    /// When hosts were last looked through for those to forget.
    swept: Cell<Time>,
}

struct Visited {
    host: Rc<Host>,
    at: Cell<Time>,
}

impl OriginalDestination {
    /// Where a request or connection goes. `None` when nothing says so: a field that names no address counts as nothing
    /// and does not fall back to the connection, and a connection that was made to ourselves would come back to us.
    pub fn of(&self, conn: &ConnCx, head: Option<&RequestHead>) -> Option<Address> {
        let named = self.header.as_ref().and_then(|name| head?.headers.first(name));
        let mut to = match named {
            Some(value) => std::str::from_utf8(value).ok()?.trim().parse().ok()?,
            None => conn.info.local.ip()?,
        };
        let port = to.port();
        to.set_port(self.port.unwrap_or(port));
        let is_elsewhere = named.is_some() || conn.info.restored || to.port() != port;
        (is_elsewhere && to.port() != 0 && !to.ip().is_unspecified()).then_some(Address::Ip(to))
    }
}

impl Known {
    /// The host at an address. `None` if there is no room for another.
    pub(crate) fn host(
        &self,
        address: &Address,
        of: &OriginalDestination,
        settings: &Rc<Settings>,
    ) -> Option<Rc<Host>> {
        let now = settings.env.now();
        let mut hosts = self.hosts.borrow_mut();
        if let Some(visited) = hosts.get(address) {
            visited.at.set(now);
            return Some(Rc::clone(&visited.host));
        }
        if hosts.len() >= of.max_hosts {
            let idle = hosts.iter().filter(|(_, visited)| visited.host.active() == 0);
            let oldest = idle.min_by_key(|(_, visited)| visited.at.get()).map(|(address, _)| address.clone())?;
            if let Some(gone) = hosts.remove(&oldest) {
                gone.host.retire();
            }
        }
        let states: Rc<[HostState]> = [HostState::new(1, key(address))].into();
        let seat = Seat { states, shared: Rc::new(Shared::default()), index: 0 };
        let host = Host::new(&HostParams::new(address.clone()), seat, Rc::clone(settings), false);
        hosts.insert(address.clone(), Visited { host: Rc::clone(&host), at: Cell::new(now) });
        settings.events.membership(hosts.len(), hosts.len());
        Some(host)
    }

    /// Forgets hosts that were not used for long. Often called; looks only now and then.
    pub(crate) fn sweep(&self, of: &OriginalDestination, settings: &Settings) {
        let now = settings.env.now();
        if now.since(self.swept.get()) < of.keep / 2 {
            return;
        }
        self.swept.set(now);
        let mut hosts = self.hosts.borrow_mut();
        let before = hosts.len();
        hosts.retain(|_, Visited { host, at }| {
            let stays = host.active() > 0 || now.since(at.get()) < of.keep;
            if !stays {
                host.retire();
            }
            stays
        });
        if hosts.len() != before {
            settings.events.membership(hosts.len(), hosts.len());
        }
    }

    /// The next view's settings become the hosts'.
    pub(crate) fn move_on(&self, settings: &Rc<Settings>, renewed: bool) {
        for Visited { host, .. } in self.hosts.borrow().values() {
            host.configure(Rc::clone(settings));
            if renewed {
                host.renew();
            }
        }
    }

    pub(crate) fn retire(&self) {
        self.hosts.borrow_mut().drain().for_each(|(_, visited)| visited.host.retire());
    }

    pub(crate) fn report(&self) -> Vec<HostReport> {
        let hosts = self.hosts.borrow();
        let mut reports: Vec<_> = hosts.values().map(|visited| visited.host.report()).collect();
        reports.sort_by_key(|report| report.address.to_string());
        reports
    }

    pub(crate) fn len(&self) -> usize {
        self.hosts.borrow().len()
    }
}
