//! The traffic: what clients ask, what the upstream answers, and parsers for both.
//! Sizes and headers are those of ordinary service calls; nothing here knows a proxy.

pub(crate) mod dubbo;

use std::fmt::Write as _;

/// Bytes of one message of the TCP scenarios, each way.
pub(crate) const TCP_MESSAGE: usize = 1024;
/// More head bytes than this without an end are an error.
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;

/// The host that clients ask for.
pub(crate) const HOST: &str = "app.test";
/// The method that gRPC clients call.
pub(crate) const UNARY: &str = "/bench.Echo/Unary";
/// Bytes of a gRPC message, each way.
const UNARY_MESSAGE: usize = 64;
/// Where POSTs go; the reply is small.
pub(crate) const UPLOAD: &str = "/upload";
/// Paths that tell which version of a configuration is in force begin with this; the reply is small.
pub(crate) const PROBE: &str = "/generation/";
/// Body of the small reply.
pub(crate) const SMALL: usize = 64;
/// Bodies that the upstream serves, by path.
pub(crate) const BODIES: &[(&str, usize)] = &[("/1k", 1024), ("/64k", 64 * 1024), ("/8m", 8 * 1024 * 1024)];

/// Answers how many of them were served so far, in [`SERVED_DIGITS`] digits.
pub(crate) const SERVED: &str = "/served";
/// Digits of that answer.
pub(crate) const SERVED_DIGITS: usize = 20;

/// Headers of every request beside its host.
pub(crate) const REQUEST_HEADERS: &[(&str, &str)] = &[
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("accept", "application/json, text/plain, */*"),
    ("accept-encoding", "gzip, deflate, br"),
    ("x-session", "b7ad6b7169203331-00f067aa0ba902b7"),
    ("cookie", "session=4bf92f3577b34da6a3ce929d0e0e4736; theme=dark"),
];
/// Headers of every good reply beside its length.
pub(crate) const REPLY_HEADERS: &[(&str, &str)] = &[
    ("server", "upstream"),
    ("date", "Mon, 05 Oct 2026 10:00:00 GMT"),
    ("content-type", "application/json"),
    ("cache-control", "private, max-age=60"),
    ("etag", "\"5f3c-1a2b3c4d5e6f\""),
    ("x-served-by", "app-7d9f8c6b5-x2x9k"),
];

/// A GET of `path` for `host`, with the headers of an ordinary client.
pub(crate) fn get(host: &str, path: &str) -> Vec<u8> {
    request("GET", host, path, "").into_bytes()
}

/// A POST of `size` bytes to `path`.
pub(crate) fn post(host: &str, path: &str, size: usize) -> Vec<u8> {
    let length = format!("content-type: application/octet-stream\r\ncontent-length: {size}\r\n");
    let mut bytes = request("POST", host, path, &length).into_bytes();
    bytes.extend(body(size));
    bytes
}

/// A whole reply with a body of `size` bytes.
pub(crate) fn reply(size: usize) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n");
    write_headers(&mut text, REPLY_HEADERS);
    let mut bytes = (text + "\r\n").into_bytes();
    bytes.extend(body(size));
    bytes
}

/// The reply to a path that the upstream does not know.
pub(crate) fn not_found() -> Vec<u8> {
    b"HTTP/1.1 404 Not Found\r\nserver: upstream\r\ncontent-length: 0\r\n\r\n".to_vec()
}

/// `size` bytes that are neither constant nor random.
pub(crate) fn body(size: usize) -> impl Iterator<Item = u8> {
    (b'a'..=b'z').cycle().take(size)
}

/// One gRPC message, uncompressed, with its prefix of five bytes.
pub(crate) fn unary() -> Vec<u8> {
    let length = u32::try_from(UNARY_MESSAGE).unwrap_or_default().to_be_bytes();
    [0].into_iter().chain(length).chain(body(UNARY_MESSAGE)).collect()
}

fn request(method: &str, host: &str, path: &str, extra: &str) -> String {
    let mut text = format!("{method} {path} HTTP/1.1\r\n");
    write_headers(&mut text, &[("host", host)]);
    write_headers(&mut text, REQUEST_HEADERS);
    text + extra + "\r\n"
}

