//! What attributes are in one stream.

use std::net::IpAddr;
use std::num::NonZeroU128;
use std::time::{Duration, SystemTime};

use ringway_api::{Address, ResponseFlags, TlsInfo, Version};

use super::super::record::{Attempt, StreamRecord};
use super::{AddressOf, AddressPart, Attribute, CertificateDetail, Side, TimePoint};

/// What an attribute is in one stream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AttributeValue<'a> {
    /// There is none.
    Unset,
    /// A number.
    Number(u64),
    /// Yes or no.
    Bool(bool),
    /// Text or what a peer sent in place of text.
    Bytes(&'a [u8]),
    /// A word of ours that needs no escapes.
    Word(&'static str),
    /// A stretch of time; written in whole milliseconds.
    Span(Duration),
    /// A point of time.
    Time(SystemTime),
    /// Response flags; written as their codes.
    Flags(ResponseFlags),
    /// Response flags; written as their long names.
    FlagNames(ResponseFlags),
    /// An address with its port.
    Address(&'a Address),
    /// An address.
    Ip(IpAddr),
    /// Texts, at least one; written with commas between them.
    List(&'a [Box<str>]),
    /// Addresses, at least one; written with commas between them.
    Hosts(&'a [Attempt]),
    /// Bytes, written as hexadecimal digits.
    Hex(&'a [u8]),
    /// A certificate (DER); written as PEM, URL-encoded.
    Certificate(&'a [u8]),
    /// An id of 64 bits, written as 16 hexadecimal digits.
    Id64(u64),
    /// An id of 128 bits, written as 32 hexadecimal digits.
    Id128(&'a NonZeroU128),
    /// A random number, written as a UUID of version 4 (RFC 9562, section 5.4).
    Uuid(&'a u128),
    /// A gRPC status.
    GrpcStatus(u32),
}

impl Attribute {
    /// What it is in this stream.
    #[inline]
    pub fn value<'a>(self, record: &'a StreamRecord<'_>) -> AttributeValue<'a> {
        use AttributeValue as Value;
        let text = |text: Option<&'a str>| text.map_or(Value::Unset, |text| Value::Bytes(text.as_bytes()));
        let bytes = |bytes: Option<&'a [u8]>| bytes.map_or(Value::Unset, Value::Bytes);
        let number = |number: Option<u64>| number.map_or(Value::Unset, Value::Number);
        match self {
            Self::RequestPath => bytes(record.path),
            Self::RequestUrlPath => bytes(record.path.map(|path| split_query(path).0)),
            Self::RequestQuery => bytes(record.path.and_then(|path| split_query(path).1)),
            Self::RequestHost => bytes(record.authority),
            Self::RequestScheme => text(record.scheme),
            Self::RequestMethod => text(record.method),
            Self::RequestProtocol => of_version(record.protocol),
            Self::RequestTime => Value::Time(record.start),
            Self::RequestDuration => Value::Span(record.duration),
            Self::RequestSize => Value::Number(record.bytes_received),
            Self::RequestTotalSize => Value::Number(record.bytes_received + record.request_headers_bytes),
            Self::RequestHeadersSize => Value::Number(record.request_headers_bytes),
            // No response is code 0, as in Envoy.
            Self::ResponseCode => Value::Number(record.response_code.unwrap_or(0).into()),
            Self::ResponseCodeDetails => text(record.response_code_details),
            Self::ResponseFlags => Value::Flags(record.flags),
            Self::ResponseFlagNames => Value::FlagNames(record.flags),
            Self::ResponseGrpcStatus => record.grpc_status.map_or(Value::Unset, Value::GrpcStatus),
            Self::ResponseSize => Value::Number(record.bytes_sent),
            Self::ResponseTotalSize => Value::Number(record.bytes_sent + record.response_headers_bytes),
            Self::ResponseHeadersSize => Value::Number(record.response_headers_bytes),
            Self::ResponseBackendLatency => between(TimePoint::UpstreamTxBegin, TimePoint::UpstreamRxBegin, record),
            Self::LocalReplyBody => text(record.local_reply_body),
            Self::RpcService => bytes(call(record).map(|(service, _)| service)),
            Self::RpcMethod => bytes(call(record).map(|(_, method)| method)),
            Self::Address(place, part) => of_address(place.of(record), part),
            Self::ConnectionId(Side::Downstream) => number(record.connection_id),
            Self::ConnectionId(Side::Upstream) => number(record.upstream_connection_id),
            Self::ConnectionMtls => Value::Bool(record.tls.is_some_and(|tls| tls.peer.is_some())),
            Self::ConnectionTerminationDetails => text(record.connection_termination_details),
            Self::RequestedServerName => text(record.requested_server_name),
            Self::TransportFailure(Side::Downstream) => text(record.downstream_transport_failure),
            Self::TransportFailure(Side::Upstream) => text(record.upstream_transport_failure),
            Self::TlsVersion(side) => side.tls(record).map_or(Value::Unset, |tls| Value::Word(tls.version)),
            Self::TlsCipher(side) => side.tls(record).map_or(Value::Unset, |tls| Value::Word(tls.cipher)),
            Self::Certificate(side, detail) => side.tls(record).map_or(Value::Unset, |tls| detail.of(tls)),
            Self::UpstreamAttempts => Value::Number(record.upstream_attempts.into()),
            Self::UpstreamHostsAttempted if record.attempts.is_empty() => Value::Unset,
            Self::UpstreamHostsAttempted => Value::Hosts(record.attempts),
            Self::UpstreamProtocol => of_version(record.upstream_protocol),
            Self::ClusterName => text(record.upstream_cluster),
            Self::RouteName => text(record.route_name),
            Self::VirtualHostName => text(record.virtual_host),
            Self::FilterChainName => text(record.filter_chain),
            Self::TraceId => record.trace.as_ref().map_or(Value::Unset, |ids| Value::Id128(&ids.trace)),
            Self::SpanId => record.trace.map_or(Value::Unset, |ids| Value::Id64(ids.span.get())),
            Self::TraceSampled => record.trace.map_or(Value::Unset, |ids| Value::Bool(ids.sampled)),
            Self::StreamId => record.stream_id.as_ref().map_or(Value::Unset, Value::Uuid),
            Self::UniqueId => record.unique_id.as_ref().map_or(Value::Unset, Value::Uuid),
            Self::LogType => Value::Word(record.kind.name()),
            Self::Between(from, to) => between(from, to, record),
            Self::RequestHeader(at) => bytes(record.request_headers.value(at)),
            Self::ResponseHeader(at) => bytes(record.response_headers.value(at)),
            Self::ResponseTrailer(at) => bytes(record.response_trailers.value(at)),
        }
    }
}

/// The path and the query of a target.
pub(in crate::access_log) fn split_query(path: &[u8]) -> (&[u8], Option<&[u8]>) {
    let at = path.iter().position(|byte| *byte == b'?').unwrap_or(path.len());
    let (path, rest) = path.split_at_checked(at).unwrap_or((path, &[]));
    (path, rest.get(1..))
}

/// The service and the method of a call: its path is `/service/method`.
fn call<'a>(record: &StreamRecord<'a>) -> Option<(&'a [u8], &'a [u8])> {
    if !record.is_call {
        return None;
    }
    let path = split_query(record.path?).0.strip_prefix(b"/")?;
    let at = path.iter().rposition(|byte| *byte == b'/')?;
    Some((path.get(..at)?, path.get(at + 1..)?))
}

fn of_version<'a>(version: Option<Version>) -> AttributeValue<'a> {
    match version {
        None => AttributeValue::Unset,
        Some(Version::Http10) => AttributeValue::Word("HTTP/1.0"),
        Some(Version::Http11) => AttributeValue::Word("HTTP/1.1"),
        Some(Version::Http2) => AttributeValue::Word("HTTP/2"),
        Some(Version::Rpc(name)) => AttributeValue::Word(name),
    }
}

fn of_address(address: Option<&Address>, part: AddressPart) -> AttributeValue<'_> {
    match (address, part) {
        (None, _) | (Some(Address::Unix(_)), AddressPart::Port) => AttributeValue::Unset,
        (Some(Address::Ip(address)), AddressPart::WithoutPort) => AttributeValue::Ip(address.ip()),
        (Some(Address::Ip(address)), AddressPart::Port) => AttributeValue::Number(address.port().into()),
        (Some(address), _) => AttributeValue::Address(address),
    }
}

fn between<'a>(from: TimePoint, to: TimePoint, record: &StreamRecord<'_>) -> AttributeValue<'a> {
    match (from.of(record), to.of(record)) {
        (Some(from), Some(to)) => AttributeValue::Span(to.saturating_sub(from)),
        _ => AttributeValue::Unset,
    }
}

impl AddressOf {
    fn of<'a>(self, record: &StreamRecord<'a>) -> Option<&'a Address> {
        match self {
            Self::Source => record.downstream_remote,
            Self::DirectSource => record.downstream_direct_remote,
            Self::Destination => record.downstream_local,
            Self::Upstream => record.upstream_host,
            Self::UpstreamLocal => record.upstream_local,
        }
    }
}

impl Side {
    fn tls<'a>(self, record: &StreamRecord<'a>) -> Option<&'a TlsInfo> {
        match self {
            Self::Downstream => record.tls,
            Self::Upstream => record.upstream_tls,
        }
    }
}

