//! Heads as a browser and an application send them.

use std::hint::black_box;

use anyhow::{Context, Result};
use http::Method;
use ringway_api::{Chunk, Known};
use ringway_http1::HeaderCase;
use ringway_http1::encode::{Delimit, request_head, response_head};
use ringway_http1::head::{Asked, HeadLimits, Refusal, RequestParts, ResponseParts, decode_request, decode_response};

use super::measured;

const REQUEST: &str = "GET /api/v1/items/4711?expand=all HTTP/1.1\r\nHost: app.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: application/json, text/plain, */*\r\n\
    Accept-Encoding: gzip, deflate, br\r\nCookie: session=0123456789abcdef0123456789abcdef\r\n\
    Connection: keep-alive\r\n\r\n";
const RESPONSE: &str = "HTTP/1.1 200 OK\r\nServer: app\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n\
    Content-Type: application/json\r\nContent-Length: 1024\r\nCache-Control: no-store\r\n\
    ETag: \"0123456789abcdef\"\r\n\r\n";
/// The limits of a listener that sets none.
const LIMITS: HeadLimits = HeadLimits { bytes: 60 << 10, fields: 100 };

type Decoded<T> = Result<Option<(T, usize)>, Refusal>;

pub(super) fn request(times: u64) -> Result<()> {
    let block = chunk(REQUEST);
    accepted(decode_request(&block, LIMITS, false))?;
    measured(times, || decode_request(black_box(&block), LIMITS, false));
    Ok(())
}

pub(super) fn response(times: u64) -> Result<()> {
    let block = chunk(RESPONSE);
    accepted(decode_response(&block, Asked { method: &Method::GET, upgrade: None }, LIMITS))?;
    measured(times, || decode_response(black_box(&block), Asked { method: &Method::GET, upgrade: None }, LIMITS));
    Ok(())
}

pub(super) fn request_forward(times: u64) -> Result<()> {
    let block = chunk(REQUEST);
    forward_request(accepted(decode_request(&block, LIMITS, false))?).context("the fields were refused")?;
    measured(times, || {
        let decoded = decode_request(black_box(&block), LIMITS, false);
        decoded.ok().flatten().and_then(|(parts, _)| forward_request(parts))
    });
    Ok(())
}

pub(super) fn response_forward(times: u64) -> Result<()> {
    let block = chunk(RESPONSE);
    forward_response(accepted(decode_response(&block, Asked { method: &Method::GET, upgrade: None }, LIMITS))?)
        .context("the field was refused")?;
    measured(times, || {
        let decoded = decode_response(black_box(&block), Asked { method: &Method::GET, upgrade: None }, LIMITS);
        decoded.ok().flatten().and_then(|(parts, _)| forward_response(parts))
    });
    Ok(())
}

fn chunk(text: &str) -> Chunk {
    Chunk::copy_from(text.as_bytes())
}

fn accepted<T>(decoded: Decoded<T>) -> Result<T> {
    let decoded = decoded.map_err(|refusal| anyhow::anyhow!("refused: {}", refusal.details))?;
    Ok(decoded.context("the head is not complete")?.0)
}

fn forward_request(mut parts: RequestParts) -> Option<Chunk> {
    parts.head.headers.append_known(Known::XForwardedFor, b"192.0.2.1").ok()?;
    parts.head.headers.append_known(Known::XForwardedProto, b"http").ok()?;
    let mut out = Vec::with_capacity(1024);
    request_head(&parts.head, Delimit::Nothing, HeaderCase::Preserve, &mut out);
    Some(Chunk::from(out))
}

fn forward_response(mut parts: ResponseParts) -> Option<Chunk> {
    parts.head.headers.set_known(Known::Server, b"ringway").ok()?;
    let mut out = Vec::with_capacity(1024);
    // The response is dated: the clock is not asked.
    let now = || std::time::SystemTime::UNIX_EPOCH;
    response_head(&parts.head, Delimit::Length(1024), false, now, HeaderCase::Preserve, &mut out);
    Some(Chunk::from(out))
}
