//! Requests and responses, whatever protocol carries them (RFC 9110).

use std::fmt;
use std::time::Duration;

use http::{Method, StatusCode};

use crate::{Body, Headers, InvalidField, Known, ResponseFlags, Span};

/// The protocol version a message arrived in, for logs, `Via` and framing rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0 (RFC 1945)
    Http10,
    /// HTTP/1.1 (RFC 9112)
    #[default]
    Http11,
    /// HTTP/2 (RFC 9113)
    Http2,
    /// A protocol of framed calls, by its name.
    Rpc(&'static str),
}

impl Version {
    /// Whether it is one of HTTP.
    pub const fn is_http(self) -> bool {
        !matches!(self, Self::Rpc(_))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
            Self::Rpc(name) => name,
        })
    }
}

/// The scheme of a request's target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// `http`
    #[default]
    Http,
    /// `https`
    Https,
}

impl Scheme {
    /// `http` or `https`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// What a request asks its connection or stream to become.
///
/// Once the final response says yes ([`accepts`](Self::accepts)), the bodies of both messages are the tunnel's bytes:
/// each streams until its side ends, the end of one does not end the other. Until then the request's body is pending.
/// A response that says no is a response like any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tunnel {
    /// A tunnel to the authority (`CONNECT`; RFC 9110, section 9.3.6). The path is empty. Accepted by any 2xx.
    Connect,
    /// Another protocol, named by this text of the head in lower case, such as `websocket`: `Upgrade` in HTTP/1.1 (RFC
    /// 9110, section 7.8), `:protocol` of an extended CONNECT in HTTP/2 (RFC 8441), which codecs translate: the method
    /// is `GET` here, the response that accepts is 101.
    Upgrade(Span),
}

impl Tunnel {
    /// Whether a response with this status makes the tunnel.
    pub fn accepts(self, status: StatusCode) -> bool {
        match self {
            Self::Connect => status.is_success(),
            Self::Upgrade(_) => status == StatusCode::SWITCHING_PROTOCOLS,
        }
    }
}

/// A request's control data and header fields (RFC 9110, section 6.2).
///
/// The authority is kept apart from the fields, as HTTP/2 does; codecs take it out of `Host` and put it back.
/// Hop-by-hop fields never reach it.
#[derive(Clone, Debug, Default)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// The version it arrived in.
    pub version: Version,
    /// The scheme.
    pub scheme: Scheme,
    /// What the request asks to become, if it is more than a request.
    pub tunnel: Option<Tunnel>,
    /// How long its caller waits for an answer, from the beginning, where the protocol says so in its frames. A route's
    /// timeout can only shorten it.
    pub timeout: Option<Duration>,
    /// All other fields.
    pub headers: Headers,
    authority: Span,
    target: Span,
    retargeted: bool,
}

impl RequestHead {
    /// A request over `headers`, which also hold the text of its authority and of its path and query.
    pub fn received(method: Method, version: Version, headers: Headers, authority: Span, target: Span) -> Self {
        Self {
            method,
            version,
            scheme: Scheme::Http,
            tunnel: None,
            timeout: None,
            headers,
            authority,
            target,
            retargeted: false,
        }
    }

    /// A request made here.
    pub fn new(method: Method, authority: &str, path_and_query: &str) -> Self {
        let mut head = Self { method, ..Self::default() };
        head.authority = head.headers.add_text(authority.as_bytes());
        head.target = head.headers.add_text(path_and_query.as_bytes());
        head
    }

    /// `host[:port]`; empty when the request had none.
    pub fn authority(&self) -> &[u8] {
        self.headers.text(self.authority)
    }

    /// The path with its query, starting with `/`; or `*` (RFC 9110, section 9.3.7).
    pub fn path_and_query(&self) -> &[u8] {
        self.headers.text(self.target)
    }

    /// The path without the query.
    pub fn path(&self) -> &[u8] {
        let target = self.path_and_query();
        let end = target.iter().position(|b| *b == b'?').unwrap_or(target.len());
        target.get(..end).unwrap_or_default()
    }

    /// What follows the first `?`, if there is one.
    pub fn query(&self) -> Option<&[u8]> {
        let target = self.path_and_query();
        let at = target.iter().position(|b| *b == b'?')?;
        target.get(at + 1..)
    }

    /// The protocol it asks to upgrade to, in lower case.
    pub fn upgrade(&self) -> Option<&[u8]> {
        match self.tunnel {
            Some(Tunnel::Upgrade(token)) => Some(self.headers.text(token)),
            _ => None,
        }
    }

