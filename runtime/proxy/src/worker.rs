//! The connections of one worker.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use ringway_api::{Address, Blame, ConnCx, ConnError, ConnInfo, Env, Io};

use crate::handler::StreamHandler;
use crate::tcp;
use crate::view::{ListenerHandle, ListenerView, Service};

/// Connection ids of a worker step by this, so that workers never give the same.
const ID_STEP: u64 = 1 << 10;

/// What all listeners of a worker share: its connections, and the wish that they end.
pub struct Worker {
    env: Rc<dyn Env>,
    next_id: Cell<u64>,
    conns: RefCell<Vec<Option<Rc<ConnCx>>>>,
    free: RefCell<Vec<usize>>,
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

    /// Serves a connection in a task of its own.
    pub fn serve<I: Io>(self: &Rc<Self>, listener: &Rc<ListenerHandle<I>>, mut io: I, local: Address, peer: Address) {
        let view = listener.view();
        view.listener.downstream_cx_total.inc();
        if !listener.admit(&view) {
            view.listener.downstream_cx_overflow.inc();
            io.abort();
            return;
        }
        let conn = Rc::new(ConnCx::new(ConnInfo::new(self.next_id(), local, peer), Rc::clone(&self.env)));
        if self.draining.get() {
            conn.drain();
        }
        let guard = OpenConn::enter(self, listener, &view, &conn);
        let http = matches!(view.service, Service::Streams { .. });
        let serving = match &view.service {
            Service::Streams { serve, options } => {
                serve(options.clone(), io, StreamHandler::new(Rc::clone(listener), &conn), Rc::clone(&conn))
            }
            Service::Raw { cluster, idle_timeout } => {
                Box::pin(tcp::proxy(Rc::clone(&view), *cluster, *idle_timeout, io, Rc::clone(&conn)))
            }
        };
        drop(view);
        self.env.spawn(Box::pin(async move {
            let ended = serving.await;
            guard.finish(&ended, http);
        }));
    }

    fn register(&self, conn: &Rc<ConnCx>) -> usize {
        self.open.set(self.open.get() + 1);
        (self.show_open)(self.open.get());
        let mut conns = self.conns.borrow_mut();
        let at = self.free.borrow_mut().pop().unwrap_or_else(|| {
            conns.push(None);
            conns.len() - 1
        });
        if let Some(place) = conns.get_mut(at) {
            *place = Some(Rc::clone(conn));
        }
        at
    }

    fn forget(&self, at: usize) {
        self.open.set(self.open.get().saturating_sub(1));
        (self.show_open)(self.open.get());
        let mut conns = self.conns.borrow_mut();
        drop(conns.get_mut(at).and_then(Option::take));
        if self.open.get() == 0 {
            *conns = Vec::new();
            *self.free.borrow_mut() = Vec::new();
        } else {
            self.free.borrow_mut().push(at);
        }
    }
}

/// Counts an open connection, also when its task is dropped.
struct OpenConn<I> {
    worker: Rc<Worker>,
    listener: Rc<ListenerHandle<I>>,
    at: usize,
    http: bool,
}

impl<I> OpenConn<I> {
    fn enter(worker: &Rc<Worker>, listener: &Rc<ListenerHandle<I>>, view: &ListenerView<I>, conn: &Rc<ConnCx>) -> Self {
        let http = matches!(view.service, Service::Streams { .. });
        view.listener.downstream_cx_active.inc();
        if http {
            view.http.downstream_cx_total.inc();
            view.http.downstream_cx_active.inc();
        }
        Self { worker: Rc::clone(worker), listener: Rc::clone(listener), at: worker.register(conn), http }
    }

    fn finish(self, ended: &Result<(), ConnError>, http: bool) {
        let Err(error) = ended else { return };
        let view = self.listener.view();
        match (error.blame, error.details) {
            (_, "idle_timeout") => {
                view.listener.downstream_cx_idle_timeout.inc();
                if http {
                    view.http.downstream_cx_idle_timeout.inc();
                }
            }
            (Blame::Downstream, "closed_within_head") if http => view.http.downstream_cx_destroy_active_rq.inc(),
            _ => {}
        }
    }
}

impl<I> Drop for OpenConn<I> {
    fn drop(&mut self) {
        self.worker.forget(self.at);
        self.listener.leave();
        let view = self.listener.view();
        view.listener.downstream_cx_active.dec();
        view.listener.downstream_cx_destroy.inc();
        if self.http {
            view.http.downstream_cx_active.dec();
            view.http.downstream_cx_destroy.inc();
        }
    }
}
