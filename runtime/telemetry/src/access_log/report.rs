//! A finished stream that outlives its end: what sinks send to the control plane.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use http::Method;
use ringway_api::{Address, ResponseFlags, TlsInfo, Version};

use super::record::{Attempt, Captured, FieldPair, LogType, StreamRecord, Timings, TraceIds};

/// Bytes of texts that a report keeps; of longer ones what fits.
const TEXT_LIMIT: usize = 8 << 10;

/// How many texts those are.
const TEXTS: usize = 13;

/// A [`StreamRecord`] that owns what it says, so that it can leave its worker; at most about 10 KiB besides its captured
/// headers. [`record`](Self::record) shows it again as it was: formats are rendered from either.
#[derive(Clone, Debug)]
pub struct StreamReport {
    kind: LogType,
    start: SystemTime,
    duration: Duration,
    timings: Timings,
    method: Option<Method>,
    protocol: Option<Version>,
    upstream_protocol: Option<Version>,
    response_code: Option<u16>,
    flags: ResponseFlags,
    bytes: [u64; 4],
    upstream_attempts: u32,
    connection_ids: [Option<u64>; 2],
    tls: [Option<Box<TlsInfo>>; 2],
    is_call: bool,
    grpc_status: Option<u32>,
    ids: [Option<u128>; 2],
    addresses: [Option<Address>; 5],
    texts: [Option<Range<u16>>; TEXTS],
    text: Box<[u8]>,
    attempts: Box<[Attempt]>,
    trace: Option<TraceIds>,
    fields: [Box<[FieldPair]>; 2],
    request_headers: Captured,
    response_headers: Captured,
    response_trailers: Captured,
}

impl StreamReport {
    /// A copy of a record.
    pub fn of(record: &StreamRecord<'_>) -> Self {
        let sources: [Option<&[u8]>; TEXTS] = [
            record.path,
            record.authority,
            record.scheme.map(str::as_bytes),
            record.response_code_details.map(str::as_bytes),
            record.connection_termination_details.map(str::as_bytes),
            record.route_name.map(str::as_bytes),
            record.upstream_cluster.map(str::as_bytes),
            record.upstream_transport_failure.map(str::as_bytes),
            record.virtual_host.map(str::as_bytes),
            record.filter_chain.map(str::as_bytes),
            record.requested_server_name.map(str::as_bytes),
            record.downstream_transport_failure.map(str::as_bytes),
            record.local_reply_body.map(str::as_bytes),
        ];
        let mut text =
            Vec::with_capacity(sources.iter().flatten().map(|text| text.len()).sum::<usize>().min(TEXT_LIMIT));
        let texts = sources.map(|source| {
            let source = source?;
            let from = text.len();
            let kept = source.len().min(TEXT_LIMIT - from);
            text.extend(source.iter().take(kept));
            Some(as_u16(from)..as_u16(from + kept))
        });
        Self {
            kind: record.kind,
            start: record.start,
            duration: record.duration,
            timings: record.timings,
            method: record.method.and_then(|method| method.parse().ok()),
            protocol: record.protocol,
            upstream_protocol: record.upstream_protocol,
            response_code: record.response_code,
            flags: record.flags,
            bytes: [
                record.bytes_received,
                record.bytes_sent,
                record.request_headers_bytes,
                record.response_headers_bytes,
            ],
            upstream_attempts: record.upstream_attempts,
            connection_ids: [record.connection_id, record.upstream_connection_id],
            tls: [record.tls, record.upstream_tls].map(|tls| tls.cloned().map(Box::new)),
            is_call: record.is_call,
            grpc_status: record.grpc_status,
            ids: [record.stream_id, record.unique_id],
            addresses: [
                record.upstream_host.cloned(),
                record.upstream_local.cloned(),
                record.downstream_remote.cloned(),
                record.downstream_direct_remote.cloned(),
                record.downstream_local.cloned(),
            ],
            texts,
            text: text.into(),
            attempts: record.attempts.into(),
            trace: record.trace,
            fields: [record.request_fields.into(), record.response_fields.into()],
            request_headers: record.request_headers.clone(),
            response_headers: record.response_headers.clone(),
            response_trailers: record.response_trailers.clone(),
        }
    }

    /// Bytes that it holds besides itself.
    pub(crate) fn heap_bytes(&self) -> usize {
        let captured = [&self.request_headers, &self.response_headers, &self.response_trailers];
        let captured: usize = captured.iter().map(|captured| captured.heap_bytes()).sum();
        let pairs = self.fields.iter().flat_map(|fields| fields.iter());
        let pairs: usize = pairs.map(|pair| size_of_val(pair) + pair.0.len() + pair.1.len()).sum();
        self.text.len() + size_of_val(&*self.attempts) + captured + pairs
    }

