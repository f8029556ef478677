//! A finished stream that outlives its end: what sinks send to the control plane.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use http::Method;
use ringway_api::{Address, ResponseFlags, Version};

use super::record::{Attempt, Captured, StreamRecord, Timings, TraceIds};

/// Bytes of texts that a report keeps; of longer ones what fits.
const TEXT_LIMIT: usize = 8 << 10;

/// A [`StreamRecord`] that owns what it says, so that it can leave its worker; at most about 10 KiB besides its captured
/// headers. [`record`](Self::record) shows it again as it was: formats are rendered from either.
#[derive(Clone, Debug)]
pub struct StreamReport {
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
    connection_id: Option<u64>,
    addresses: [Option<Address>; 5],
    texts: [Option<Range<u16>>; 9],
    text: Box<[u8]>,
    attempts: Box<[Attempt]>,
    trace: Option<TraceIds>,
    request_headers: Captured,
    response_headers: Captured,
}

impl StreamReport {
    /// A copy of a record.
    pub fn of(record: &StreamRecord<'_>) -> Self {
        let sources: [Option<&[u8]>; 9] = [
            record.path,
            record.authority,
            record.scheme.map(str::as_bytes),
            record.response_code_details.map(str::as_bytes),
            record.connection_termination_details.map(str::as_bytes),
            record.route_name.map(str::as_bytes),
            record.upstream_cluster.map(str::as_bytes),
            record.upstream_transport_failure.map(str::as_bytes),
            record.hostname.map(str::as_bytes),
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
            connection_id: record.connection_id,
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
            request_headers: record.request_headers.clone(),
            response_headers: record.response_headers.clone(),
        }
    }

    /// The record.
    pub fn record(&self) -> StreamRecord<'_> {
        let [path, authority, scheme, details, termination, route, cluster, failure, hostname] =
            self.texts.each_ref().map(|range| {
                let range = range.as_ref()?;
                self.text.get(usize::from(range.start)..usize::from(range.end))
            });
        let [host, upstream_local, remote, direct_remote, local] = self.addresses.each_ref().map(Option::as_ref);
        let [bytes_received, bytes_sent, request_headers_bytes, response_headers_bytes] = self.bytes;
        StreamRecord {
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
            connection_id: self.connection_id,
            hostname: utf8(hostname),
            attempts: &self.attempts,
            trace: self.trace,
            request_headers: &self.request_headers,
            response_headers: &self.response_headers,
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
