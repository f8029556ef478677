//! What differs between protocols: how a request becomes bytes, and when bytes are its reply. No I/O and no clock.

mod echo;
mod frames;
mod hpack;
mod http1;
mod http2;

use ringway_api::{Chunk, ChunkQueue};

use crate::request::Request;

/// A request as bytes of one protocol; made once, sent often.
#[derive(Clone, Debug, Default)]
pub struct Prepared {
    /// The head: a whole request of HTTP/1.1, a header block of HTTP/2, a frame.
    pub head: Chunk,
    /// The body where it goes separately.
    pub body: Chunk,
    /// The reply has no body whatever its head says (HEAD).
    pub bodiless: bool,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it should.
    Good,
    /// The server answered, and said no: an HTTP status from 400, or a gRPC or RPC status that is not OK.
    Status(u16),
    /// The server answered with something else than was asked for, in words.
    Wrong(&'static str),
    /// The stream was reset by the server; the connection goes on.
    Reset,
}

/// What a connection cannot go on after: bytes that are not of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault(pub String);

impl Fault {
    /// Bytes that are not of the protocol, with a hint where they are known.
    fn foreign(what: &str, bytes: &[u8]) -> Self {
        match bytes {
            // An alert (RFC 8446, section 6) of any version.
            [21, 3, ..] => Self(format!("{what}, but answers with TLS")),
            [b'H', b'T', b'T', b'P', b'/', b'1', ..] => Self(format!("{what}, but answers with HTTP/1")),
            _ => Self(what.into()),
        }
    }
}

/// The client's side of one connection.
pub trait Codec {
    /// What is sent before the first request.
    fn greet(&mut self, _out: &mut ChunkQueue) {}

    /// How many requests may be under way at the moment.
    fn room(&self) -> usize {
        1
    }

    /// Sends a request that [`receive`](Self::receive) will report by its `tag`.
    fn send(&mut self, request: &Prepared, tag: u32, out: &mut ChunkQueue);

    /// Takes what the server sent; `done` gets the tags of requests that ended and how. Answers the protocol itself
    /// asks for go to `out`.
    ///
    /// # Errors
    /// The bytes are not of this protocol, or belong to nothing that was asked.
    fn receive(
        &mut self,
        bytes: &[u8],
        out: &mut ChunkQueue,
        done: &mut Vec<(u32, Outcome, usize)>,
    ) -> Result<(), Fault>;

    /// The server has ended the stream, which may be what ends a reply.
    fn ended(&mut self) -> Option<(u32, Outcome)> {
        None
    }

    /// Everything that was given to `out` has left: more may follow.
    fn drained(&mut self, _out: &mut ChunkQueue) {}

    /// Messages within calls since the last time it was asked.
    fn messages(&mut self) -> Messages {
        Messages::default()
    }

    /// Whether another request may be sent once those under way are done.
    fn reusable(&self) -> bool {
        true
    }
}

/// A protocol that can be asked for by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, one request at a time.
    Http1,
    /// HTTP/2, by ALPN or prior knowledge.
    Http2,
    /// gRPC, unary calls and streams.
    Grpc,
    /// Dubbo2, an echo of a string.
    Dubbo,
    /// SOFA bolt v1 with a body as given.
    Bolt,
    /// Bytes that come back as they were.
    Echo,
}

/// Limits that the user sets on all connections.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests at a time on each connection, where the protocol can.
    pub streams: usize,
    /// What a call of gRPC is made of.
    pub call: Call,
}

/// A call of gRPC. Which kind it is, the server knows: one message to send and one reply is a unary call or a stream
/// of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Messages to send, each the request's body.
    pub messages: u32,
    /// Whether each after the first waits for a message of the server.
    pub ping_pong: bool,
    /// Messages that the server must send for the call to be good; any number when it is not said.
    pub replies: Option<u32>,
}

/// Messages of calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Messages {
    /// By the generator.
    pub sent: u64,
    /// From the server.
    pub received: u64,
}

impl Default for Call {
    fn default() -> Self {
        Self { messages: 1, ping_pong: false, replies: None }
    }
}

impl Messages {
    /// Adds others.
    pub fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.received += other.received;
    }
}

impl Protocol {
    /// By the scheme of a URL; `http2` asks for HTTP/2 where the scheme leaves it open.
    pub fn of(scheme: &str, http2: bool) -> Self {
        match scheme {
            "http" | "https" if !http2 => Self::Http1,
            "grpc" | "grpcs" => Self::Grpc,
            "dubbo" => Self::Dubbo,
            "bolt" => Self::Bolt,
            "tcp" => Self::Echo,
            _ => Self::Http2,
        }
    }

    /// The name shown in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
            Self::Grpc => "gRPC",
            Self::Dubbo => "Dubbo2",
            Self::Bolt => "bolt",
            Self::Echo => "TCP echo",
        }
    }

    /// What to offer by ALPN.
    pub fn alpn(self) -> &'static [&'static str] {
        match self {
            Self::Http1 => &["http/1.1"],
            Self::Http2 | Self::Grpc => &["h2"],
            _ => &[],
        }
    }

    /// The codec of a new connection.
    pub fn codec(self, limits: Limits) -> Box<dyn Codec> {
        match self {
            Self::Http1 => Box::<http1::Http1>::default(),
            Self::Http2 | Self::Grpc => Box::new(http2::Http2::new(limits, self == Self::Grpc)),
            Self::Dubbo => Box::new(frames::Frames::new(frames::Layout::Dubbo, limits.streams)),
            Self::Bolt => Box::new(frames::Frames::new(frames::Layout::Bolt, limits.streams)),
            Self::Echo => Box::<echo::Echo>::default(),
        }
    }

    /// Makes bytes of a request; `secure` is for `:scheme`.
    pub fn prepare(self, request: &Request, secure: bool) -> Prepared {
        match self {
            Self::Http1 => http1::prepare(request),
            Self::Http2 => http2::prepare(request, secure, false),
            Self::Grpc => http2::prepare(request, secure, true),
            Self::Dubbo => frames::dubbo(request),
            Self::Bolt => frames::bolt(request),
            Self::Echo => echo::prepare(request),
        }
    }
}
