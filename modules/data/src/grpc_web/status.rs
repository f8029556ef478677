//! The frame that ends a response: its trailers as content.

use ringway_api::Headers;

/// "Message framing" of `PROTOCOL-WEB`: the first bit of a frame's first byte says that it holds trailers.
const TRAILERS: u8 = 0x80;

/// What a response's status consists of.
const STATUS: [&str; 3] = ["grpc-status", "grpc-message", "grpc-status-details-bin"];

/// For a response that ended without a status: 2 is UNKNOWN, which gRPC clients would make of it.
const MISSING: [(&[u8], &[u8]); 2] =
    [(b"grpc-status", b"2"), (b"grpc-message", b"the response ended without a status")];

/// The status among the header fields of a response that has no trailers, in the lines of the frame.
#[derive(Debug)]
pub(crate) struct EarlyStatus(Vec<u8>);

/// Takes the status out of a response's header fields.
pub(crate) fn take_from(headers: &mut Headers) -> Option<EarlyStatus> {
    headers.first("grpc-status")?;
    let mut lines = Vec::new();
    headers.retain(|_, name, value| {
        let of_status = is_status(name);
        if of_status {
            push_line(&mut lines, name, value);
        }
        !of_status
    });
    Some(EarlyStatus(lines))
}

/// The last frame of a response, or `None` when nothing is to be said: there were no trailers, no status among the
/// header fields, and none is `owed` to the client.
pub(crate) fn frame(trailers: Option<&Headers>, early: Option<EarlyStatus>, owed: bool) -> Option<Vec<u8>> {
    let mut lines = Vec::new();
    for (name, value) in trailers.iter().flat_map(|trailers| trailers.iter()) {
        push_line(&mut lines, name, value);
    }
    if trailers.is_none_or(|trailers| trailers.first("grpc-status").is_none()) {
        match early {
            Some(EarlyStatus(status)) => lines.extend_from_slice(&status),
            None if owed => MISSING.iter().for_each(|(name, value)| push_line(&mut lines, name, value)),
            None => {}
        }
    }
    if lines.is_empty() {
        return None;
    }
    // Header limits are far below 4 GiB.
    let len = u32::try_from(lines.len()).ok()?;
    let mut frame = Vec::with_capacity(5 + lines.len());
    frame.push(TRAILERS);
    frame.extend_from_slice(&len.to_be_bytes());
    frame.append(&mut lines);
    Some(frame)
}

/// Names are in lower case there, in whatever case they came.
fn push_line(lines: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    lines.extend(name.iter().map(u8::to_ascii_lowercase));
    lines.extend_from_slice(b": ");
    lines.extend_from_slice(value);
    lines.extend_from_slice(b"\r\n");
}

fn is_status(name: &[u8]) -> bool {
    STATUS.iter().any(|status| name.eq_ignore_ascii_case(status.as_bytes()))
}