    /// The record.
    pub fn record(&self) -> StreamRecord<'_> {
        let [
            path,
            authority,
            scheme,
            details,
            termination,
            route,
            cluster,
            failure,
            virtual_host,
            filter_chain,
            server_name,
            downstream_failure,
            local_reply,
        ] = self.texts.each_ref().map(|range| {
            let range = range.as_ref()?;
            self.text.get(usize::from(range.start)..usize::from(range.end))
        });
        let [connection_id, upstream_connection_id] = self.connection_ids;
        let [stream_id, unique_id] = self.ids;
        let [host, upstream_local, remote, direct_remote, local] = self.addresses.each_ref().map(Option::as_ref);
        let [bytes_received, bytes_sent, request_headers_bytes, response_headers_bytes] = self.bytes;
        StreamRecord {
            kind: self.kind,
            start: self.start,
            duration: self.duration,
            timings: self.timings,
            method: self.method.as_ref().map(Method::as_str),
            path,
            authority,
            scheme: utf8(scheme),
            protocol: self.protocol,
            response_code: self.response_code,
            response_code_details: utf8(details),
            connection_termination_details: utf8(termination),
            flags: self.flags,
            bytes_received,
            bytes_sent,
            request_headers_bytes,
            response_headers_bytes,
            route_name: utf8(route),
            upstream_cluster: utf8(cluster),
            upstream_host: host,
            upstream_local,
            upstream_protocol: self.upstream_protocol,
            upstream_transport_failure: utf8(failure),
            upstream_attempts: self.upstream_attempts,
            downstream_remote: remote,
            downstream_direct_remote: direct_remote,
            downstream_local: local,
            connection_id,
            upstream_connection_id,
            tls: self.tls.first().and_then(Option::as_deref),
            upstream_tls: self.tls.last().and_then(Option::as_deref),
            requested_server_name: utf8(server_name),
            downstream_transport_failure: utf8(downstream_failure),
            is_call: self.is_call,
            grpc_status: self.grpc_status,
            local_reply_body: utf8(local_reply),
            stream_id,
            unique_id,
            virtual_host: utf8(virtual_host),
            filter_chain: utf8(filter_chain),
            attempts: &self.attempts,
            trace: self.trace,
            request_fields: self.fields.first().map_or(&[], |fields| fields),
            response_fields: self.fields.last().map_or(&[], |fields| fields),
            request_headers: &self.request_headers,
            response_headers: &self.response_headers,
            response_trailers: &self.response_trailers,
        }
    }
}

/// Text of ours. What was cut within a character is left out.
fn utf8(bytes: Option<&[u8]>) -> Option<&str> {
    std::str::from_utf8(bytes?).ok()
}

fn as_u16(at: usize) -> u16 {
    // Below the limit by construction.
    u16::try_from(at).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Format;

    #[test]
    fn a_report_renders_as_its_record_did() {
        let long = [b'x'; 20_000];
        let remote = Address::Ip(([127, 0, 0, 1], 9).into());
        let headers = Captured::capture(&[http::header::USER_AGENT], |_| Some(b"curl"));
        let attempt = Attempt {
            host: remote.clone(),
            began: Duration::from_millis(1),
            socket: None,
            secured: None,
            connected: None,
            reused: false,
            answered: None,
            ended: None,
            failure: Some("connection_refused"),
            span: None,
        };
        let attempts = [attempt];
        let mut record = StreamRecord::new(SystemTime::UNIX_EPOCH + Duration::from_secs(7));
        record.method = Some("GET");
        record.path = Some(b"/a?b");
        record.authority = Some(&long);
        record.route_name = Some("nothing of it fits");
        record.response_code = Some(200);
        record.downstream_remote = Some(&remote);
        record.request_headers = &headers;
        record.attempts = &attempts;
        let report = StreamReport::of(&record);
        let format =
            "%START_TIME% %REQ(:METHOD)% %REQ(:PATH)% %RESPONSE_CODE% %DOWNSTREAM_REMOTE_ADDRESS% %REQ(user-agent)%";
        let (mut before, mut after) = (Vec::new(), Vec::new());
        let format = Format::parse(format).unwrap();
        format.render(&record, &mut before);
        format.render(&report.record(), &mut after);
        assert_eq!(before, after);
        assert_eq!(report.record().attempts, attempts);
        assert!(report.record().authority.unwrap().len() < TEXT_LIMIT);
        assert_eq!(report.record().route_name, Some(""));
    }
}
