//! Requests and responses, whatever protocol carries them (RFC 9110).

use std::fmt;

use http::{Method, StatusCode};

use crate::{Body, Headers, InvalidField, Known, Span};

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
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
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
    /// All other fields.
    pub headers: Headers,
    authority: Span,
    target: Span,
}

impl RequestHead {
    /// A request over `headers`, which also hold the text of its authority and of its path and query.
    pub fn received(method: Method, version: Version, headers: Headers, authority: Span, target: Span) -> Self {
        Self { method, version, scheme: Scheme::Http, headers, authority, target }
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

    /// Replaces the authority.
    ///
    /// # Errors
    /// [`InvalidField`] when the text could not stand in a `Host` field.
    pub fn set_authority(&mut self, authority: &str) -> Result<(), InvalidField> {
        if authority.bytes().any(|b| b <= b' ' || b >= 0x7f) {
            return Err(InvalidField);
        }
        self.authority = self.headers.add_text(authority.as_bytes());
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
        Ok(())
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
}

impl ResponseHead {
    /// A response made here, without fields.
    pub fn new(status: StatusCode) -> Self {
        Self { status, ..Self::default() }
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
#[derive(Debug)]
pub struct Request {
    /// Control data and fields.
    pub head: RequestHead,
    /// The content.
    pub body: Body,
}

/// A response with its body.
#[derive(Debug)]
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
