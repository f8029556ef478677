//! Listeners of a snapshot as one worker sees them, and the handles that swap them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ringway_api::{Address, Io};
use ringway_config::ChainMatcher;
use ringway_telemetry::{Cells, ListenerStats};

use crate::entry::Security;
use crate::plan::ProxyHeader;
use crate::view::{ChainHandle, Service};

/// A listener of one snapshot on one worker.
pub(crate) struct ListenerView<I: Io> {
    pub(crate) max_connections: Option<u32>,
    pub(crate) proxy_protocol: Option<ProxyHeader>,
    pub(crate) original_dst: bool,
    pub(crate) sniff_timeout: Duration,
    pub(crate) matcher: Arc<ChainMatcher>,
    pub(crate) chains: Vec<Rc<ChainHandle<I>>>,
    pub(crate) security: Security<I>,
    pub(crate) stats: Cells<ListenerStats>,
}

/// A listener across snapshots: connections ask it what is in force when they begin.
pub struct ListenerHandle<I: Io> {
    view: RefCell<Rc<ListenerView<I>>>,
    /// Its open connections on this worker.
    open: Cell<u32>,
    /// The address that the last connection came to: usually the next one's too, and shared then.
    local: RefCell<Option<Rc<Address>>>,
}

impl<I: Io> ListenerView<I> {
    /// The chain that serves every connection, if nothing need be known of one.
    pub(crate) fn only_chain(&self) -> Option<&Rc<ChainHandle<I>>> {
        let [handle] = self.chains.as_slice() else { return None };
        if self.proxy_protocol.is_some() || self.matcher.needs_first_bytes() {
            return None;
        }
        let view = handle.view();
        let decided = view.tls.is_none()
            && match &view.service {
                Service::Streams(spoken) => spoken.len() == 1,
                Service::Raw { .. } => true,
            };
        // A chain with conditions on addresses is asked for each connection.
        (decided && self.matcher.is_unconditional()).then_some(handle)
    }
}

impl<I: Io> ListenerHandle<I> {
    pub(crate) fn new(view: Rc<ListenerView<I>>) -> Rc<Self> {
        Rc::new(Self { view: RefCell::new(view), open: Cell::new(0), local: RefCell::default() })
    }

    /// The view in force.
    pub(crate) fn view(&self) -> Rc<ListenerView<I>> {
        Rc::clone(&self.view.borrow())
    }

    /// Counts a new connection in, unless there are as many as may be.
    pub(crate) fn admit(&self, view: &ListenerView<I>) -> bool {
        let open = self.open.get();
        if view.max_connections.is_some_and(|max| open >= max) {
            return false;
        }
        self.open.set(open + 1);
        true
    }

    /// An address of ours as connections keep it.
    pub(crate) fn share(&self, local: Address) -> Rc<Address> {
        let mut known = self.local.borrow_mut();
        match &*known {
            Some(known) if **known == local => Rc::clone(known),
            _ => Rc::clone(known.insert(Rc::new(local))),
        }
    }

    /// Whether connections are taken for those that were going elsewhere before they were redirected to us.
    pub fn restores_destination(&self) -> bool {
        self.view().original_dst
    }

    /// Counts an accept that failed.
    pub fn accept_failed(&self) {
        self.view().stats.downstream_accept_failed.inc();
    }

    pub(crate) fn leave(&self) {
        self.open.set(self.open.get().saturating_sub(1));
    }

    pub(crate) fn replace(&self, view: Rc<ListenerView<I>>) {
        let old = self.view.replace(view);
        // Outside the borrow: dropping the last reference may run arbitrary clean-up.
        drop(old);
    }
}
