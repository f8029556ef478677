//! What is known of a connection.

use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::task::{Context, Waker};

use crate::{Env, Scheme, Time, TlsInfo};

/// Where a socket is: an IP address with port, or a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// TCP.
    Ip(SocketAddr),
    /// A unix stream socket; empty for an unnamed peer.
    Unix(PathBuf),
}

impl Address {
    /// The IP address with port, if it is one.
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The fixed facts of a connection.
#[derive(Clone, Debug)]
pub struct ConnInfo {
    /// Unique in the process while it runs.
    pub id: u64,
    /// Our end; what a listener's connections share.
    pub local: Rc<Address>,
    /// `local` is not our end of the socket but where the connection was going, before it was redirected to us.
    pub restored: bool,
    /// Their end: the original one where a trusted proxy in front has told it (PROXY protocol).
    pub peer: Address,
    /// The other end of the socket, where that is not `peer`.
    pub direct_peer: Option<Rc<Address>>,
    /// What TLS has established; `None` in plaintext.
    pub tls: Option<Rc<TlsInfo>>,
    /// When the phases of opening it were over; `None` for connections that others have opened.
    pub opened: Option<Opened>,
    /// The name that a ClientHello asked for which was looked at and passed on; see [`server_name`](Self::server_name).
    pub sniffed_name: Option<Box<str>>,
}

/// The phases of opening a connection of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The socket was connected.
    pub socket: Time,
    /// TLS was established, where there is any.
    pub secured: Option<Time>,
}

impl ConnInfo {
    /// The facts of a plaintext connection.
    pub fn new(id: u64, local: impl Into<Rc<Address>>, peer: Address) -> Self {
        Self {
            id,
            local: local.into(),
            restored: false,
            peer,
            direct_peer: None,
            tls: None,
            opened: None,
            sniffed_name: None,
        }
    }

    /// The name that the client asked for (TLS SNI), whoever ends TLS.
    pub fn server_name(&self) -> Option<&str> {
        self.tls.as_ref().and_then(|tls| tls.server_name.as_deref()).or(self.sniffed_name.as_deref())
    }

    /// The scheme that requests on it have.
    pub fn scheme(&self) -> Scheme {
        if self.tls.is_some() { Scheme::Https } else { Scheme::Http }
    }
}

/// A connection's context: its facts, its worker's services, and the proxy's wish that it come to an end.
pub struct ConnCx {
    /// The facts.
    pub info: ConnInfo,
    /// The worker's services.
    pub env: Rc<dyn Env>,
    draining: Cell<bool>,
    resetting: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    attachment: OnceCell<Box<dyn Any>>,
}

impl ConnCx {
    /// The context of a new connection.
    pub fn new(info: ConnInfo, env: Rc<dyn Env>) -> Self {
        Self {
            info,
            env,
            draining: Cell::new(false),
            resetting: Cell::new(false),
            waker: RefCell::new(None),
            attachment: OnceCell::new(),
        }
    }

    /// True once the connection should end in order: finish what is under way, take nothing new.
    pub fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Has `drop` drop what handles a stream, which then [knows](Self::is_resetting) that its client has reset the stream
    /// and not the connection.
    pub fn reset(&self, drop: impl FnOnce()) {
        self.resetting.set(true);
        drop();
        self.resetting.set(false);
    }

    /// Whether what is dropped now is so because its stream was reset.
    pub fn is_resetting(&self) -> bool {
        self.resetting.get()
    }

    /// Asks for that end and wakes whoever waits.
    pub fn drain(&self) {
        self.draining.set(true);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// What somebody has attached to the connection and is dropped with it; made when it is first asked for. There is
    /// room for one: `None` if it is of another type.
    pub fn attachment<T: 'static>(&self, make: impl FnOnce() -> T) -> Option<&T> {
        self.attachment.get_or_init(|| Box::new(make())).downcast_ref()
    }

    /// Has [`drain`](Self::drain) wake the task behind `cx`. Call it before waiting for something new.
    pub fn watch(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        match &*waker {
            Some(known) if known.will_wake(cx.waker()) => {}
            _ => *waker = Some(cx.waker().clone()),
        }
    }
}

impl fmt::Debug for ConnCx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnCx")
            .field("info", &self.info)
            .field("draining", &self.draining.get())
            .finish_non_exhaustive()
    }
}
