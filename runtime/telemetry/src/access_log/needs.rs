//! What of a stream somebody wants to know.

use http::HeaderName;

/// A part of a [`StreamRecord`](crate::StreamRecord) that somebody may need. What is known anyway when a stream ends is
/// in every record; what must be copied, read from a clock or put together is there only if it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the field of the record that has its name")]
pub enum Field {
    Start,
    Duration,
    Timings,
    Method,
    Path,
    Authority,
    Scheme,
    Protocol,
    ResponseCode,
    ResponseCodeDetails,
    ConnectionTerminationDetails,
    Flags,
    BytesReceived,
    BytesSent,
    RequestHeadersBytes,
    ResponseHeadersBytes,
    RouteName,
    VirtualHost,
    FilterChain,
    UpstreamCluster,
    UpstreamHost,
    UpstreamLocal,
    UpstreamProtocol,
    UpstreamTransportFailure,
    UpstreamAttempts,
    UpstreamConnectionId,
    UpstreamTls,
    DownstreamRemote,
    DownstreamDirectRemote,
    DownstreamLocal,
    DownstreamTls,
    DownstreamTransportFailure,
    RequestedServerName,
    ConnectionId,
    Attempts,
    Trace,
    GrpcStatus,
    Call,
    LocalReplyBody,
    StreamId,
    UniqueId,
    Kind,
    AllHeaders,
}

/// What a caller must capture of a stream for a format, and nothing else.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// Request headers, in the order in which [`Captured`](crate::Captured) must hold their values.
    pub request_headers: Vec<HeaderName>,
    /// Response headers, likewise.
    pub response_headers: Vec<HeaderName>,
    /// Response trailers, likewise.
    pub response_trailers: Vec<HeaderName>,
    fields: u64,
}

impl Needs {
    pub(super) const NOTHING: Self =
        Self { request_headers: Vec::new(), response_headers: Vec::new(), response_trailers: Vec::new(), fields: 0 };

    /// Whether a part of the record is shown.
    pub fn has(&self, field: Field) -> bool {
        self.fields & (1 << field as u32) != 0
    }

    /// The place at which a header of requests is found in the record; it is asked for if it is not yet.
    pub fn request_header(&mut self, name: HeaderName) -> usize {
        place(&mut self.request_headers, name)
    }

    /// The place at which a header of responses is found in the record; it is asked for if it is not yet.
    pub fn response_header(&mut self, name: HeaderName) -> usize {
        place(&mut self.response_headers, name)
    }

    /// The place at which a trailer of responses is found in the record; it is asked for if it is not yet.
    pub fn response_trailer(&mut self, name: HeaderName) -> usize {
        place(&mut self.response_trailers, name)
    }

    /// Asks for a part of the record.
    pub fn add(&mut self, field: Field) {
        self.fields |= 1 << field as u32;
    }

    /// Asks for what `other` asks for. Says where its headers are from now on.
    pub(crate) fn merge(&mut self, other: &Self) -> Moved {
        self.fields |= other.fields;
        let moved = |from: &[HeaderName], to: &mut Vec<HeaderName>| -> Vec<usize> {
            from.iter().map(|name| place(to, name.clone())).collect()
        };
        Moved {
            request_headers: moved(&other.request_headers, &mut self.request_headers),
            response_headers: moved(&other.response_headers, &mut self.response_headers),
            response_trailers: moved(&other.response_trailers, &mut self.response_trailers),
        }
    }
}

/// The new places of captured headers, by their old ones.
pub(crate) struct Moved {
    pub(crate) request_headers: Vec<usize>,
    pub(crate) response_headers: Vec<usize>,
    pub(crate) response_trailers: Vec<usize>,
}

/// Where a header is in the list of those to capture; it is added if it is not there.
fn place(names: &mut Vec<HeaderName>, name: HeaderName) -> usize {
    names.iter().position(|known| *known == name).unwrap_or_else(|| {
        names.push(name);
        names.len() - 1
    })
}
