//! Attributes: what can be said of a finished stream, under the dotted names that Envoy gives them.
//!
//! One table for all who want to know: the operators of log formats, filters of logs, labels of metrics, tags of spans.
//! Each asks for what it needs ([`Attribute::parse`] adds it to [`Needs`]); workers capture the union and nothing else.

mod names;
mod value;

use http::HeaderName;

use self::names::HEADERS;
pub use self::names::NAMES;
pub use self::value::AttributeValue;
pub(super) use self::value::split_query;
use super::needs::{Field, Moved, Needs};

/// Something that can be said of a stream. Those of headers hold their place in the [`Needs`] that they were parsed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table `NAMES` says what each is")]
pub enum Attribute {
    RequestPath,
    RequestUrlPath,
    RequestQuery,
    RequestHost,
    RequestScheme,
    RequestMethod,
    RequestProtocol,
    RequestTime,
    RequestDuration,
    RequestSize,
    RequestTotalSize,
    RequestHeadersSize,
    ResponseCode,
    ResponseCodeDetails,
    ResponseFlags,
    ResponseFlagNames,
    ResponseGrpcStatus,
    ResponseSize,
    ResponseTotalSize,
    ResponseHeadersSize,
    ResponseBackendLatency,
    LocalReplyBody,
    RpcService,
    RpcMethod,
    Address(AddressOf, AddressPart),
    ConnectionId(Side),
    ConnectionMtls,
    ConnectionTerminationDetails,
    RequestedServerName,
    TransportFailure(Side),
    TlsVersion(Side),
    TlsCipher(Side),
    Certificate(Side, CertificateDetail),
    UpstreamAttempts,
    UpstreamHostsAttempted,
    UpstreamProtocol,
    ClusterName,
    RouteName,
    VirtualHostName,
    FilterChainName,
    TraceId,
    SpanId,
    TraceSampled,
    StreamId,
    UniqueId,
    LogType,
    Between(TimePoint, TimePoint),
    RequestHeader(usize),
    ResponseHeader(usize),
    ResponseTrailer(usize),
}

/// A side of the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client.
    Downstream,
    /// The host.
    Upstream,
}

/// Whose address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressOf {
    /// The client, as trusted headers name it.
    Source,
    /// The peer of the connection.
    DirectSource,
    /// Our end of the client's connection.
    Destination,
    /// The host.
    Upstream,
    /// Our end of the connection to it.
    UpstreamLocal,
}

/// Which part of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressPart {
    /// `127.0.0.1:80`
    Whole,
    /// `127.0.0.1`
    WithoutPort,
    /// `80`
    Port,
}

/// What a peer's certificate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateDetail {
    /// The subject.
    Subject,
    /// The issuer.
    Issuer,
    /// Alternative names that are URIs.
    UriSan,
    /// Alternative names that are host names.
    DnsSan,
    /// The SHA-256 digest, in hexadecimal digits.
    Fingerprint,
    /// The serial number, in hexadecimal digits.
    Serial,
    /// All of it: PEM, URL-encoded.
    Pem,
    /// Valid from.
    NotBefore,
    /// Valid until.
    NotAfter,
}

/// A point of time in a stream, as `COMMON_DURATION` calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the time in `Timings` that has its name")]
pub enum TimePoint {
    Start,
    RequestEnd,
    ConnectBegin,
    ConnectEnd,
    UpstreamTxBegin,
    UpstreamTxEnd,
    UpstreamRxBegin,
    UpstreamRxEnd,
    ResponseBegin,
    ResponseEnd,
}

