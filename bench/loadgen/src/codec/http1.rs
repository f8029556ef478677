//! HTTP/1.1 (RFC 9112), the client's side: one request at a time.

use std::io::Write;

use ringway_api::{Chunk, ChunkQueue};

use super::{Codec, Fault, Outcome, Prepared};
use crate::request::Request;

const MAX_HEAD: usize = 64 << 10;
const MAX_FIELDS: usize = 128;
/// The longest line of a chunk's size that is put up with.
const MAX_CHUNK_LINE: usize = 4096;

/// One connection.
#[derive(Default)]
pub(super) struct Http1 {
    tag: u32,
    waiting: bool,
    bodiless: bool,
    state: State,
    head: Head,
    /// A head of which only a part has come, or the last whole one: servers mostly send the same again, and then it
    /// need not be parsed.
    partial: Vec<u8>,
    known: Vec<u8>,
    known_head: Head,
    got: usize,
    closing: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    Counted(u64),
    Chunked(Chunked),
    UntilClose,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunked {
    /// In the line of a size: the size so far, digits so far, bytes of the line, and whether digits may follow.
    Size(u64, u8, usize, bool),
    Data(u64),
    /// The line feed after data, with an optional carriage return.
    AfterData,
    /// In the trailer section: bytes of the current line.
    Trailer(usize),
}

#[derive(Clone, Copy, Debug, Default)]
struct Head {
    status: u16,
    length: Option<u64>,
    chunked: bool,
    close: bool,
}

/// The whole request.
pub(super) fn prepare(request: &Request) -> Prepared {
    let mut bytes = Vec::with_capacity(256 + request.body.len());
    let mut line = |text: std::fmt::Arguments<'_>| bytes.write_fmt(text).unwrap_or_default();
    line(format_args!("{} {} HTTP/1.1\r\n", request.method, request.path));
    let has = |name: &str| request.headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name));
    if !has("host") {
        line(format_args!("Host: {}\r\n", request.authority));
    }
    for (name, value) in &request.headers {
        line(format_args!("{name}: {value}\r\n"));
    }
    let needs_length = !request.body.is_empty() || matches!(&*request.method, "POST" | "PUT" | "PATCH");
    if needs_length && !has("content-length") {
        line(format_args!("Content-Length: {}\r\n", request.body.len()));
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(&request.body);
    Prepared { head: Chunk::from(bytes), body: Chunk::default(), bodiless: request.method == "HEAD" }
}

impl Codec for Http1 {
    fn room(&self) -> usize {
        usize::from(!self.waiting && !self.closing)
    }

    fn send(&mut self, request: &Prepared, tag: u32, out: &mut ChunkQueue) {
        (self.tag, self.waiting, self.bodiless, self.got) = (tag, true, request.bodiless, 0);
        out.push(request.head.clone());
    }

    fn receive(
        &mut self,
        mut bytes: &[u8],
        _out: &mut ChunkQueue,
        done: &mut Vec<(u32, Outcome, usize)>,
    ) -> Result<(), Fault> {
        self.got += bytes.len();
        while !bytes.is_empty() {
            if !self.waiting {
                return Err(Fault("bytes that nothing asked for".into()));
            }
            bytes = match self.state {
                State::Head => self.take_head(bytes)?,
                State::Counted(left) => {
                    let taken = left.min(bytes.len() as u64);
                    self.state = State::Counted(left - taken);
                    bytes.get(taken as usize..).unwrap_or_default()
                }
                State::Chunked(at) => match take_chunked(at, bytes)? {
                    (Some(at), rest) => {
                        self.state = State::Chunked(at);
                        rest
                    }
                    (None, rest) => {
                        self.state = State::Counted(0);
                        rest
                    }
                },
                State::UntilClose => &[],
            };
            if self.state == State::Counted(0) {
                (self.state, self.waiting, self.closing) = (State::Head, false, self.head.close);
                done.push((self.tag, self.head.outcome(), self.got));
            }
        }
        Ok(())
    }

