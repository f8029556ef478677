//! Fields as both kinds of message treat them: what concerns this connection alone is taken out.

use std::ops::Range;

use ringway_api::{Chunk, Headers, Known};

use super::framing::{Connection, Delimiters};
use super::{HeadLimits, Lines, Refusal, refusal, syntax};

/// Room for what filters and the proxy itself add, so that adding does not move the fields.
const SPARE_FIELDS: usize = 6;

/// The fields of a head, and what those say that are not among them.
pub(super) struct Fields {
    pub(super) headers: Headers,
    pub(super) delimiters: Delimiters,
    pub(super) connection: Connection,
    pub(super) host: Option<Range<usize>>,
    pub(super) expect: Option<Range<usize>>,
    pub(super) upgrade: Option<Range<usize>>,
    /// Where the `Connection` fields' values lie, when they name other fields.
    naming: Vec<Range<usize>>,
    te_trailers: bool,
}

impl Fields {
    /// Takes the fields of a head whose first line ends at `first_end`.
    pub(super) fn take(
        block: &Chunk,
        first_end: usize,
        found: &[httparse::Header<'_>],
        len: usize,
    ) -> Result<Self, Refusal> {
        let bytes = block.as_slice();
        let mut lines = Lines::after(bytes, first_end)?;
        let mut fields = Self {
            headers: Headers::over_lines(block.clone(), found.len() + SPARE_FIELDS),
            delimiters: Delimiters::default(),
            connection: Connection::default(),
            host: None,
            expect: None,
            upgrade: None,
            naming: Vec::new(),
            te_trailers: false,
        };
        for header in found {
            let field = lines.field(header)?;
            let known = Known::lookup(field.name);
            match known {
                None => {}
                Some(Known::Host) => {
                    once(&mut fields.host, field.value_at, "repeated_host")?;
                    continue;
                }
                Some(Known::ContentLength) => fields.delimiters.length(field.value)?,
                Some(Known::TransferEncoding) => {
                    fields.delimiters.codings(field.value)?;
                    continue;
                }
                Some(Known::Connection) => {
                    let before = std::mem::take(&mut fields.connection.names);
                    fields.connection.take(field.value)?;
                    if fields.connection.names {
                        fields.naming.push(field.value_at);
                    }
                    fields.connection.names |= before;
                    continue;
                }
                Some(Known::Te) => {
                    fields.te_trailers |= syntax::list(field.value).any(|te| te.eq_ignore_ascii_case(b"trailers"));
                    continue;
                }
                Some(Known::Upgrade) => {
                    once(&mut fields.upgrade, field.value_at, "repeated_upgrade")?;
                    continue;
                }
                Some(Known::Expect) => {
                    once(&mut fields.expect, field.value_at, "repeated_expect")?;
                    continue;
                }
                Some(Known::KeepAlive | Known::ProxyConnection | Known::Http2Settings) => continue,
                Some(_) => {}
            }
            fields.headers.push_classified(known, field.name_at, field.value_at);
        }
        lines.end(len)?;
        if fields.connection.names {
            fields.drop_named(bytes);
        }
        if fields.te_trailers && fields.headers.append_known(Known::Te, b"trailers").is_err() {
            debug_assert!(false, "a constant is a valid value");
        }
        Ok(fields)
    }

    /// Removes the fields that `Connection` names. `Content-Length` stays: what delimits a message is not for a peer
    /// to take away.
    #[cold]
    fn drop_named(&mut self, bytes: &[u8]) {
        for range in &self.naming {
            for name in syntax::list(bytes.get(range.clone()).unwrap_or_default()) {
                self.headers
                    .retain(|known, field, _| known == Some(Known::ContentLength) || !field.eq_ignore_ascii_case(name));
                if name.eq_ignore_ascii_case(b"expect") {
                    self.expect = None;
                }
            }
        }
    }
}

fn once(place: &mut Option<Range<usize>>, at: Range<usize>, details: &'static str) -> Result<(), Refusal> {
    match place.replace(at) {
        None => Ok(()),
        Some(_) => Err(Refusal::bad(details)),
    }
}

/// A trailer section: field lines and the empty line, all of `block` (RFC 9112, section 7.1.2).
///
/// Fields that delimit or route a message are refused: whoever merged them into the head would read another message.
/// Fields for this connection are dropped.
pub(crate) fn trailers(block: &Chunk, limits: HeadLimits) -> Result<Headers, Refusal> {
    let bytes = block.as_slice();
    let mut found = vec![httparse::EMPTY_HEADER; limits.fields];
    let found = match httparse::parse_headers(bytes, &mut found).map_err(refusal)? {
        httparse::Status::Complete((len, found)) if len == bytes.len() => found,
        _ => return Err(Refusal::bad("malformed_trailers")),
    };
    let mut headers = Headers::over_lines(block.clone(), found.len());
    let mut lines = Lines { bytes, next: 0 };
    for header in found {
        let field = lines.field(header)?;
        match Known::lookup(field.name) {
            Some(Known::ContentLength | Known::TransferEncoding | Known::Host) => {
                return Err(Refusal::bad("forbidden_trailer"));
            }
            Some(
                Known::Connection
                | Known::KeepAlive
                | Known::ProxyConnection
                | Known::Te
                | Known::Trailer
                | Known::Upgrade
                | Known::Expect,
            ) => {}
            known => headers.push_classified(known, field.name_at, field.value_at),
        }
    }
    lines.end(bytes.len())?;
    Ok(headers)
}
