//! How a message's content is delimited (RFC 9112, section 6).

use http::StatusCode;

use super::{Refusal, syntax};

/// Where a message's content ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// This many bytes, at least 1.
    Length(u64),
    /// Chunks (RFC 9112, section 7.1).
    Chunked,
    /// Everything up to the end of the connection; responses only.
    UntilClose,
}

/// What a head says of its content.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Delimiters {
    length: Option<u64>,
    /// The codings so far: how many, and whether the last is `chunked`.
    codings: u8,
    chunked_last: bool,
    chunked_before: bool,
    has_codings: bool,
}

impl Delimiters {
    /// Takes a `Content-Length`. A second one is refused even when it says the same: the peer may use either.
    pub(super) fn length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.length.is_some() {
            return Err(Refusal::bad("repeated_content_length"));
        }
        self.length = Some(number(value).ok_or(Refusal::bad("invalid_content_length"))?);
        Ok(())
    }

    /// Takes a `Transfer-Encoding`.
    pub(super) fn codings(&mut self, value: &[u8]) -> Result<(), Refusal> {
        self.has_codings = true;
        // Empty list elements are legal and read differently by different programs; nobody sends them in earnest.
        for coding in value.split(|b| *b == b',').map(<[u8]>::trim_ascii) {
            self.chunked_before |= self.chunked_last;
            self.chunked_last = coding.eq_ignore_ascii_case(b"chunked");
            self.codings = self.codings.saturating_add(1);
            if coding.is_empty() {
                return Err(Refusal::bad("invalid_transfer_encoding"));
            }
        }
        Ok(())
    }

    /// The declared length.
    pub(super) fn declared(&self) -> Option<u64> {
        self.length
    }

    /// True when there is a `Transfer-Encoding`.
    pub(super) fn has_codings(&self) -> bool {
        self.has_codings
    }

    /// The framing, by the rules both kinds of message share; `otherwise` applies when nothing is declared.
    pub(super) fn framing(&self, http_1_1: bool, otherwise: Framing) -> Result<Framing, Refusal> {
        if !self.has_codings {
            return Ok(match self.length {
                Some(0) => Framing::None,
                Some(length) => Framing::Length(length),
                None => otherwise,
            });
        }
        if !http_1_1 {
            // RFC 9112, section 6.1: faulty framing, even where it looks right.
            return Err(Refusal::bad("transfer_encoding_in_http_1_0"));
        }
        if self.length.is_some() {
            return Err(Refusal::bad("chunked_and_content_length"));
        }
        if !self.chunked_last || self.chunked_before {
            return Err(Refusal::bad("invalid_transfer_encoding"));
        }
        if self.codings > 1 {
            return Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, "unknown_transfer_coding"));
        }
        Ok(Framing::Chunked)
    }
}

/// `1*DIGIT`, at most 19 of them.
fn number(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 19 {
        return None;
    }
    value.iter().try_fold(0_u64, |sum, b| b.is_ascii_digit().then(|| sum * 10 + u64::from(b - b'0')))
}

/// What the `Connection` fields ask for (RFC 9110, section 7.6.1).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Connection {
    pub(super) close: bool,
    pub(super) upgrade: bool,
    /// Other names are listed, whose fields are for us alone.
    pub(super) names: bool,
}

impl Connection {
    /// Takes a `Connection` field.
    pub(super) fn take(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if value.eq_ignore_ascii_case(b"keep-alive") {
            return Ok(());
        }
        for option in syntax::list(value) {
            if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.upgrade = true;
            } else if !syntax::is_token(option) {
                return Err(Refusal::bad("invalid_connection_option"));
            } else if !option.eq_ignore_ascii_case(b"keep-alive") {
                self.names = true;
            }
        }
        Ok(())
    }
}
