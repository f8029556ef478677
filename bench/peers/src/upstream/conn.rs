//! One connection of the upstream: a request parser and a reply in flight.

use std::io::{self, ErrorKind, Read, Write};
use std::rc::Rc;

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};

use super::Replies;
use crate::message::{self, TCP_MESSAGE};

/// What became of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Served {
    Open,
    Closed,
}

/// A stream of either kind.
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Small replies leave at once.
    pub(crate) fn prepare(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_nodelay(true),
            Self::Unix(_) => Ok(()),
        }
    }

    fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Tcp(stream) => stream,
            Self::Unix(stream) => stream,
        }
    }
}

impl Source for Socket {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.source().register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.source().reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.source().deregister(registry)
    }
}

impl Read for Socket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(into),
            Self::Unix(stream) => stream.read(into),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection and where its request and reply stand.
pub(crate) struct Conn {
    stream: Socket,
    input: Input,
    /// Bytes of requests that wait for the reply before them, or for their end.
    pending: Vec<u8>,
    reply: Option<(Rc<[u8]>, usize)>,
    close_after_reply: bool,
}

/// Where in the stream of requests the connection is.
#[derive(Debug, PartialEq, Eq)]
enum Input {
    Head,
    /// In a body; the reply follows it.
    Body {
        left: u64,
        answer: Answer,
    },
    /// Echo: bytes of the current message so far.
    Message {
        got: usize,
    },
    /// Dubbo calls.
    Calls,
}

/// What the reply will be.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    reply: Rc<[u8]>,
    close: bool,
}

impl Conn {
    pub(crate) fn http(stream: Socket) -> Self {
        Self::new(stream, Input::Head)
    }

    pub(crate) fn echo(stream: Socket) -> Self {
        Self::new(stream, Input::Message { got: 0 })
    }

    fn new(stream: Socket, input: Input) -> Self {
        Self { stream, input, pending: Vec::new(), reply: None, close_after_reply: false }
    }

    /// Does all that can be done without waiting.
    pub(crate) fn drive(&mut self, replies: &Replies, scratch: &mut [u8]) -> Served {
        loop {
            if self.flush() == Served::Closed {
                return Served::Closed;
            }
            if self.reply.is_some() {
                return Served::Open;
            }
            if !self.pending.is_empty() {
                let held = std::mem::take(&mut self.pending);
                if self.advance(&held, replies).is_err() {
                    return Served::Closed;
                }
                if self.reply.is_some() {
                    continue;
                }
            }
            let got = match self.stream.read(scratch) {
                Ok(0) => return Served::Closed,
                Ok(got) => got,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Served::Open,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return Served::Closed,
            };
            let bytes = scratch.get(..got).unwrap_or(&[]);
            if self.pending.is_empty() {
                if self.advance(bytes, replies).is_err() {
                    return Served::Closed;
                }
            } else {
                self.pending.extend_from_slice(bytes);
            }
            if self.flush() == Served::Closed {
                return Served::Closed;
            }
            // A short read means that the socket is empty: what comes next is a new edge.
            if got < scratch.len() && self.pending.is_empty() {
                return Served::Open;
            }
        }
    }

    /// Consumes `bytes` up to the end of one request, sets its reply, and keeps the rest.
    fn advance(&mut self, bytes: &[u8], replies: &Replies) -> Result<(), String> {
        let (used, answer) = self.input.step(bytes, replies)?;
        if let Some(Answer { reply, close }) = answer {
            self.reply = Some((reply, 0));
            self.close_after_reply = close;
        }
        self.keep(bytes, used);
        Ok(())
    }

    fn keep(&mut self, bytes: &[u8], from: usize) {
        self.pending.extend_from_slice(bytes.get(from..).unwrap_or(&[]));
    }

    fn flush(&mut self) -> Served {
        let Some((bytes, sent)) = &mut self.reply else { return Served::Open };
        while let Some(rest) = bytes.get(*sent..).filter(|r| !r.is_empty()) {
            match self.stream.write(rest) {
                Ok(n) => *sent += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Served::Open,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Served::Closed,
            }
        }
        self.reply = None;
        if self.close_after_reply { Served::Closed } else { Served::Open }
    }
}

impl Input {
    /// How many of `bytes` are used up, and the answer if they complete a request.
    fn step(&mut self, bytes: &[u8], replies: &Replies) -> Result<(usize, Option<Answer>), String> {
        match self {
            Self::Message { got: 0 } if bytes.starts_with(&message::dubbo::MAGIC) => {
                *self = Self::Calls;
                self.step(bytes, replies)
            }
            Self::Calls => {
                let (used, answers) = message::dubbo::answer_all(bytes)?;
                let answer = Answer { reply: answers.into(), close: false };
                Ok((used, (used > 0).then_some(answer)))
            }
            Self::Message { got } => {
                let used = (TCP_MESSAGE - *got).min(bytes.len());
                *got += used;
                if *got < TCP_MESSAGE {
                    return Ok((used, None));
                }
                *got = 0;
                Ok((used, Some(Answer { reply: replies.tcp.clone(), close: false })))
            }
            Self::Head => {
                let Some(head) = message::parse_request(bytes)? else { return Ok((0, None)) };
                let answer = Answer { reply: replies.to(head.path), close: head.close };
                let (head_len, length) = (head.head_len, head.length);
                if length == 0 {
                    return Ok((head_len, Some(answer)));
                }
                *self = Self::Body { left: length, answer };
                let (used, answer) = self.step(bytes.get(head_len..).unwrap_or(&[]), replies)?;
                Ok((head_len + used, answer))
            }
            Self::Body { left, answer } => {
                let used = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= used as u64;
                if *left > 0 {
                    return Ok((used, None));
                }
                let answer = answer.clone();
                *self = Self::Head;
                Ok((used, Some(answer)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(replies: &Replies, mut input: Input, pieces: &[&[u8]]) -> Vec<usize> {
        let (mut held, mut sizes) = (Vec::new(), Vec::new());
        for piece in pieces {
            held.extend_from_slice(piece);
            loop {
                let (used, answer) = input.step(&held, replies).unwrap();
                held.drain(..used);
                let Some(answer) = answer else { break };
                sizes.push(answer.reply.len());
            }
        }
        assert!(held.is_empty());
        sizes
    }

    #[test]
    fn requests_at_every_split() {
        let mut bytes = message::post("h", message::UPLOAD, 50);
        bytes.extend(message::get("h", "/1k"));
        bytes.extend(message::get("h", "/nowhere"));
        let want = vec![message::reply(message::SMALL).len(), message::reply(1024).len(), message::not_found().len()];
        let replies = Replies::new();
        for cut in 0..=bytes.len() {
            assert_eq!(answers(&replies, Input::Head, &[&bytes[..cut], &bytes[cut..]]), want, "cut at {cut}");
        }
    }

    #[test]
    fn echo_counts_messages() {
        let bytes = [0; TCP_MESSAGE];
        let want = vec![TCP_MESSAGE; 2];
        assert_eq!(answers(&Replies::new(), Input::Message { got: 0 }, &[&bytes[..10], &bytes, &bytes[10..]]), want);
    }

    #[test]
    fn chunked_requests_are_refused() {
        let bytes = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
        assert!(Input::Head.step(bytes, &Replies::new()).is_err());
    }
}
