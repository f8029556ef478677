//! From a finished stream to its line in the access log.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use ringway_api::{Address, Version};
use ringway_telemetry::{Captured, Format, StreamRecord};

use super::measured;

/// Capturing its headers and rendering Envoy's default line.
pub(super) fn text(times: u64) -> Result<()> {
    line(&Format::default_text(), times)
}

/// Capturing its headers and rendering the default JSON line, of 24 members.
pub(super) fn json(times: u64) -> Result<()> {
    line(&Format::default_json(), times)
}

/// A line with three operators, none of them a header.
pub(super) fn short(times: u64) -> Result<()> {
    line(&Format::parse("%REQ(:PATH)% %RESPONSE_CODE% %DURATION%")?, times)
}

fn line(format: &Format, times: u64) -> Result<()> {
    let host = Address::Ip(([10, 0, 0, 7], 8080).into());
    let value = |name: &str| match name {
        "user-agent" => Some(&b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101"[..]),
        "x-request-id" => Some(&b"6f1d4a0e-7a3c-4a52-9a57-2f7c1f0f7f10"[..]),
        "x-forwarded-for" => Some(&b"203.0.113.9"[..]),
        _ => None,
    };
    let mut out = Vec::with_capacity(4 << 10);
    measured(times, || {
        let request_headers = Captured::capture(&format.needs().request_headers, |name| value(name.as_str()));
        let record = StreamRecord {
            duration: Duration::from_micros(1234),
            method: Some("GET"),
            path: Some(b"/api/v1/items?page=3"),
            authority: Some(b"shop.example.com"),
            protocol: Some(Version::Http11),
            response_code: Some(200),
            response_code_details: Some("via_upstream"),
            bytes_sent: 1024,
            upstream_cluster: Some("app"),
            upstream_host: Some(&host),
            downstream_remote: Some(&host),
            downstream_local: Some(&host),
            request_headers: &request_headers,
            ..StreamRecord::new(SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_225_599_042))
        };
        out.clear();
        format.render(&record, &mut out);
    });
    Ok(())
}