    /// Makes it a request to upgrade to `protocol`.
    pub fn set_upgrade(&mut self, protocol: &[u8]) {
        let token = self.headers.add_text(&protocol.to_ascii_lowercase());
        self.tunnel = Some(Tunnel::Upgrade(token));
    }

    /// Replaces the authority.
    ///
    /// # Errors
    /// [`InvalidField`] when the text could not stand in a `Host` field.
    pub fn set_authority(&mut self, authority: &str) -> Result<(), InvalidField> {
        if authority.bytes().any(|b| b <= b' ' || b >= 0x7f) {
            return Err(InvalidField);
        }
        self.authority = self.headers.add_text(authority.as_bytes());
        self.headers.note_edit();
        Ok(())
    }

    /// Replaces path and query.
    ///
    /// # Errors
    /// [`InvalidField`] when the text could not stand in a request line.
    pub fn set_path_and_query(&mut self, target: &[u8]) -> Result<(), InvalidField> {
        if target.is_empty() || target.iter().any(|b| *b <= b' ' || *b >= 0x7f) {
            return Err(InvalidField);
        }
        self.target = self.headers.add_text(target);
        self.retargeted = true;
        self.headers.note_edit();
        Ok(())
    }

    /// Whether path and query have been replaced.
    pub fn is_retargeted(&self) -> bool {
        self.retargeted
    }

    /// True for methods whose repetition has no further effect (RFC 9110, section 9.2.2).
    pub fn is_idempotent(&self) -> bool {
        self.method.is_idempotent()
    }
}

/// A response's status and header fields. Hop-by-hop fields never reach it.
#[derive(Clone, Debug, Default)]
pub struct ResponseHead {
    /// The status code.
    pub status: StatusCode,
    /// The version it arrived in.
    pub version: Version,
    /// The fields.
    pub headers: Headers,
    /// Where a response comes from that no host has sent. On the heap: hardly a response has it, and each has room for
    /// it otherwise.
    pub local: Option<Box<LocalOrigin>>,
}

/// Where a response comes from that no host has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalOrigin {
    /// Who made it.
    pub source: LocalSource,
    /// The status that it had; the head's is another one where the protocol says it otherwise, gRPC for one.
    pub status: StatusCode,
    /// The flags it is logged with.
    pub flags: ResponseFlags,
    /// One word for what happened, such as `route_not_found`.
    pub details: &'static str,
}

/// Who has made a response that no host has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalSource {
    /// The proxy, or a filter by [`Action::Reply`](crate::Action::Reply): it says why there is no other response.
    Reply,
    /// The route: an answer that is written down, or a redirect.
    Route,
    /// A filter, by [`Action::Respond`](crate::Action::Respond).
    Filter,
}

impl ResponseHead {
    /// A response made here, without fields.
    pub fn new(status: StatusCode) -> Self {
        Self { status, ..Self::default() }
    }

    /// Notes that no host has sent it.
    pub fn set_local(&mut self, source: LocalSource, flags: ResponseFlags, details: &'static str) {
        self.local = Some(Box::new(LocalOrigin { source, status: self.status, flags, details }));
    }

    /// Sets `content-type`.
    #[must_use]
    pub fn with_content_type(mut self, value: &'static str) -> Self {
        // A constant of ours; were it not valid, the field would be missing and nothing else.
        if self.headers.set_known(Known::ContentType, value.as_bytes()).is_err() {
            debug_assert!(false, "content type {value:?}");
        }
        self
    }
}

/// A request with its body.
#[derive(Debug, Default)]
pub struct Request {
    /// Control data and fields.
    pub head: RequestHead,
    /// The content.
    pub body: Body,
}

/// A response with its body.
#[derive(Debug, Default)]
pub struct Response {
    /// Status and fields.
    pub head: ResponseHead,
    /// The content.
    pub body: Body,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_splits_at_its_first_question_mark() {
        let mut head = RequestHead::new(Method::GET, "example.com", "/a/b?c=d?e");
        assert_eq!((head.path(), head.query()), (&b"/a/b"[..], Some(&b"c=d?e"[..])));
        assert_eq!(head.authority(), b"example.com");
        head.set_path_and_query(b"/").unwrap();
        assert_eq!((head.path(), head.query()), (&b"/"[..], None));
        assert!(head.set_path_and_query(b"/ HTTP/1.1\r\n").is_err());
        assert!(head.set_authority("a\r\nb: c").is_err());
    }
}
