//! A finished stream or connection.

use std::time::{Duration, SystemTime};

use http::HeaderName;
use ringway_api::{Address, ResponseFlags, TlsInfo, Version};

/// What a finished stream is logged with. It borrows everything; a caller fills what [`Needs`](crate::Needs) asks for
/// and leaves the rest at its default. A TCP connection leaves out what is HTTP's.
#[derive(Clone, Copy, Debug)]
pub struct StreamRecord<'a> {
    /// What it tells of.
    pub kind: LogType,
    /// When the first byte came.
    pub start: SystemTime,
    /// From the first byte to the end of the stream.
    pub duration: Duration,
    /// What happened in between, and when.
    pub timings: Timings,
    /// The request's method.
    pub method: Option<&'a str>,
    /// The request's path with its query.
    pub path: Option<&'a [u8]>,
    /// The request's authority.
    pub authority: Option<&'a [u8]>,
    /// The request's scheme.
    pub scheme: Option<&'a str>,
    /// The protocol the downstream spoke.
    pub protocol: Option<Version>,
    /// The response's status.
    pub response_code: Option<u16>,
    /// Who gave that status and why: `via_upstream`, `route_not_found`.
    pub response_code_details: Option<&'a str>,
    /// Why the connection was ended, when the proxy ended it.
    pub connection_termination_details: Option<&'a str>,
    /// What was not as usual.
    pub flags: ResponseFlags,
    /// Content bytes received from the downstream; all bytes for TCP.
    pub bytes_received: u64,
    /// Content bytes sent to the downstream; all bytes for TCP.
    pub bytes_sent: u64,
    /// Bytes of the request's header fields.
    pub request_headers_bytes: u64,
    /// Bytes of the response's header fields.
    pub response_headers_bytes: u64,
    /// The route that was taken.
    pub route_name: Option<&'a str>,
    /// The virtual host it is of.
    pub virtual_host: Option<&'a str>,
    /// The filter chain that served it.
    pub filter_chain: Option<&'a str>,
    /// The cluster that was picked.
    pub upstream_cluster: Option<&'a str>,
    /// The host that was picked.
    pub upstream_host: Option<&'a Address>,
    /// Our end of the connection to it.
    pub upstream_local: Option<&'a Address>,
    /// The protocol it spoke.
    pub upstream_protocol: Option<Version>,
    /// Why it could not be reached.
    pub upstream_transport_failure: Option<&'a str>,
    /// How often it was tried.
    pub upstream_attempts: u32,
    /// The connection to it.
    pub upstream_connection_id: Option<u64>,
    /// What TLS has established on that.
    pub upstream_tls: Option<&'a TlsInfo>,
    /// The client, as trusted headers name it.
    pub downstream_remote: Option<&'a Address>,
    /// The peer of the connection.
    pub downstream_direct_remote: Option<&'a Address>,
    /// Our end of the connection.
    pub downstream_local: Option<&'a Address>,
    /// The downstream connection.
    pub connection_id: Option<u64>,
    /// What TLS has established on it.
    pub tls: Option<&'a TlsInfo>,
    /// The name that the client asked for (TLS SNI), whoever ended TLS.
    pub requested_server_name: Option<&'a str>,
    /// Why its TLS handshake failed.
    pub downstream_transport_failure: Option<&'a str>,
    /// It is a call, of gRPC or in frames: its path is `/service/method`.
    pub is_call: bool,
    /// The status of a gRPC call ("Status codes and their use in gRPC").
    pub grpc_status: Option<u32>,
    /// The content of the proxy's own reply.
    pub local_reply_body: Option<&'a str>,
    /// A random number of the stream's own.
    pub stream_id: Option<u128>,
    /// A random number of this record's own.
    pub unique_id: Option<u128>,
    /// The tries, in the order in which they were begun, at most [`Attempt::LIMIT`].
    pub attempts: &'a [Attempt],
    /// Its place in a trace, if it is traced.
    pub trace: Option<TraceIds>,
    /// All fields of the request, as they came; only where they are [asked for](crate::Field::AllHeaders).
    pub request_fields: &'a [FieldPair],
    /// All fields of the response, as they go out; likewise.
    pub response_fields: &'a [FieldPair],
    /// The request's header values in the order of [`Needs::request_headers`](crate::Needs::request_headers).
    pub request_headers: &'a Captured,
    /// The response's header values in the order of [`Needs::response_headers`](crate::Needs::response_headers).
    pub response_headers: &'a Captured,
    /// The response's trailers in the order of [`Needs::response_trailers`](crate::Needs::response_trailers).
    pub response_trailers: &'a Captured,
}

/// What a record tells of (`ACCESS_LOG_TYPE`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogType {
    /// The end of a request.
    #[default]
    DownstreamEnd,
    /// A connection of bytes has got its host.
    TcpUpstreamConnected,
    /// A connection of bytes that goes on.
    TcpPeriodic,
    /// The end of a connection of bytes.
    TcpConnectionEnd,
    /// A connection that was closed before it was served.
    NotSet,
}

