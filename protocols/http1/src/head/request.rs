//! Request heads (RFC 9112, sections 2 and 3).

use std::ops::Range;

use http::{Method, StatusCode};
use httparse::Status;
use ringway_api::{Chunk, RequestHead, Span, Tunnel, Version};

use super::fields::Fields;
use super::{Framing, HeadLimits, Refusal, offset, refusal, syntax, too_large, with_slots};

/// A request's head and what it says of the connection.
#[derive(Debug)]
pub struct RequestParts {
    /// The head, without fields for this connection; `Content-Length` stays in.
    pub head: RequestHead,
    /// How its content is delimited.
    pub framing: Framing,
    /// The client may send another request after this one.
    pub keep_alive: bool,
    /// The client waits for 100 before it sends its content (RFC 9110, section 10.1.1).
    pub expects_continue: bool,
}

/// The request head at the start of `block` and its length, or `None` when more bytes are needed.
///
/// # Errors
/// Why the request must be refused; the connection cannot go on.
pub fn decode_request(
    block: &Chunk,
    limits: HeadLimits,
    allow_http_1_0: bool,
) -> Result<Option<(RequestParts, usize)>, Refusal> {
    let bytes = block.as_slice();
    // RFC 9112, section 2.2: one empty line ahead of the request line is forgiven.
    let skip = match bytes {
        [b'\r', b'\n', ..] => 2,
        [] | [b'\r'] => return Ok(None),
        _ => 0,
    };
    let text = bytes.get(skip..).unwrap_or_default();
    if matches!(text.first(), Some(b'\r' | b'\n')) {
        return Err(Refusal::bad("invalid_first_line"));
    }
    with_slots(limits.fields, |slots| {
        let mut request = httparse::Request::new(&mut []);
        let parsed = request.parse_with_uninit_headers(text, slots);
        let len = match parsed {
            Ok(Status::Complete(len)) => skip + len,
            Ok(Status::Partial) if bytes.len() > limits.bytes => return Err(oversized(text, limits)),
            Ok(Status::Partial) => return Ok(None),
            Err(httparse::Error::Version) => return Err(version_refusal(text)),
            Err(error) => return Err(refusal(error)),
        };
        if len > limits.bytes {
            return Err(oversized(text, limits));
        }
        let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
            return Err(Refusal::bad("invalid_first_line"));
        };
        let line = RequestLine { method: method.as_bytes(), target: target.as_bytes(), minor, at: skip };
        let end = line.check(bytes, allow_http_1_0)?;
        let fields = Fields::take(block, end, request.headers, len)?;
        Ok(Some((assemble(bytes, &line, fields)?, len)))
    })
}

struct RequestLine<'b> {
    method: &'b [u8],
    target: &'b [u8],
    minor: u8,
    at: usize,
}

impl RequestLine<'_> {
    /// Checks the line's shape and returns where its text ends.
    fn check(&self, bytes: &[u8], allow_http_1_0: bool) -> Result<usize, Refusal> {
        let target_at = self.at + self.method.len() + 1;
        let end = target_at + self.target.len() + " HTTP/1.1".len();
        // One space between the parts, as section 3 has it; `httparse` may forgive more.
        if offset(bytes, self.method) != self.at || offset(bytes, self.target) != target_at {
            return Err(Refusal::bad("invalid_first_line"));
        }
        if self.minor == 0 && !allow_http_1_0 {
            return Err(Refusal::new(StatusCode::UPGRADE_REQUIRED, "http_1_0"));
        }
        Ok(end)
    }

    fn target_at(&self) -> Range<usize> {
        let start = self.at + self.method.len() + 1;
        start..start + self.target.len()
    }
}

fn assemble(bytes: &[u8], line: &RequestLine<'_>, fields: Fields) -> Result<RequestParts, Refusal> {
    let method = Method::from_bytes(line.method).map_err(|_| Refusal::bad("invalid_method"))?;
    if method != Method::CONNECT {
        syntax::check_target(line.target)?;
    }
    let http_1_1 = line.minor == 1;
    let host = match &fields.host {
        Some(at) => {
            syntax::check_authority(bytes.get(at.clone()).unwrap_or_default())?;
            Span::block(at.clone())
        }
        None if http_1_1 => return Err(Refusal::bad("missing_host")),
        None => Span::default(),
    };
    let framing = fields.delimiters.framing(http_1_1, Framing::None)?;
    let expects_continue = match &fields.expect {
        None => false,
        Some(at) if !bytes.get(at.clone()).unwrap_or_default().eq_ignore_ascii_case(b"100-continue") => {
            return Err(Refusal::new(StatusCode::EXPECTATION_FAILED, "unknown_expectation"));
        }
        Some(_) => http_1_1 && framing != Framing::None,
    };
    let upgrade = upgrade(bytes, &fields, framing, http_1_1);
    let version = if http_1_1 { Version::Http11 } else { Version::Http10 };
    let keep_alive = http_1_1 && !fields.connection.close;
    let connect = method == Method::CONNECT;
    if connect && framing != Framing::None {
        // RFC 9110, section 9.3.6: content has no meaning, and what follows is the tunnel's.
        return Err(Refusal::bad("content_in_connect"));
    }
    let place = if connect { Target::authority(line)? } else { Target::read(line, &method, host)? };
    let mut head = RequestHead::received(method, version, fields.headers, place.authority, place.path);
    if let Some(path) = place.rewritten {
        head.set_path_and_query(&path).map_err(|_| Refusal::bad("invalid_target"))?;
    }
    if connect {
        head.tunnel = Some(Tunnel::Connect);
    } else if let Some(token) = upgrade {
        head.set_upgrade(token);
    }
    Ok(RequestParts { head, framing, keep_alive, expects_continue })
}

