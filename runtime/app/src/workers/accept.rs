//! Accepting connections, and handing them to the least busy worker where that is wanted.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Poll, Waker};
use std::time::Duration;

use ringway_api::{Address, Env};
use ringway_io::{Accepted, Core, Full, Listener, Sender, Stream};
use ringway_proxy::{ListenerHandle, Worker};

use super::{Command, Listening, Shared};

/// A pause after a failed accept: the usual cause, no file descriptor left, does not go away at once.
const PAUSE: Duration = Duration::from_millis(50);

/// What accepting needs of its worker.
pub(super) struct Crew {
    core: Core,
    worker: Rc<Worker>,
    number: usize,
    shared: Arc<Shared>,
    peers: Vec<Sender<Command>>,
    handles: RefCell<HashMap<Address, Rc<ListenerHandle<Stream>>>>,
    handed_off: Cell<u64>,
}

/// One listening socket of one worker.
pub(super) struct Acceptor {
    stop: Rc<Stop>,
}

/// The wish that an acceptor end.
#[derive(Default)]
struct Stop {
    wanted: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Crew {
    pub(super) fn new(
        core: Core,
        worker: Rc<Worker>,
        number: usize,
        shared: Arc<Shared>,
        peers: Vec<Sender<Command>>,
    ) -> Rc<Self> {
        Rc::new(Self { core, worker, number, shared, peers, handles: RefCell::default(), handed_off: Cell::new(0) })
    }

    /// Notes the handle that serves an address.
    pub(super) fn know(&self, address: &Address, handle: &Rc<ListenerHandle<Stream>>) {
        self.handles.borrow_mut().insert(address.clone(), Rc::clone(handle));
    }

    /// Forgets the handles of other addresses; their connections keep them.
    pub(super) fn forget_others(&self, wanted: &dyn Fn(&Address) -> bool) {
        self.handles.borrow_mut().retain(|address, _| wanted(address));
    }

    /// Connections given to other workers so far.
    pub(super) fn handed_off(&self) -> u64 {
        self.handed_off.get()
    }

    /// Serves a connection on this worker.
    pub(super) fn adopt(&self, accepted: Accepted, listener: &Address) {
        let handle = self.handles.borrow().get(listener).cloned();
        // A listener that went while the connection was on its way: nobody is there to serve it.
        let Some(handle) = handle else { return };
        self.serve(&handle, accepted);
    }

    fn serve(&self, handle: &Rc<ListenerHandle<Stream>>, accepted: Accepted) {
        // Fails when the peer has gone already.
        let Ok(ends) = accepted.addresses() else { return };
        let original = if handle.restores_destination() { accepted.original_destination() } else { None };
        self.worker.serve(handle, self.core.adopt(accepted), ends, original);
    }

    /// Serves a connection here, or on the worker with the fewest.
    fn place(&self, accepted: Accepted, listener: &Address, balanced: bool) {
        let open =
            |number: usize| self.shared.worker(number).map_or(usize::MAX, |shown| shown.open.load(Ordering::Relaxed));
        let least = if balanced { (0..self.peers.len()).min_by_key(|number| open(*number)) } else { None };
        let target = least.filter(|number| *number != self.number && open(*number) < open(self.number));
        let Some((number, peer)) = target.and_then(|number| Some((number, self.peers.get(number)?))) else {
            return self.adopt(accepted, listener);
        };
        match peer.send(Command::Adopt { accepted, listener: listener.clone() }) {
            Ok(()) => {
                self.handed_off.set(self.handed_off.get() + 1);
                // Counted at once, so that a burst does not all go to the same worker; it corrects this itself.
                if let Some(shown) = self.shared.worker(number) {
                    shown.open.fetch_add(1, Ordering::Relaxed);
                }
            }
            Err(Full(Command::Adopt { accepted, .. })) => self.adopt(accepted, listener),
            Err(_) => {}
        }
    }
}

impl Acceptor {
    pub(super) fn start(crew: &Rc<Crew>, address: Address, listening: Listening) -> Self {
        let stop = Rc::new(Stop::default());
        let listener = crew.core.listen(&listening.socket);
        let task = accept(Rc::clone(crew), listener, address, listening.balanced, Rc::clone(&stop));
        crew.core.spawn(Box::pin(task));
        Self { stop }
    }

    /// Takes what the kernel has queued, then closes the socket.
    pub(super) fn stop(&self) {
        self.stop.wanted.set(true);
        if let Some(waker) = self.stop.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

async fn accept(crew: Rc<Crew>, listener: Listener, address: Address, balanced: bool, stop: Rc<Stop>) {
    let handle = crew.handles.borrow().get(&address).cloned();
    let mut pause = crew.core.timer();
    loop {
        let next = poll_fn(|cx| {
            if stop.wanted.get() {
                return Poll::Ready(None);
            }
            *stop.waker.borrow_mut() = Some(cx.waker().clone());
            if pause.deadline().is_some() {
                if pause.poll_expired(cx).is_pending() {
                    return Poll::Pending;
                }
                pause.clear();
            }
            listener.poll_accept(cx).map(Some)
        });
        match next.await {
            Some(Ok(accepted)) => crew.place(accepted, &address, balanced),
            Some(Err(_)) => {
                if let Some(handle) = &handle {
                    handle.accept_failed();
                }
                pause.set_after(PAUSE);
            }
            None => break,
        }
    }
    // The handle may have been forgotten with its address; these connections came before that.
    if let (Some(handle), Ok(queued)) = (handle, listener.drain()) {
        for accepted in queued {
            crew.serve(&handle, accepted);
        }
    }
}
