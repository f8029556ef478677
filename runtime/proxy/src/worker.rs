//! The connections of one worker.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use ringway_api::{Address, Blame, ConnCx, ConnError, ConnInfo, Env, Io, LocalBoxFuture, Time};

use crate::admission::Admission;
use crate::handler::StreamHandler;
use crate::intake::{self, Arrived};
use crate::listener::{ListenerHandle, ListenerView};
use crate::tcp;
use crate::view::{ChainHandle, ChainView, Service};

/// Connection ids of a worker step by this, so that workers never give the same.
const ID_STEP: u64 = 1 << 10;

/// What all listeners of a worker share: its connections, and the wish that they end.
pub struct Worker {
    pub(crate) env: Rc<dyn Env>,
    pub(crate) handshakes: Admission,
    next_id: Cell<u64>,
    conns: RefCell<Vec<Option<Rc<ConnCx>>>>,
    free: RefCell<Vec<u32>>,
    open: Cell<usize>,
    draining: Cell<bool>,
    show_open: Box<dyn Fn(usize)>,
}

impl Worker {
    /// The worker with this number, below 1,024. `show_open` is told the number of open connections whenever it
    /// changes.
    pub fn new(env: Rc<dyn Env>, number: usize, show_open: Box<dyn Fn(usize)>) -> Rc<Self> {
        Rc::new(Self {
            env,
            handshakes: Admission::default(),
            show_open,
            next_id: Cell::new(ID_STEP + number as u64 % ID_STEP),
            conns: RefCell::default(),
            free: RefCell::default(),
            open: Cell::new(0),
            draining: Cell::new(false),
        })
    }

    /// A connection id that no other connection of the process has.
    pub fn next_id(&self) -> u64 {
        let id = self.next_id.get();
        self.next_id.set(id + ID_STEP);
        id
    }

    /// Downstream connections that are open.
    pub fn open(&self) -> usize {
        self.open.get()
    }

    /// Whether connections are asked to end.
    pub fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Asks every connection to end in order, those to come included.
    pub fn drain(&self) {
        self.draining.set(true);
        let conns: Vec<_> = self.conns.borrow().iter().flatten().cloned().collect();
        conns.iter().for_each(|conn| conn.drain());
    }

    /// Serves a connection in a task of its own. `local` and `peer` are the ends of its socket, `original` is where it was
    /// going before it was redirected to us, if it was.
    pub fn serve<I: Io>(
        self: &Rc<Self>,
        listener: &Rc<ListenerHandle<I>>,
        mut io: I,
        (local, peer): (Address, Address),
        original: Option<Address>,
    ) {
        let view = listener.view();
        view.stats.downstream_cx_total.inc();
        if !listener.admit(&view) {
            view.stats.downstream_cx_overflow.inc();
            io.abort();
            return;
        }
        let open = OpenConn::enter(self, listener, &view);
        let restored = original.is_some();
        let local = listener.share(original.unwrap_or(local));
        let info = ConnInfo { restored, ..ConnInfo::new(self.next_id(), local, peer) };
        if let Some(chain) = view.only_chain() {
            return self.begin(open, Arrived { io, info, chain: Rc::clone(chain), protocol: 0 });
        }
        let worker = Rc::clone(self);
        // A task of its own, which ends when the connection begins: what it needed is not kept.
        self.env.spawn(Box::pin(async move {
            match intake::take_in(&view, &worker, io, info).await {
                Ok(arrived) => worker.begin(open, arrived),
                Err(refusal) => refusal.count(&view.stats),
            }
        }));
    }

