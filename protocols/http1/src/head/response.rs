//! Response heads (RFC 9112, section 4).

use http::{Method, StatusCode};
use httparse::Status;
use ringway_api::{Chunk, Known, ResponseHead, Version};

use super::fields::Fields;
use super::{Framing, HeadLimits, Refusal, refusal, skip_blanks, too_large, with_slots};

/// A response's head and what it says of the connection.
#[derive(Debug)]
pub struct ResponseParts {
    /// The head, without fields for this connection; `Content-Length` stays in.
    pub head: ResponseHead,
    /// How its content is delimited.
    pub framing: Framing,
    /// The connection may carry another exchange once the content has ended.
    pub keep_alive: bool,
}

/// What a response answers.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The request's method.
    pub method: &'a Method,
    /// The protocol that it asked to upgrade to.
    pub upgrade: Option<&'a [u8]>,
}

/// The response head at the start of `block`, which answers what was `asked`, and its length; or `None` when more bytes
/// are needed.
///
/// # Errors
/// Why the response must not be passed on. The status in it means nothing.
pub fn decode_response(
    block: &Chunk,
    asked: Asked<'_>,
    limits: HeadLimits,
) -> Result<Option<(ResponseParts, usize)>, Refusal> {
    let bytes = block.as_slice();
    if matches!(bytes.first(), Some(first) if *first != b'H') {
        return Err(Refusal::bad("invalid_first_line"));
    }
    with_slots(limits.fields, |slots| {
        let mut response = httparse::Response::new(&mut []);
        let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut response, bytes, slots);
        let len = match parsed.map_err(refusal)? {
            Status::Complete(len) if len <= limits.bytes => len,
            Status::Partial if bytes.len() <= limits.bytes => return Ok(None),
            _ => return Err(too_large()),
        };
        let (Some(minor), Some(code)) = (response.version, response.code) else {
            return Err(Refusal::bad("invalid_first_line"));
        };
        let end = first_line_end(bytes)?;
        let fields = Fields::take(block, end, response.headers, len)?;
        Ok(Some((assemble(bytes, fields, minor, code, asked)?, len)))
    })
}

/// Where the text of the status line ends. The reason phrase may hold anything but line ends and other controls.
fn first_line_end(bytes: &[u8]) -> Result<usize, Refusal> {
    const CODE_END: usize = "HTTP/1.1 200".len();
    let rest = bytes.get(CODE_END..).unwrap_or_default();
    let end = rest.iter().position(|b| *b != b'\t' && (*b < b' ' || *b == 0x7f)).unwrap_or(rest.len());
    // `httparse` takes spaces and blanks between the parts as it finds them; the code must stand where it should.
    let spaced = bytes.get(8) == Some(&b' ') && skip_blanks(bytes, 8) == 9;
    if spaced { Ok(CODE_END + end) } else { Err(Refusal::bad("invalid_first_line")) }
}

fn assemble(bytes: &[u8], fields: Fields, minor: u8, code: u16, asked: Asked<'_>) -> Result<ResponseParts, Refusal> {
    // RFC 9110, section 15: what lies outside 100..600 is no status code.
    let status = match StatusCode::from_u16(code) {
        Ok(status) if code < 600 => status,
        _ => return Err(Refusal::bad("invalid_status")),
    };
    let http_1_1 = minor == 1;
    if status == StatusCode::SWITCHING_PROTOCOLS && !(http_1_1 && is_upgrade(bytes, &fields, asked.upgrade)) {
        return Err(Refusal::bad("unsolicited_upgrade"));
    }
    let delimiters = fields.delimiters;
    let mut headers = fields.headers;
    // Both at once, codings in HTTP/1.0 and the like are refused wherever they appear.
    let declared = delimiters.framing(http_1_1, Framing::UntilClose)?;
    let tunnel = status == StatusCode::SWITCHING_PROTOCOLS || (*asked.method == Method::CONNECT && status.is_success());
    let framing = if tunnel {
        // RFC 9110, sections 7.8 and 9.3.6: whatever follows is the tunnel's, and fields that say otherwise are
        // ignored.
        headers.remove_known(Known::ContentLength);
        Framing::UntilClose
    } else if status.is_informational() || status == StatusCode::NO_CONTENT {
        // RFC 9112, section 6.3: no content, whatever the head says. One that says otherwise invites its reader to
        // take what follows for content.
        if delimiters.has_codings() || delimiters.declared().is_some_and(|length| length > 0) {
            return Err(Refusal::bad("content_in_bodiless_response"));
        }
        headers.remove_known(Known::ContentLength);
        Framing::None
    } else if status == StatusCode::NOT_MODIFIED || *asked.method == Method::HEAD {
        Framing::None
    } else {
        declared
    };
    let keep_alive = http_1_1 && !fields.connection.close && framing != Framing::UntilClose;
    let version = if http_1_1 { Version::Http11 } else { Version::Http10 };
    Ok(ResponseParts { head: ResponseHead { status, version, headers, local: None }, framing, keep_alive })
}

/// Whether the response goes over to the protocol that was asked for (RFC 9110, section 15.2.2).
fn is_upgrade(bytes: &[u8], fields: &Fields, asked: Option<&[u8]>) -> bool {
    let (Some(at), Some(asked)) = (&fields.upgrade, asked) else { return false };
    let named = bytes.get(at.clone()).unwrap_or_default().trim_ascii();
    fields.connection.upgrade && named.eq_ignore_ascii_case(asked)
}