/// When what happened to a stream, each as the time since its start; `None` for what did not happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// The last byte of the request was received (`DS_RX_END`).
    pub request_end: Option<Duration>,
    /// A connection to the upstream was begun (`US_CX_BEG`).
    pub connect_begin: Option<Duration>,
    /// That connection was there (`US_CX_END`).
    pub connect_end: Option<Duration>,
    /// The first byte went to the upstream (`US_TX_BEG`).
    pub upstream_tx_begin: Option<Duration>,
    /// The last byte went to the upstream (`US_TX_END`).
    pub upstream_tx_end: Option<Duration>,
    /// The first byte came from the upstream (`US_RX_BEG`).
    pub upstream_rx_begin: Option<Duration>,
    /// The last byte came from the upstream (`US_RX_END`).
    pub upstream_rx_end: Option<Duration>,
    /// The first byte went to the downstream (`DS_TX_BEG`).
    pub response_begin: Option<Duration>,
    /// The last byte went to the downstream (`DS_TX_END`).
    pub response_end: Option<Duration>,
}

/// One try of a request. Times are since the start of its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The host it was meant for.
    pub host: Address,
    /// It began: a connection was asked for.
    pub began: Duration,
    /// The socket was connected, of a connection that was opened for it.
    pub socket: Option<Duration>,
    /// That had TLS.
    pub secured: Option<Duration>,
    /// A connection was there.
    pub connected: Option<Duration>,
    /// That connection had been used before.
    pub reused: bool,
    /// The response's head came, with this status.
    pub answered: Option<(Duration, u16)>,
    /// Its last byte came, or the try failed.
    pub ended: Option<Duration>,
    /// Why it failed, in the words of response-code details.
    pub failure: Option<&'static str>,
    /// Its span, if its request is traced.
    pub span: Option<SpanId>,
}

/// A span's id; never zero (W3C Trace Context, section 3.2.2.4).
pub type SpanId = std::num::NonZeroU64;

/// The place of a stream in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceIds {
    /// The trace (W3C Trace Context, section 3.2.2.3).
    pub trace: std::num::NonZeroU128,
    /// The stream's own span, the parent of its tries' spans.
    pub span: SpanId,
    /// The caller's span.
    pub parent: Option<SpanId>,
    /// The spans are recorded.
    pub sampled: bool,
}

impl Attempt {
    /// Tries that are told apart in one stream; more are made, but not told of.
    pub const LIMIT: usize = 16;
}

impl LogType {
    /// All there are.
    pub const ALL: &'static [Self] =
        &[Self::DownstreamEnd, Self::TcpUpstreamConnected, Self::TcpPeriodic, Self::TcpConnectionEnd, Self::NotSet];

    /// Envoy's name of it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DownstreamEnd => "DownstreamEnd",
            Self::TcpUpstreamConnected => "TcpUpstreamConnected",
            Self::TcpPeriodic => "TcpPeriodic",
            Self::TcpConnectionEnd => "TcpConnectionEnd",
            Self::NotSet => "NotSet",
        }
    }

    /// The one of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }
}

/// A field's name and value.
pub type FieldPair = (Box<[u8]>, Box<[u8]>);

/// Header values copied out of a message, at most 65,535 bytes of each.
#[derive(Clone, Debug, Default)]
pub struct Captured {
    bytes: Vec<u8>,
    /// Start and length of each value in `bytes`.
    values: Vec<Option<(usize, u16)>>,
}

static NOTHING: Captured = Captured { bytes: Vec::new(), values: Vec::new() };

impl Captured {
    /// No values.
    pub const fn none() -> &'static Self {
        &NOTHING
    }

    /// Copies the values that `find` has for `names`. Takes no memory when there are none.
    pub fn capture<'m>(names: &[HeaderName], mut find: impl FnMut(&HeaderName) -> Option<&'m [u8]>) -> Self {
        let mut captured = Self::default();
        for (at, name) in names.iter().enumerate() {
            let Some(value) = find(name) else { continue };
            let len = u16::try_from(value.len()).unwrap_or(u16::MAX);
            captured.values.resize(at, None);
            captured.values.push(Some((captured.bytes.len(), len)));
            captured.bytes.extend(value.iter().take(len.into()));
        }
        captured
    }

    /// Bytes that it holds besides itself.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.bytes.capacity() + size_of_val(&*self.values)
    }

    /// The value of the header at this place of the names.
    pub fn value(&self, at: usize) -> Option<&[u8]> {
        let (start, len) = (*self.values.get(at)?)?;
        self.bytes.get(start..start + usize::from(len))
    }
}

impl<'a> StreamRecord<'a> {
    /// A record of a stream that began at `start`, with everything else unset.
    pub fn new(start: SystemTime) -> Self {
        Self {
            kind: LogType::default(),
            start,
            duration: Duration::ZERO,
            timings: Timings::default(),
            method: None,
            path: None,
            authority: None,
            scheme: None,
            protocol: None,
            response_code: None,
            response_code_details: None,
            connection_termination_details: None,
            flags: ResponseFlags::NONE,
            bytes_received: 0,
            bytes_sent: 0,
            request_headers_bytes: 0,
            response_headers_bytes: 0,
            route_name: None,
            virtual_host: None,
            filter_chain: None,
            upstream_cluster: None,
            upstream_host: None,
            upstream_local: None,
            upstream_protocol: None,
            upstream_transport_failure: None,
            upstream_attempts: 0,
            upstream_connection_id: None,
            upstream_tls: None,
            downstream_remote: None,
            downstream_direct_remote: None,
            downstream_local: None,
            connection_id: None,
            tls: None,
            requested_server_name: None,
            downstream_transport_failure: None,
            is_call: false,
            grpc_status: None,
            local_reply_body: None,
            stream_id: None,
            unique_id: None,
            attempts: &[],
            trace: None,
            request_fields: &[],
            response_fields: &[],
            request_headers: Captured::none(),
            response_headers: Captured::none(),
            response_trailers: Captured::none(),
        }
    }
}