    /// Serves what has been taken in.
    fn begin<I: Io>(self: &Rc<Self>, open: OpenConn<I>, arrived: Arrived<I>) {
        let Arrived { io, info, chain, protocol } = arrived;
        let view = chain.view();
        let conn = Rc::new(ConnCx::new(info, Rc::clone(&self.env)));
        if self.draining.get() {
            conn.drain();
        }
        let (guard, serving) = match &view.service {
            Service::Streams(spoken) => {
                // The configuration may have changed since it was chosen; no protocol at all is refused there.
                let Some(spoken) = spoken.get(protocol).or(spoken.first()) else { return };
                let guard = ServedConn::enter(self, open, Some(Rc::clone(&chain)), &view, &conn);
                let handler = StreamHandler::new(chain);
                (guard, (spoken.entry.serve)(Arc::clone(&spoken.options), io, handler, conn))
            }
            Service::Raw { cluster, idle_timeout } => {
                let guard = ServedConn::enter(self, open, None, &view, &conn);
                let serving = Box::pin(tcp::proxy(Rc::clone(&view), *cluster, *idle_timeout, io, conn));
                (guard, serving as LocalBoxFuture<'static, _>)
            }
        };
        self.env.spawn(Box::pin(async move {
            let ended = serving.await;
            guard.finish(&ended);
        }));
    }

    fn count_open(&self, open: usize) {
        self.open.set(open);
        (self.show_open)(open);
    }

    fn register(&self, conn: &Rc<ConnCx>) -> u32 {
        let mut conns = self.conns.borrow_mut();
        let at = self.free.borrow_mut().pop().unwrap_or_else(|| {
            conns.push(None);
            (conns.len() - 1) as u32
        });
        if let Some(place) = conns.get_mut(at as usize) {
            *place = Some(Rc::clone(conn));
        }
        at
    }

    fn forget(&self, at: u32) {
        let mut conns = self.conns.borrow_mut();
        drop(conns.get_mut(at as usize).and_then(Option::take));
        let mut free = self.free.borrow_mut();
        free.push(at);
        if free.len() == conns.len() {
            *conns = Vec::new();
            *free = Vec::new();
        }
    }
}

/// Counts a connection of a listener, also when its task is dropped.
struct OpenConn<I: Io> {
    worker: Rc<Worker>,
    listener: Rc<ListenerHandle<I>>,
    began: Time,
}

impl<I: Io> OpenConn<I> {
    fn enter(worker: &Rc<Worker>, listener: &Rc<ListenerHandle<I>>, view: &ListenerView<I>) -> Self {
        view.stats.downstream_cx_active.inc();
        worker.count_open(worker.open.get() + 1);
        Self { worker: Rc::clone(worker), listener: Rc::clone(listener), began: worker.env.now() }
    }
}

impl<I: Io> Drop for OpenConn<I> {
    fn drop(&mut self) {
        self.worker.count_open(self.worker.open.get().saturating_sub(1));
        self.listener.leave();
        let view = self.listener.view();
        view.stats.downstream_cx_active.dec();
        view.stats.downstream_cx_destroy.inc();
        view.stats.downstream_cx_length_ms.record(self.worker.env.now().since(self.began));
    }
}

/// Keeps a connection that is served known to its worker and counted, also when its task is dropped.
struct ServedConn<I: Io> {
    open: OpenConn<I>,
    /// The chain, of a connection with requests.
    chain: Option<Rc<ChainHandle<I>>>,
    at: u32,
}

impl<I: Io> ServedConn<I> {
    fn enter(
        worker: &Worker,
        open: OpenConn<I>,
        chain: Option<Rc<ChainHandle<I>>>,
        view: &ChainView<I>,
        conn: &Rc<ConnCx>,
    ) -> Self {
        if chain.is_some() {
            view.http.downstream_cx_total.inc();
            view.http.downstream_cx_active.inc();
        }
        Self { open, chain, at: worker.register(conn) }
    }

    fn finish(self, ended: &Result<(), ConnError>) {
        let http = self.chain.as_ref().map(|chain| chain.view());
        let Err(error) = ended else {
            if let Some(view) = http.filter(|_| self.open.worker.is_draining()) {
                view.http.downstream_cx_drain_close.inc();
            }
            return;
        };
        match (error.blame, error.details, http) {
            (_, "idle_timeout", http) => {
                self.open.listener.view().stats.downstream_cx_idle_timeout.inc();
                if let Some(view) = http {
                    view.http.downstream_cx_idle_timeout.inc();
                }
            }
            (Blame::Downstream, _, Some(view)) if error.breach => view.http.downstream_cx_protocol_error.inc(),
            (Blame::Downstream, "closed_within_head", Some(view)) => view.http.downstream_cx_destroy_active_rq.inc(),
            _ => {}
        }
    }
}

impl<I: Io> Drop for ServedConn<I> {
    fn drop(&mut self) {
        self.open.worker.forget(self.at);
        if let Some(chain) = &self.chain {
            let view = chain.view();
            view.http.downstream_cx_active.dec();
            view.http.downstream_cx_destroy.inc();
        }
    }
}
