//! The dotted names of attributes.

use super::{AddressOf, AddressPart, Attribute, CertificateDetail, Side, TimePoint};

/// The dotted names, and what each is. Headers are in a form of their own: `request.headers['x-name']`.
pub const NAMES: &[(&str, Attribute, &str)] = &[
    ("request.path", Attribute::RequestPath, "the path with its query, as it is routed"),
    ("request.url_path", Attribute::RequestUrlPath, "the path without its query"),
    ("request.query", Attribute::RequestQuery, "the query, without its `?`"),
    ("request.host", Attribute::RequestHost, "the authority (`Host`)"),
    ("request.scheme", Attribute::RequestScheme, "`http` or `https`"),
    ("request.method", Attribute::RequestMethod, "the method"),
    ("request.protocol", Attribute::RequestProtocol, "`HTTP/1.1`, `HTTP/2`, or the framed protocol's name"),
    ("request.time", Attribute::RequestTime, "when its first byte came"),
    ("request.duration", Attribute::RequestDuration, "from the first byte to the stream's end, in milliseconds"),
    ("request.size", Attribute::RequestSize, "bytes of content received; all bytes for TCP"),
    ("request.total_size", Attribute::RequestTotalSize, "the same with the header fields"),
    ("request.headers_size", Attribute::RequestHeadersSize, "bytes of the request's header fields, uncompressed"),
    ("response.code", Attribute::ResponseCode, "the status; 0 if there was none"),
    ("response.code_details", Attribute::ResponseCodeDetails, "who gave that status, and why"),
    ("response.flags", Attribute::ResponseFlags, "what was not as usual, in codes such as `UH`"),
    ("response.grpc_status", Attribute::ResponseGrpcStatus, "of gRPC calls: the status, as a number"),
    ("response.size", Attribute::ResponseSize, "bytes of content sent; all bytes for TCP"),
    ("response.total_size", Attribute::ResponseTotalSize, "the same with the header fields"),
    ("response.headers_size", Attribute::ResponseHeadersSize, "bytes of the response's header fields, uncompressed"),
    (
        "response.backend_latency",
        Attribute::ResponseBackendLatency,
        "from the first byte to the host to the first byte from it, in milliseconds",
    ),
    ("rpc.service", Attribute::RpcService, "of gRPC and framed calls: the service"),
    ("rpc.method", Attribute::RpcMethod, "of gRPC and framed calls: the method"),
    ("source.address", Attribute::Address(AddressOf::Source, AddressPart::Whole), "the client"),
    ("source.port", Attribute::Address(AddressOf::Source, AddressPart::Port), "its port"),
    (
        "destination.address",
        Attribute::Address(AddressOf::Destination, AddressPart::Whole),
        "our end of its connection",
    ),
    ("destination.port", Attribute::Address(AddressOf::Destination, AddressPart::Port), "the port of that"),
    ("connection.id", Attribute::ConnectionId(Side::Downstream), "the client's connection"),
    ("connection.mtls", Attribute::ConnectionMtls, "whether the client has shown a certificate"),
    ("connection.requested_server_name", Attribute::RequestedServerName, "the name asked for in the ClientHello (SNI)"),
    ("connection.tls_version", Attribute::TlsVersion(Side::Downstream), "`TLSv1.2` or `TLSv1.3`"),
    (
        "connection.subject_peer_certificate",
        Attribute::Certificate(Side::Downstream, CertificateDetail::Subject),
        "the subject of the client's certificate",
    ),
    (
        "connection.dns_san_peer_certificate",
        Attribute::Certificate(Side::Downstream, CertificateDetail::DnsSan),
        "host names in the client's certificate",
    ),
    (
        "connection.uri_san_peer_certificate",
        Attribute::Certificate(Side::Downstream, CertificateDetail::UriSan),
        "URIs in the client's certificate",
    ),
    (
        "connection.sha256_peer_certificate_digest",
        Attribute::Certificate(Side::Downstream, CertificateDetail::Fingerprint),
        "SHA-256 of the client's certificate",
    ),
    (
        "connection.termination_details",
        Attribute::ConnectionTerminationDetails,
        "why the proxy ended the client's connection",
    ),
    (
        "connection.transport_failure_reason",
        Attribute::TransportFailure(Side::Downstream),
        "why the client's TLS handshake failed",
    ),
    ("upstream.address", Attribute::Address(AddressOf::Upstream, AddressPart::Whole), "the host"),
    ("upstream.port", Attribute::Address(AddressOf::Upstream, AddressPart::Port), "its port"),
    (
        "upstream.local_address",
        Attribute::Address(AddressOf::UpstreamLocal, AddressPart::Whole),
        "our end of the connection to it",
    ),
    ("upstream.tls_version", Attribute::TlsVersion(Side::Upstream), "`TLSv1.2` or `TLSv1.3`"),
    (
        "upstream.subject_peer_certificate",
        Attribute::Certificate(Side::Upstream, CertificateDetail::Subject),
        "the subject of the host's certificate",
    ),
    (
        "upstream.dns_san_peer_certificate",
        Attribute::Certificate(Side::Upstream, CertificateDetail::DnsSan),
        "host names in the host's certificate",
    ),
    (
        "upstream.uri_san_peer_certificate",
        Attribute::Certificate(Side::Upstream, CertificateDetail::UriSan),
        "URIs in the host's certificate",
    ),
    (
        "upstream.sha256_peer_certificate_digest",
        Attribute::Certificate(Side::Upstream, CertificateDetail::Fingerprint),
        "SHA-256 of the host's certificate",
    ),
    (
        "upstream.transport_failure_reason",
        Attribute::TransportFailure(Side::Upstream),
        "why no connection to the host came about",
    ),
    ("upstream.request_attempt_count", Attribute::UpstreamAttempts, "how often it was tried"),
    (
        "upstream.cx_pool_ready_duration",
        Attribute::Between(TimePoint::ConnectBegin, TimePoint::ConnectEnd),
        "how long the connection to the host took, in milliseconds",
    ),
    ("xds.cluster_name", Attribute::ClusterName, "the cluster"),
    ("xds.route_name", Attribute::RouteName, "the route"),
    ("xds.virtual_host_name", Attribute::VirtualHostName, "the virtual host"),
    ("xds.filter_chain_name", Attribute::FilterChainName, "the filter chain"),
];

/// Names of Envoy's that stand for a request's header.
pub(super) const HEADERS: &[(&str, &str)] =
    &[("request.id", "x-request-id"), ("request.useragent", "user-agent"), ("request.referer", "referer")];
