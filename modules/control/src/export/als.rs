//! Finished streams for an access-log service: `envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs`.
//!
//! The messages are declared here as far as they are filled; field numbers are those of Envoy's API.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use prost::Message;
use ringway_api::{Address, ResponseFlags, Version};
use ringway_telemetry::{LogEntry, LogExporter, StreamRecord};

use super::Resource;
use super::queue::Queue;
use super::sending::Batch;

/// Batches of entries of one kind: a message has either.
pub(super) struct Entries<T> {
    identifier: Identifier,
    kind: PhantomData<fn() -> T>,
}

/// Entries that wait.
pub(super) struct EntryQueue {
    pub(super) http: Arc<Queue<HttpEntry>>,
    pub(super) tcp: Arc<Queue<TcpEntry>>,
}

/// A kind of entries.
pub(super) trait Kind: Clone + Send + 'static {
    /// A message of such entries.
    fn message(entries: &[Self]) -> StreamAccessLogs;
}

impl<T> Entries<T> {
    pub(super) fn new(resource: &Resource, log_name: &str) -> Self {
        let node = Node { id: resource.service.clone(), cluster: resource.service.clone() };
        Self { identifier: Identifier { node: Some(node), log_name: log_name.to_owned() }, kind: PhantomData }
    }
}

impl<T: Kind> Batch for Entries<T> {
    type Item = T;

    fn path(&self) -> &'static str {
        "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs"
    }

    fn content_type(&self) -> &'static str {
        "application/grpc"
    }

    fn message(&self, items: &[T]) -> Bytes {
        StreamAccessLogs { identifier: Some(self.identifier.clone()), ..T::message(items) }.encode_to_vec().into()
    }
}

impl Kind for HttpEntry {
    fn message(entries: &[Self]) -> StreamAccessLogs {
        let entries = HttpEntries { log_entry: entries.to_vec() };
        StreamAccessLogs { http_logs: Some(entries), ..StreamAccessLogs::default() }
    }
}

impl Kind for TcpEntry {
    fn message(entries: &[Self]) -> StreamAccessLogs {
        let entries = TcpEntries { log_entry: entries.to_vec() };
        StreamAccessLogs { tcp_logs: Some(entries), ..StreamAccessLogs::default() }
    }
}

impl LogExporter for EntryQueue {
    fn export(&self, entry: &LogEntry<'_>) {
        let record = &entry.record;
        let common = Common { custom_tags: tags(&entry.attributes), ..common(record) };
        match record.protocol {
            Some(protocol) => {
                let entry = HttpEntry { common_properties: Some(common), ..http(record, protocol) };
                self.http.push(entry.encoded_len(), entry);
            }
            None => {
                let bytes = ConnectionBytes { received_bytes: record.bytes_received, sent_bytes: record.bytes_sent };
                let entry = TcpEntry { common_properties: Some(common), connection_properties: Some(bytes) };
                self.tcp.push(entry.encoded_len(), entry);
            }
        }
    }
}

fn http(record: &StreamRecord<'_>, protocol: Version) -> HttpEntry {
    let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
    let request = RequestProperties {
        request_method: METHODS.iter().position(|known| record.method == Some(known)).map_or(0, |at| at as i32 + 1),
        scheme: record.scheme.unwrap_or_default().to_owned(),
        authority: text(record.authority),
        path: text(record.path),
        request_headers_bytes: record.request_headers_bytes,
        request_body_bytes: record.bytes_received,
    };
    let response = ResponseProperties {
        response_code: record.response_code.map(u32::from),
        response_headers_bytes: record.response_headers_bytes,
        response_body_bytes: record.bytes_sent,
        response_code_details: record.response_code_details.unwrap_or_default().to_owned(),
    };
    let protocol_version = match protocol {
        Version::Http10 => 1,
        Version::Http11 => 2,
        Version::Http2 => 3,
        Version::Rpc(_) => 0,
    };
    HttpEntry { common_properties: None, protocol_version, request: Some(request), response: Some(response) }
}

/// The methods of Envoy's API, from number 1.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