    fn ended(&mut self) -> Option<(u32, Outcome)> {
        self.closing = true;
        (self.state == State::UntilClose && std::mem::take(&mut self.waiting)).then(|| (self.tag, self.head.outcome()))
    }

    fn reusable(&self) -> bool {
        !self.closing
    }
}

impl Http1 {
    /// Takes a head or a part of one, and returns what follows it.
    fn take_head<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Fault> {
        let fresh = self.partial.is_empty();
        if fresh
            && !self.known.is_empty()
            && let Some(rest) = bytes.strip_prefix(&*self.known)
        {
            self.head = self.known_head;
            self.begin_body();
            return Ok(rest);
        }
        let before = self.partial.len();
        if !fresh {
            self.partial.extend_from_slice(bytes);
        }
        let source = if fresh { bytes } else { &*self.partial };
        let Some((head, len)) = parse(source)? else {
            if source.len() > MAX_HEAD {
                return Err(Fault(format!("a head longer than {MAX_HEAD} bytes")));
            }
            if fresh {
                self.partial.extend_from_slice(bytes);
            }
            return Ok(&[]);
        };
        let rest = bytes.get(len - before..).unwrap_or_default();
        if (100..200).contains(&head.status) && head.status != 101 {
            // Something comes before the reply; the reply is yet to come.
            self.partial.clear();
            return Ok(rest);
        }
        self.known.clear();
        self.known.extend_from_slice(source.get(..len).unwrap_or_default());
        (self.known_head, self.head) = (head, head);
        self.partial.clear();
        self.begin_body();
        Ok(rest)
    }

    /// RFC 9112 section 6.3.
    fn begin_body(&mut self) {
        self.state = if self.bodiless || matches!(self.head.status, 101 | 204 | 304) {
            State::Counted(0)
        } else if self.head.chunked {
            State::Chunked(Chunked::Size(0, 0, 0, true))
        } else {
            self.head.length.map_or(State::UntilClose, State::Counted)
        };
    }
}

impl Head {
    fn outcome(&self) -> Outcome {
        if self.status < 400 { Outcome::Good } else { Outcome::Status(self.status) }
    }
}

fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, Fault> {
    let mut slots = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut parsed = httparse::Response::new(&mut slots);
    let len = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(Fault::foreign(&format!("no HTTP/1.1 reply ({error})"), bytes)),
    };
    let mut head = Head { status: parsed.code.unwrap_or(0), close: parsed.version == Some(0), ..Head::default() };
    for field in parsed.headers.iter() {
        let value = std::str::from_utf8(field.value).unwrap_or_default().trim();
        if field.name.eq_ignore_ascii_case("content-length") {
            head.length = Some(value.parse().map_err(|_| Fault(format!("bad content-length {value:?}")))?);
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            head.chunked = value.to_ascii_lowercase().ends_with("chunked");
        } else if field.name.eq_ignore_ascii_case("connection") {
            for option in value.split(',').map(str::trim) {
                head.close |= option.eq_ignore_ascii_case("close");
                head.close &= !option.eq_ignore_ascii_case("keep-alive");
            }
        }
    }
    Ok(Some((head, len)))
}

