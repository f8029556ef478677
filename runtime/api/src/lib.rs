//! The narrow waist of Ringway: the message types, plug-in traits and [`Env`] that everything else meets in.
//!
//! Protocols and filters know this crate alone; the engine, the proxy and the test kit implement or drive what is
//! declared here. It does no I/O, reads no clock and has no `unsafe` of its own. But for [cells](Counter) and
//! [limits](SharedLimit), nothing here is `Send`: a value belongs to the worker that made it.

#![forbid(unsafe_code)]

mod balance;
mod body;
mod cell;
mod chunk;
mod conn;
mod date;
mod env;
mod error;
mod exchange;
mod filter;
mod flags;
mod head;
mod headers;
mod io;
mod limit;
mod protocol;
mod reply;
pub mod rpc;
mod serve;
mod tls;
mod units;

pub use balance::{
    Balancer, BalancerSpec, DynBalancer, HostState, Hosts, Latency, LoadBalancer, Metadata, NoOptions, PickCx,
};
pub use body::{Body, BodyError, BodyStream, Frame};
pub use cell::{Counter, FilterStats, Gauge, Level, Stat};
pub use chunk::{Chunk, ChunkQueue, Storage};
pub use conn::{Address, ConnCx, ConnInfo, Opened};
pub use date::http_date;
pub use env::{Connect, ConnectError, Env, LocalBoxFuture, Time, Timer, TimerDriver};
pub use error::{Blame, ConnError, ExchangeError, ExchangeErrorKind};
pub use exchange::{BodyStart, Exchange, ExchangeEvent, UpstreamConn};
pub use filter::{Action, DynFilter, DynStreamFilter, FilterCx, FilterSpec, Resume, StreamFilter};
pub use flags::{ResponseFlag, ResponseFlags};
pub use head::{LocalOrigin, LocalSource, Request, RequestHead, Response, ResponseHead, Scheme, Tunnel, Version};
pub use headers::{Headers, InvalidField, Known, Line, Span};
pub use io::Io;
pub use limit::{Limit, Permit, SharedLimit};
pub use protocol::{Protocol, ProtocolKind, ProtocolSpec, Sniff};
pub use reply::LocalReply;
pub use serve::{EndReason, Handler, Observer, Reply, StreamCx, StreamEnd};
pub use tls::{PeerCertificate, Secured, TlsInfo};
pub use units::{ByteSize, Millis};