impl Attribute {
    /// The attribute of a dotted name, such as `request.path` or `request.headers['x-tenant']`. Adds itself to what is
    /// needed.
    ///
    /// # Errors
    /// There is none of that name; with the nearest.
    pub fn parse(name: &str, needs: &mut Needs) -> Result<Self, String> {
        if let Some((_, header)) = HEADERS.iter().find(|(known, _)| *known == name) {
            return Ok(Self::RequestHeader(needs.request_header(HeaderName::from_static(header))));
        }
        if let Some((_, attribute, _)) = NAMES.iter().find(|(known, ..)| *known == name) {
            attribute.add_to(needs);
            return Ok(*attribute);
        }
        let quoted = |prefix| {
            let inner = name.strip_prefix(prefix)?.strip_prefix('[')?.strip_suffix(']')?;
            let quoted = |quote| inner.strip_prefix(quote)?.strip_suffix(quote);
            quoted('\'').or_else(|| quoted('"'))
        };
        let header = |name: &str| {
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("`{name}` is not a header's name"))
        };
        if let Some(name) = quoted("request.headers") {
            return Ok(Self::RequestHeader(needs.request_header(header(name)?)));
        }
        if let Some(name) = quoted("response.headers") {
            return Ok(Self::ResponseHeader(needs.response_header(header(name)?)));
        }
        if let Some(name) = quoted("response.trailers") {
            return Ok(Self::ResponseTrailer(needs.response_trailer(header(name)?)));
        }
        let known = NAMES.iter().map(|(known, ..)| *known).chain(HEADERS.iter().map(|(known, _)| *known));
        Err(match super::operator::nearest(name, known) {
            Some(nearest) => format!("there is no attribute `{name}`; did you mean `{nearest}`?"),
            None => format!("there is no attribute `{name}`; headers are `request.headers['x-name']`"),
        })
    }

    /// Asks for what it is made of.
    pub fn add_to(self, needs: &mut Needs) {
        let mut add = |fields: &[Field]| fields.iter().for_each(|field| needs.add(*field));
        match self {
            Self::RequestPath | Self::RequestUrlPath | Self::RequestQuery => add(&[Field::Path]),
            Self::RequestHost => add(&[Field::Authority]),
            Self::RequestScheme => add(&[Field::Scheme]),
            Self::RequestMethod => add(&[Field::Method]),
            Self::RequestProtocol => add(&[Field::Protocol]),
            Self::RequestTime => add(&[Field::Start]),
            Self::RequestDuration => add(&[Field::Duration]),
            Self::RequestSize => add(&[Field::BytesReceived]),
            Self::RequestTotalSize => add(&[Field::BytesReceived, Field::RequestHeadersBytes]),
            Self::RequestHeadersSize => add(&[Field::RequestHeadersBytes]),
            Self::ResponseCode => add(&[Field::ResponseCode]),
            Self::ResponseCodeDetails => add(&[Field::ResponseCodeDetails]),
            Self::ResponseFlags | Self::ResponseFlagNames => add(&[Field::Flags]),
            Self::ResponseGrpcStatus => add(&[Field::GrpcStatus]),
            Self::ResponseSize => add(&[Field::BytesSent]),
            Self::ResponseTotalSize => add(&[Field::BytesSent, Field::ResponseHeadersBytes]),
            Self::ResponseHeadersSize => add(&[Field::ResponseHeadersBytes]),
            Self::ResponseBackendLatency | Self::Between(..) => add(&[Field::Timings]),
            Self::LocalReplyBody => add(&[Field::LocalReplyBody]),
            Self::RpcService | Self::RpcMethod => add(&[Field::Call, Field::Path]),
            Self::Address(place, _) => add(&[place.field()]),
            Self::ConnectionId(Side::Downstream) => add(&[Field::ConnectionId]),
            Self::ConnectionId(Side::Upstream) => add(&[Field::UpstreamConnectionId]),
            Self::ConnectionMtls => add(&[Field::DownstreamTls]),
            Self::ConnectionTerminationDetails => add(&[Field::ConnectionTerminationDetails]),
            Self::RequestedServerName => add(&[Field::RequestedServerName]),
            Self::TransportFailure(Side::Downstream) => add(&[Field::DownstreamTransportFailure]),
            Self::TransportFailure(Side::Upstream) => add(&[Field::UpstreamTransportFailure]),
            Self::TlsVersion(side) | Self::TlsCipher(side) | Self::Certificate(side, _) => add(&[match side {
                Side::Downstream => Field::DownstreamTls,
                Side::Upstream => Field::UpstreamTls,
            }]),
            Self::UpstreamAttempts => add(&[Field::UpstreamAttempts]),
            Self::UpstreamHostsAttempted => add(&[Field::Attempts]),
            Self::UpstreamProtocol => add(&[Field::UpstreamProtocol]),
            Self::ClusterName => add(&[Field::UpstreamCluster]),
            Self::RouteName => add(&[Field::RouteName]),
            Self::VirtualHostName => add(&[Field::VirtualHost]),
            Self::FilterChainName => add(&[Field::FilterChain]),
            Self::TraceId | Self::SpanId | Self::TraceSampled => add(&[Field::Trace]),
            Self::StreamId => add(&[Field::StreamId]),
            Self::UniqueId => add(&[Field::UniqueId]),
            Self::LogType => add(&[Field::Kind]),
            // Asked for when they were given their place.
            Self::RequestHeader(_) | Self::ResponseHeader(_) | Self::ResponseTrailer(_) => {}
        }
    }

    /// Whether it is text that comes from outside, of any length.
    pub(super) const fn is_text(self) -> bool {
        matches!(
            self,
            Self::RequestPath
                | Self::RequestUrlPath
                | Self::RequestQuery
                | Self::RequestHost
                | Self::RequestHeader(_)
                | Self::ResponseHeader(_)
                | Self::ResponseTrailer(_)
                | Self::RpcService
                | Self::RpcMethod
        )
    }

    /// Whether it is a point of time.
    pub(super) const fn is_time(self) -> bool {
        use CertificateDetail as Detail;
        matches!(self, Self::RequestTime | Self::Certificate(_, Detail::NotBefore | Detail::NotAfter))
    }

    /// Its place, when it has been moved.
    pub(super) fn moved(&mut self, moved: &Moved) {
        let (at, places) = match self {
            Self::RequestHeader(at) => (at, &moved.request_headers),
            Self::ResponseHeader(at) => (at, &moved.response_headers),
            Self::ResponseTrailer(at) => (at, &moved.response_trailers),
            _ => return,
        };
        *at = places.get(*at).copied().unwrap_or(*at);
    }
}

impl AddressOf {
    const fn field(self) -> Field {
        match self {
            Self::Source => Field::DownstreamRemote,
            Self::DirectSource => Field::DownstreamDirectRemote,
            Self::Destination => Field::DownstreamLocal,
            Self::Upstream => Field::UpstreamHost,
            Self::UpstreamLocal => Field::UpstreamLocal,
        }
    }
}