/// Goes on in a chunked body (RFC 9112 section 7.1): the new place, `None` at its end, and what follows.
fn take_chunked(at: Chunked, bytes: &[u8]) -> Result<(Option<Chunked>, &[u8]), Fault> {
    let bad = |what: &str| Fault(format!("bad chunked body: {what}"));
    if let Chunked::Data(left) = at {
        let taken = left.min(bytes.len() as u64);
        let next = if taken == left { Chunked::AfterData } else { Chunked::Data(left - taken) };
        return Ok((Some(next), bytes.get(taken as usize..).unwrap_or_default()));
    }
    let Some((byte, rest)) = bytes.split_first() else { return Ok((Some(at), bytes)) };
    let next = match (at, byte) {
        (Chunked::Size(_, 0, ..), b'\n') => return Err(bad("a chunk without a size")),
        (Chunked::Size(0, ..), b'\n') => Chunked::Trailer(0),
        (Chunked::Size(size, ..), b'\n') => Chunked::Data(size),
        (Chunked::Size(_, _, MAX_CHUNK_LINE.., _), _) => return Err(bad("a line without end")),
        (Chunked::Size(size, digits @ 0..16, len, true), byte) if byte.is_ascii_hexdigit() => {
            let digit = char::from(*byte).to_digit(16).unwrap_or(0);
            Chunked::Size(size << 4 | u64::from(digit), digits + 1, len + 1, true)
        }
        (Chunked::Size(size, digits @ 1.., len, _), b'\r' | b';' | b' ' | b'\t') => {
            Chunked::Size(size, digits, len + 1, false)
        }
        (Chunked::Size(size, digits, len, false), _) => Chunked::Size(size, digits, len + 1, false),
        (Chunked::Size(..), _) => return Err(bad("a size that is no number")),
        (Chunked::AfterData, b'\r') => Chunked::AfterData,
        (Chunked::AfterData, b'\n') => Chunked::Size(0, 0, 0, true),
        (Chunked::AfterData, _) => return Err(bad("a chunk longer than its size")),
        (Chunked::Trailer(0), b'\n') => return Ok((None, rest)),
        (Chunked::Trailer(_), b'\n') => Chunked::Trailer(0),
        (Chunked::Trailer(len), b'\r') => Chunked::Trailer(len),
        (Chunked::Trailer(MAX_HEAD..), _) => return Err(bad("trailers without end")),
        (Chunked::Trailer(len), _) => Chunked::Trailer(len + 1),
        (Chunked::Data(_), _) => at,
    };
    Ok((Some(next), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(pieces: &[&[u8]], bodiless: bool) -> Result<(Vec<Outcome>, bool), Fault> {
        let mut codec = Http1::default();
        let (mut out, mut done) = (ChunkQueue::new(), Vec::new());
        codec.send(&Prepared { bodiless, ..Prepared::default() }, 0, &mut out);
        for piece in pieces {
            codec.receive(piece, &mut out, &mut done)?;
        }
        done.extend(codec.ended().map(|(tag, outcome)| (tag, outcome, 0)));
        Ok((done.into_iter().map(|(_, outcome, _)| outcome).collect(), codec.waiting))
    }

    const REPLIES: [(&str, Outcome); 5] = [
        ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", Outcome::Good),
        ("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", Outcome::Status(404)),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nt: 1\r\n\r\n", Outcome::Good),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 None\r\n\r\n", Outcome::Good),
        ("HTTP/1.0 200 OK\r\n\r\nuntil the end", Outcome::Good),
    ];

    #[test]
    fn replies_at_every_split() {
        for (reply, outcome) in REPLIES {
            for cut in 0..reply.len() {
                let (first, second) = reply.as_bytes().split_at(cut);
                assert_eq!(feed(&[first, second], false), Ok((vec![outcome], false)), "{reply:?} at {cut}");
            }
        }
    }

    #[test]
    fn the_same_head_again_is_known_and_another_is_not() {
        let mut codec = Http1::default();
        let (mut out, mut done) = (ChunkQueue::new(), Vec::new());
        for reply in [
            "200 OK\r\ncontent-length: 1\r\n\r\na",
            "200 OK\r\ncontent-length: 1\r\n\r\nb",
            "500 E\r\ncontent-length: 0\r\n\r\n",
        ] {
            codec.send(&Prepared::default(), 0, &mut out);
            codec.receive(format!("HTTP/1.1 {reply}").as_bytes(), &mut out, &mut done).unwrap();
        }
        let outcomes: Vec<_> = done.iter().map(|(_, outcome, _)| *outcome).collect();
        assert_eq!(outcomes, [Outcome::Good, Outcome::Good, Outcome::Status(500)]);
    }

    #[test]
    fn wrong_replies_are_faults() {
        for reply in [
            "SSH-2.0-x\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n",
        ] {
            assert!(feed(&[reply.as_bytes()], false).is_err(), "{reply:?}");
        }
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n";
        assert_eq!(feed(&[head], true), Ok((vec![Outcome::Good], false)), "HEAD");
        assert_eq!(feed(&[head], false), Ok((vec![], true)), "closed too early");
    }
}