impl CertificateDetail {
    fn of(self, tls: &TlsInfo) -> AttributeValue<'_> {
        use AttributeValue as Value;
        let Some(peer) = &tls.peer else { return Value::Unset };
        let text = |text: &'_ str| text.is_empty();
        match self {
            Self::Subject if text(&peer.subject) => Value::Unset,
            Self::Subject => Value::Bytes(peer.subject.as_bytes()),
            Self::Issuer => Value::Bytes(peer.issuer.as_bytes()),
            Self::UriSan if peer.uri_sans.is_empty() => Value::Unset,
            Self::UriSan => Value::List(&peer.uri_sans),
            Self::DnsSan if peer.dns_sans.is_empty() => Value::Unset,
            Self::DnsSan => Value::List(&peer.dns_sans),
            Self::Fingerprint => Value::Hex(&peer.sha256),
            Self::Serial => Value::Hex(&peer.serial),
            Self::Pem => peer.chain.first().map_or(Value::Unset, |der| Value::Certificate(der)),
            Self::NotBefore => Value::Time(peer.not_before),
            Self::NotAfter => Value::Time(peer.not_after),
        }
    }
}

impl TimePoint {
    /// When it was, since the stream's start.
    pub(in crate::access_log) fn of(self, record: &StreamRecord<'_>) -> Option<Duration> {
        let timings = &record.timings;
        match self {
            Self::Start => Some(Duration::ZERO),
            Self::RequestEnd => timings.request_end,
            Self::ConnectBegin => timings.connect_begin,
            Self::ConnectEnd => timings.connect_end,
            Self::UpstreamTxBegin => timings.upstream_tx_begin,
            Self::UpstreamTxEnd => timings.upstream_tx_end,
            Self::UpstreamRxBegin => timings.upstream_rx_begin,
            Self::UpstreamRxEnd => timings.upstream_rx_end,
            Self::ResponseBegin => timings.response_begin,
            Self::ResponseEnd => timings.response_end,
        }
    }
}