/// The protocol that the client wants to go on with: the first that it names (RFC 9110, section 7.8). A wish that cannot
/// be granted is ignored, as that section allows: one of HTTP/1.0, one with content, and `h2c`, which RFC 9113 has
/// retired and which clients offer in passing.
fn upgrade<'b>(bytes: &'b [u8], fields: &Fields, framing: Framing, http_1_1: bool) -> Option<&'b [u8]> {
    let at = fields.upgrade.as_ref().filter(|_| fields.connection.upgrade && http_1_1 && framing == Framing::None)?;
    let first = syntax::list(bytes.get(at.clone())?).next()?;
    (syntax::is_protocol(first) && !first.eq_ignore_ascii_case(b"h2c")).then_some(first)
}

/// What a request target names.
struct Target {
    authority: Span,
    path: Span,
    /// The path where the target does not spell it.
    rewritten: Option<Vec<u8>>,
}

impl Target {
    fn read(line: &RequestLine<'_>, method: &Method, host: Span) -> Result<Self, Refusal> {
        match line.target {
            [b'/', ..] => Ok(Self { authority: host, path: Span::block(line.target_at()), rewritten: None }),
            b"*" if *method == Method::OPTIONS => {
                Ok(Self { authority: host, path: Span::block(line.target_at()), rewritten: None })
            }
            target => Self::absolute(target, line.target_at().start, method),
        }
    }

    /// RFC 9112, section 3.2.3: host and port of a tunnel.
    #[cold]
    fn authority(line: &RequestLine<'_>) -> Result<Self, Refusal> {
        syntax::check_authority(line.target)?;
        // RFC 9110, section 9.3.6: without a port that can be connected to, it names nothing.
        let port = line.target.iter().rposition(|b| *b == b':').and_then(|at| line.target.get(at + 1..));
        let port = port.and_then(|port| str::from_utf8(port).ok()?.parse::<u16>().ok());
        if port.is_none_or(|port| port == 0) {
            return Err(Refusal::bad("invalid_target"));
        }
        Ok(Self { authority: Span::block(line.target_at()), path: Span::default(), rewritten: None })
    }

    /// RFC 9112, section 3.2.2. The target's authority overrides `Host`.
    #[cold]
    fn absolute(target: &[u8], at: usize, method: &Method) -> Result<Self, Refusal> {
        let Some((scheme, rest)) = target.split_at_checked("http://".len()) else {
            return Err(Refusal::bad("invalid_target"));
        };
        if !scheme.eq_ignore_ascii_case(b"http://") {
            let https = target.get(.."https://".len()).is_some_and(|s| s.eq_ignore_ascii_case(b"https://"));
            // RFC 9110, section 7.4: an https resource must not be asked for in the clear.
            return Err(if https {
                Refusal::new(StatusCode::MISDIRECTED_REQUEST, "https_in_the_clear")
            } else {
                Refusal::bad("invalid_target")
            });
        }
        let end = rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        syntax::check_authority(authority)?;
        let start = at + scheme.len();
        let rewritten = match path {
            [b'/', ..] => None,
            [] if *method == Method::OPTIONS => Some(b"*".to_vec()),
            _ => Some([b"/", path].concat()),
        };
        Ok(Self {
            authority: Span::block(start..start + end),
            path: Span::block(start + end..at + target.len()),
            rewritten,
        })
    }
}

#[cold]
fn oversized(text: &[u8], limits: HeadLimits) -> Refusal {
    let line = text.iter().position(|b| *b == b'\n').unwrap_or(text.len());
    if line >= limits.bytes { Refusal::new(StatusCode::URI_TOO_LONG, "uri_too_long") } else { too_large() }
}

/// 505 for a well-formed version that is not ours, 400 for anything else.
#[cold]
fn version_refusal(text: &[u8]) -> Refusal {
    let line = text.split(|b| *b == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let version = line.rsplit(|b| *b == b' ').next().unwrap_or_default();
    match version {
        // Ours, but not where it should be.
        b"HTTP/1.0" | b"HTTP/1.1" => Refusal::bad("invalid_version"),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
            Refusal::new(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "unsupported_version")
        }
        _ => Refusal::bad("invalid_version"),
    }
}