fn write_headers(text: &mut String, headers: &[(&str, &str)]) {
    for (name, value) in headers {
        // Writing into a String cannot fail.
        write!(text, "{name}: {value}\r\n").unwrap_or_default();
    }
}

/// What the upstream reads of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RequestHead<'a> {
    pub(crate) path: &'a str,
    pub(crate) head_len: usize,
    pub(crate) length: u64,
    pub(crate) close: bool,
}

/// What the client reads of a reply.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ReplyHead {
    pub(crate) status: u16,
    pub(crate) head_len: usize,
    pub(crate) length: Option<u64>,
    pub(crate) close: bool,
}

/// The head at the start of `bytes`; `None` while it is incomplete.
pub(crate) fn parse_request(bytes: &[u8]) -> Result<Option<RequestHead<'_>>, String> {
    let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Request::new(&mut slots);
    let head_len = match head.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return partial(bytes),
        Err(e) => return Err(format!("bad request head: {e}")),
    };
    let framing = Framing::of(head.headers)?;
    if framing.chunked {
        return Err("a chunked request: the client sends none, so the proxy changed the framing".into());
    }
    let length = framing.length.unwrap_or(0);
    Ok(Some(RequestHead { path: head.path.unwrap_or("/"), head_len, length, close: framing.close }))
}

/// The head at the start of `bytes`; `None` while it is incomplete.
pub(crate) fn parse_reply(bytes: &[u8]) -> Result<Option<ReplyHead>, String> {
    let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Response::new(&mut slots);
    let head_len = match head.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return partial(bytes),
        Err(e) => return Err(format!("bad reply head: {e}")),
    };
    let framing = Framing::of(head.headers)?;
    let length = if framing.chunked { None } else { framing.length };
    Ok(Some(ReplyHead { status: head.code.unwrap_or(0), head_len, length, close: framing.close }))
}

#[derive(Default)]
struct Framing {
    length: Option<u64>,
    chunked: bool,
    close: bool,
}

impl Framing {
    fn of(headers: &[httparse::Header<'_>]) -> Result<Self, String> {
        let mut framing = Self::default();
        for header in headers {
            if header.name.eq_ignore_ascii_case("content-length") {
                let text = std::str::from_utf8(header.value).unwrap_or_default();
                framing.length = Some(text.parse().map_err(|_| format!("bad content-length {text:?}"))?);
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                framing.chunked = true;
            } else if header.name.eq_ignore_ascii_case("connection") {
                framing.close |= header.value.eq_ignore_ascii_case(b"close");
            }
        }
        Ok(framing)
    }
}

fn partial<T>(bytes: &[u8]) -> Result<Option<T>, String> {
    if bytes.len() > MAX_HEAD { Err(format!("head longer than {MAX_HEAD} bytes")) } else { Ok(None) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_parse_at_every_cut() {
        let bytes = post("app.test", "/1k", 16);
        let whole = parse_request(&bytes).unwrap().unwrap();
        assert_eq!((whole.path, whole.length, whole.close), ("/1k", 16, false));
        assert_eq!(whole.head_len + 16, bytes.len());
        for cut in 0..whole.head_len {
            assert_eq!(parse_request(&bytes[..cut]), Ok(None), "cut at {cut}");
        }
    }

    #[test]
    fn replies_parse_at_every_cut() {
        let bytes = reply(10);
        let whole = parse_reply(&bytes).unwrap().unwrap();
        assert_eq!((whole.status, whole.length, whole.close), (200, Some(10), false));
        for cut in 0..whole.head_len {
            assert_eq!(parse_reply(&bytes[..cut]), Ok(None), "cut at {cut}");
        }
    }

    #[test]
    fn framing_headers_are_seen() {
        let reply = parse_reply(b"HTTP/1.1 503 x\r\nTransfer-Encoding: chunked\r\nConnection: Close\r\n\r\n").unwrap();
        assert_eq!(reply.map(|r| (r.status, r.length, r.close)), Some((503, None, true)));
    }

    #[test]
    fn garbage_is_an_error() {
        assert!(parse_reply(b"SSH-2.0-x\r\n\r\n").is_err());
        assert!(parse_reply(b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n").is_err());
        assert!(parse_request(&[b'G'; MAX_HEAD + 1]).is_err());
    }
}