fn common(record: &StreamRecord<'_>) -> Common {
    let at = |when: Option<Duration>| when.and_then(|when| prost_types::Duration::try_from(when).ok());
    let timings = &record.timings;
    Common {
        downstream_remote_address: record.downstream_remote.map(address),
        downstream_local_address: record.downstream_local.map(address),
        start_time: Some(since_1970(record.start)),
        time_to_last_rx_byte: at(timings.request_end),
        time_to_first_upstream_tx_byte: at(timings.upstream_tx_begin),
        time_to_last_upstream_tx_byte: at(timings.upstream_tx_end),
        time_to_first_upstream_rx_byte: at(timings.upstream_rx_begin),
        time_to_last_upstream_rx_byte: at(timings.upstream_rx_end),
        time_to_first_downstream_tx_byte: at(timings.response_begin),
        time_to_last_downstream_tx_byte: at(timings.response_end),
        upstream_remote_address: record.upstream_host.map(address),
        upstream_local_address: record.upstream_local.map(address),
        upstream_cluster: record.upstream_cluster.unwrap_or_default().to_owned(),
        response_flags: flags(record.flags),
        upstream_transport_failure_reason: record.upstream_transport_failure.unwrap_or_default().to_owned(),
        route_name: record.route_name.unwrap_or_default().to_owned(),
        downstream_direct_remote_address: record.downstream_direct_remote.map(address),
        custom_tags: HashMap::new(),
        duration: at(Some(record.duration)),
        upstream_request_attempt_count: record.upstream_attempts,
        connection_termination_details: record.connection_termination_details.unwrap_or_default().to_owned(),
    }
}

fn tags(attributes: &[(&str, String)]) -> HashMap<String, String> {
    attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

fn since_1970(at: SystemTime) -> prost_types::Timestamp {
    at.into()
}

fn address(address: &Address) -> EncodedAddress {
    match address {
        Address::Ip(socket) => EncodedAddress {
            socket_address: Some(SocketAddress {
                protocol: 0,
                address: socket.ip().to_string(),
                port_value: socket.port().into(),
            }),
            pipe: None,
        },
        Address::Unix(path) => {
            EncodedAddress { socket_address: None, pipe: Some(Pipe { path: path.to_string_lossy().into_owned() }) }
        }
    }
}

/// The fields of Envoy's message by the flags' codes, from number 1. `UAEX` is a message with a reason, not a truth.
const FLAGS: [&str; 27] = [
    "LH", "UH", "UT", "LR", "UR", "UF", "UC", "UO", "NR", "DI", "FI", "RL", "UAEX", "RLSE", "DC", "URX", "SI", "IH",
    "DPE", "UMSDR", "RFCF", "NFCF", "DT", "UPE", "NC", "OM", "DF",
];

/// The message of flags, encoded: each is a truth value in a field of its own.
fn flags(flags: ResponseFlags) -> Vec<u8> {
    let mut message = Vec::new();
    for flag in flags.iter() {
        let Some(at) = FLAGS.iter().position(|known| *known == flag.code()) else { continue };
        let field = at as u32 + 1;
        if flag.code() == "UAEX" {
            prost::encoding::message::encode(field, &Unauthorized { reason: 1 }, &mut message);
        } else {
            prost::encoding::bool::encode(field, &true, &mut message);
        }
    }
    message
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StreamAccessLogs {
    #[prost(message, optional, tag = "1")]
    identifier: Option<Identifier>,
    #[prost(message, optional, tag = "2")]
    http_logs: Option<HttpEntries>,
    #[prost(message, optional, tag = "3")]
    tcp_logs: Option<TcpEntries>,
}

#[derive(Clone, PartialEq, Message)]
struct Identifier {
    #[prost(message, optional, tag = "1")]
    node: Option<Node>,
    #[prost(string, tag = "2")]
    log_name: String,
}

#[derive(Clone, PartialEq, Message)]
struct Node {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    cluster: String,
}

#[derive(Clone, PartialEq, Message)]
struct HttpEntries {
    #[prost(message, repeated, tag = "1")]
    log_entry: Vec<HttpEntry>,
}

#[derive(Clone, PartialEq, Message)]
struct TcpEntries {
    #[prost(message, repeated, tag = "1")]
    log_entry: Vec<TcpEntry>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TcpEntry {
    #[prost(message, optional, tag = "1")]
    common_properties: Option<Common>,
    #[prost(message, optional, tag = "2")]
    connection_properties: Option<ConnectionBytes>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct HttpEntry {
    #[prost(message, optional, tag = "1")]
    common_properties: Option<Common>,
    #[prost(int32, tag = "2")]
    protocol_version: i32,
    #[prost(message, optional, tag = "3")]
    request: Option<RequestProperties>,
    #[prost(message, optional, tag = "4")]
    response: Option<ResponseProperties>,
}

#[derive(Clone, PartialEq, Message)]
struct ConnectionBytes {
    #[prost(uint64, tag = "1")]
    received_bytes: u64,
    #[prost(uint64, tag = "2")]
    sent_bytes: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Common {
    #[prost(message, optional, tag = "2")]
    downstream_remote_address: Option<EncodedAddress>,
    #[prost(message, optional, tag = "3")]
    downstream_local_address: Option<EncodedAddress>,
    #[prost(message, optional, tag = "5")]
    start_time: Option<prost_types::Timestamp>,
    #[prost(message, optional, tag = "6")]
    time_to_last_rx_byte: Option<prost_types::Duration>,
    #[prost(message, optional, tag = "7")]
    time_to_first_upstream_tx_byte: Option<prost_types::Duration>,
    #[prost(message, optional, tag = "8")]
    time_to_last_upstream_tx_byte: Option<prost_types::Duration>,
    #[prost(message, optional, tag = "9")]
    time_to_first_upstream_rx_byte: Option<prost_types::Duration>,
    #[prost(message, optional, tag = "10")]
    time_to_last_upstream_rx_byte: Option<prost_types::Duration>,
    #[prost(message, optional, tag = "11")]
    time_to_first_downstream_tx_byte: Option<prost_types::Duration>,
    #[prost(message, optional, tag = "12")]
    time_to_last_downstream_tx_byte: Option<prost_types::Duration>,
    #[prost(message, optional, tag = "13")]
    upstream_remote_address: Option<EncodedAddress>,
    #[prost(message, optional, tag = "14")]
    upstream_local_address: Option<EncodedAddress>,
    #[prost(string, tag = "15")]
    upstream_cluster: String,
    /// A message; see [`flags`].
    #[prost(bytes = "vec", tag = "16")]
    response_flags: Vec<u8>,
    #[prost(string, tag = "18")]
    upstream_transport_failure_reason: String,
    #[prost(string, tag = "19")]
    route_name: String,
    #[prost(message, optional, tag = "20")]
    downstream_direct_remote_address: Option<EncodedAddress>,
    #[prost(map = "string, string", tag = "22")]
    custom_tags: HashMap<String, String>,
    #[prost(message, optional, tag = "23")]
    duration: Option<prost_types::Duration>,
    #[prost(uint32, tag = "24")]
    upstream_request_attempt_count: u32,
    #[prost(string, tag = "25")]
    connection_termination_details: String,
}

#[derive(Clone, PartialEq, Message)]
struct Unauthorized {
    #[prost(int32, tag = "1")]
    reason: i32,
}

#[derive(Clone, PartialEq, Message)]
struct EncodedAddress {
    #[prost(message, optional, tag = "1")]
    socket_address: Option<SocketAddress>,
    #[prost(message, optional, tag = "2")]
    pipe: Option<Pipe>,
}

#[derive(Clone, PartialEq, Message)]
struct SocketAddress {
    #[prost(int32, tag = "1")]
    protocol: i32,
    #[prost(string, tag = "2")]
    address: String,
    #[prost(uint32, tag = "3")]
    port_value: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Pipe {
    #[prost(string, tag = "1")]
    path: String,
}

#[derive(Clone, PartialEq, Message)]
struct RequestProperties {
    #[prost(int32, tag = "1")]
    request_method: i32,
    #[prost(string, tag = "2")]
    scheme: String,
    #[prost(string, tag = "3")]
    authority: String,
    #[prost(string, tag = "5")]
    path: String,
    #[prost(uint64, tag = "11")]
    request_headers_bytes: u64,
    #[prost(uint64, tag = "12")]
    request_body_bytes: u64,
}

#[derive(Clone, PartialEq, Message)]
struct ResponseProperties {
    /// `google.protobuf.UInt32Value`
    #[prost(message, optional, tag = "1")]
    response_code: Option<u32>,
    #[prost(uint64, tag = "2")]
    response_headers_bytes: u64,
    #[prost(uint64, tag = "3")]
    response_body_bytes: u64,
    #[prost(string, tag = "6")]
    response_code_details: String,
}
