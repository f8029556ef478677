//! HTTP/2 (RFC 9113), the client's side: many streams, gRPC's calls among them.

mod stream;

use std::collections::BTreeMap;

use ringway_api::{Chunk, ChunkQueue};

use super::hpack::{self, write_field};
use super::{Codec, Fault, Limits, Messages, Outcome, Prepared};
use crate::request::Request;
use stream::{Outgoing, Stream};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;

/// The largest frame that anybody must take without having said so (section 4.2).
const MAX_FRAME: usize = 16 << 10;
const MAX_BLOCK: usize = 64 << 10;
/// Our receive windows, so large that they never hold a server back between updates.
const STREAM_WINDOW: u32 = 1 << 30;
const REFILL: u32 = 1 << 28;
/// The last stream that a connection may have, with some room.
const LAST_STREAM: u32 = 0x7fff_fff0;
/// Bytes of bodies that wait for the socket; the rest follows when they are out.
const MAX_WAITING: usize = 256 << 10;
/// Section 7.
const CANCEL: u32 = 8;

/// One connection.
pub(super) struct Http2 {
    grpc: bool,
    limits: Limits,
    /// What the server allows at a time, and in a window.
    allowed: usize,
    window: i64,
    initial_window: i64,
    next: u32,
    open: BTreeMap<u32, Stream>,
    held: Vec<u8>,
    block: Vec<u8>,
    received: u32,
    messages: Messages,
    /// More could be sent, and waits until what was sent is out.
    stalled: bool,
    greeted: bool,
    closing: bool,
}

/// A header block and a body.
pub(super) fn prepare(request: &Request, secure: bool, grpc: bool) -> Prepared {
    let mut block = Vec::with_capacity(256);
    let method = if grpc { "POST" } else { &*request.method };
    write_field(&mut block, ":method", method);
    write_field(&mut block, ":scheme", if secure { "https" } else { "http" });
    write_field(&mut block, ":authority", &request.authority);
    write_field(&mut block, ":path", &request.path);
    if grpc {
        write_field(&mut block, "content-type", "application/grpc");
        write_field(&mut block, "te", "trailers");
    }
    for (name, value) in &request.headers {
        let name = name.to_ascii_lowercase();
        // Section 8.2.2: they are of the connection.
        if !matches!(&*name, "host" | "connection" | "transfer-encoding" | "keep-alive" | "upgrade") {
            write_field(&mut block, &name, value);
        }
    }
    let mut body = Vec::new();
    if grpc {
        body.push(0);
        body.extend((request.body.len() as u32).to_be_bytes());
    }
    body.extend_from_slice(&request.body);
    Prepared { head: Chunk::from(block), body: Chunk::from(body), bodiless: false }
}

impl Http2 {
    pub(super) fn new(limits: Limits, grpc: bool) -> Self {
        Self {
            grpc,
            limits,
            allowed: usize::MAX,
            window: 65_535,
            initial_window: 65_535,
            next: 1,
            open: BTreeMap::new(),
            held: Vec::new(),
            block: Vec::new(),
            received: 0,
            messages: Messages::default(),
            stalled: false,
            greeted: false,
            closing: false,
        }
    }

    fn frame(
        &mut self,
        (kind, flags, id): (u8, u8, u32),
        payload: &[u8],
        out: &mut ChunkQueue,
        done: &mut Vec<(u32, Outcome, usize)>,
    ) -> Result<(), Fault> {
        if !self.block.is_empty() && kind != CONTINUATION {
            return Err(Fault("a header block that is not finished".into()));
        }
        match kind {
            DATA => {
                self.received += payload.len() as u32;
                if self.received >= REFILL {
                    push(out, (WINDOW_UPDATE, 0, 0), &std::mem::take(&mut self.received).to_be_bytes());
                }
                self.data(id, payload.len(), unpadded(payload, flags)?, flags & END_STREAM != 0, out);
                if flags & END_STREAM != 0 {
                    self.end(id, out, done);
                }
            }
            HEADERS => {
                let mut part = unpadded(payload, flags)?;
                if flags & PRIORITY != 0 {
                    part = part.get(5..).ok_or_else(short)?;
                }
                return self.header_block(part, flags, (id, flags & END_STREAM != 0), out, done);
            }
            // Whether the stream ends was said by the frame of headers before; replies whose heads take several frames
            // and have no body are put right by the flag kept there.
            CONTINUATION => return self.header_block(payload, flags, (id, false), out, done),
            RST_STREAM => {
                if let Some(stream) = self.open.remove(&id) {
                    // Section 8.1: after a whole reply, NO_ERROR says only that the rest of the request is not needed.
                    done.push((stream.tag, Outcome::Reset, stream.got));
                }
            }
            SETTINGS if flags & ACK == 0 => {
                self.greeted = true;
                self.settings(payload, out);
                push(out, (SETTINGS, ACK, 0), &[]);
            }
            PING if flags & ACK == 0 => push(out, (PING, ACK, 0), payload),
            GOAWAY => self.closing = true,
            WINDOW_UPDATE => {
                let more = i64::from(word(payload) & 0x7fff_ffff);
                if id == 0 {
                    self.window += more;
                    self.send_bodies(out);
                } else if let Some(stream) = self.open.get_mut(&id) {
                    stream.window += more;
                    self.send_body(id, out);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn header_block(
        &mut self,
        part: &[u8],
        flags: u8,
        (id, ends): (u32, bool),
        out: &mut ChunkQueue,
        done: &mut Vec<(u32, Outcome, usize)>,
    ) -> Result<(), Fault> {
        if self.block.is_empty() && flags & END_HEADERS == 0 {
            // Remembers whether the stream ends in front of the block.
            self.block.push(u8::from(ends));
        }
        let (fields, ends) = if self.block.is_empty() {
            (hpack::read(part), ends)
        } else {
            self.block.extend_from_slice(part);
            if self.block.len() > MAX_BLOCK {
                return Err(Fault(format!("a header block of more than {MAX_BLOCK} bytes")));
            }
            if flags & END_HEADERS == 0 {
                return Ok(());
            }
            let block = std::mem::take(&mut self.block);
            let (first, rest) = block.split_first().ok_or_else(short)?;
            (hpack::read(rest), *first != 0)
        };
        let fields = fields.ok_or_else(|| Fault("a header block that cannot be read".into()))?;
        if let Some(stream) = self.open.get_mut(&id) {
            // Interim answers come before the final one.
            stream.status = fields.status.filter(|status| *status >= 200).or(stream.status);
            stream.grpc_status = fields.grpc_status.or(stream.grpc_status);
        }
        if ends {
            self.end(id, out, done);
        }
        Ok(())
    }

    /// Content of a stream; of a padded frame, more of the windows was used than there is content.
    fn data(&mut self, id: u32, used: usize, content: &[u8], ends: bool, out: &mut ChunkQueue) {
        let Some(stream) = self.open.get_mut(&id) else { return };
        stream.got += content.len();
        stream.received += used as u32;
        if stream.received >= REFILL && !ends {
            push(out, (WINDOW_UPDATE, 0, id), &std::mem::take(&mut stream.received).to_be_bytes());
        }
        if !self.grpc {
            return;
        }
        let whole = stream.incoming.take(content);
        self.messages.received += u64::from(whole);
        if self.limits.call.ping_pong && whole > 0 {
            stream.outgoing.allow(whole);
            self.send_body(id, out);
        }
    }

    fn end(&mut self, id: u32, out: &mut ChunkQueue, done: &mut Vec<(u32, Outcome, usize)>) {
        let Some(stream) = self.open.remove(&id) else { return };
        if !stream.outgoing.is_done() {
            // Our side is open still, and the server would keep the stream for it.
            push(out, (RST_STREAM, 0, id), &CANCEL.to_be_bytes());
        }
        done.push((stream.tag, stream.outcome(self.grpc, self.limits.call), stream.got));
    }

    fn settings(&mut self, payload: &[u8], out: &mut ChunkQueue) {
        for entry in payload.chunks_exact(6) {
            let (name, value) = entry.split_at(2);
            let value = word(value);
            match name {
                [0, 3] => self.allowed = value as usize,
                [0, 4] => {
                    let change = i64::from(value) - self.initial_window;
                    self.initial_window = i64::from(value);
                    self.open.values_mut().for_each(|stream| stream.window += change);
                    self.send_bodies(out);
                }
                _ => {}
            }
        }
    }

    fn send_bodies(&mut self, out: &mut ChunkQueue) {
        let waiting: Vec<u32> =
            self.open.iter().filter(|(_, stream)| !stream.outgoing.is_done()).map(|(id, _)| *id).collect();
        waiting.into_iter().for_each(|id| self.send_body(id, out));
    }

    /// Sends of a body, or of messages, what the windows let out.
    fn send_body(&mut self, id: u32, out: &mut ChunkQueue) {
        let Some(stream) = self.open.get_mut(&id) else { return };
        while !self.stalled {
            let room = self.window.min(stream.window).clamp(0, MAX_FRAME as i64) as usize;
            let Some(count) = stream.outgoing.waits(room).filter(|count| *count > 0) else { return };
            if out.bytes() >= MAX_WAITING {
                self.stalled = true;
                return;
            }
            let (part, whole) = stream.outgoing.take(count);
            self.window -= part.len() as i64;
            stream.window -= part.len() as i64;
            self.messages.sent += u64::from(whole && self.grpc);
            let flags = if stream.outgoing.is_done() { END_STREAM } else { 0 };
            push_head(out, (DATA, flags, id), part.len());
            out.push(part);
        }
    }
}

impl Codec for Http2 {
    fn greet(&mut self, out: &mut ChunkQueue) {
        out.push(Chunk::from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
        let mut settings = Vec::new();
        // No dynamic table, no push, a window that is not in the way (section 6.5.2).
        for (name, value) in [(1u16, 0u32), (2, 0), (4, STREAM_WINDOW)] {
            settings.extend(name.to_be_bytes());
            settings.extend(value.to_be_bytes());
        }
        push(out, (SETTINGS, 0, 0), &settings);
        push(out, (WINDOW_UPDATE, 0, 0), &(STREAM_WINDOW - 65_535).to_be_bytes());
    }

    fn room(&self) -> usize {
        if self.closing || self.next > LAST_STREAM {
            return 0;
        }
        self.limits.streams.min(self.allowed).saturating_sub(self.open.len())
    }

    fn send(&mut self, request: &Prepared, tag: u32, out: &mut ChunkQueue) {
        let id = self.next;
        self.next += 2;
        let mut block = request.head.clone();
        let body = request.body.clone();
        let outgoing = if self.grpc { Outgoing::messages(body, self.limits.call) } else { Outgoing::body(body) };
        let (mut kind, mut flags) = (HEADERS, if outgoing.is_done() { END_STREAM } else { 0 });
        loop {
            let part = block.split_to(block.len().min(MAX_FRAME));
            flags |= if block.is_empty() { END_HEADERS } else { 0 };
            push_head(out, (kind, flags, id), part.len());
            out.push(part);
            if block.is_empty() {
                break;
            }
            (kind, flags) = (CONTINUATION, 0);
        }
        self.open.insert(id, Stream::new(tag, self.initial_window, outgoing));
        self.send_body(id, out);
    }

    fn receive(
        &mut self,
        bytes: &[u8],
        out: &mut ChunkQueue,
        done: &mut Vec<(u32, Outcome, usize)>,
    ) -> Result<(), Fault> {
        let mut held = std::mem::take(&mut self.held);
        let whole = if held.is_empty() {
            bytes
        } else {
            held.extend_from_slice(bytes);
            &*held
        };
        let mut rest = whole;
        if !self.greeted && rest.get(3).is_some_and(|kind| *kind != SETTINGS) {
            return Err(Fault::foreign("the server does not begin with HTTP/2 settings", rest));
        }
        while let Some((head, after)) = rest.split_at_checked(9) {
            let [a, b, c, kind, flags, id @ ..] = head else { break };
            let length = word(&[0, *a, *b, *c]) as usize;
            if length > MAX_FRAME {
                return Err(Fault("no HTTP/2 frame, or one that is too large".into()));
            }
            let Some((payload, after)) = after.split_at_checked(length) else { break };
            self.frame((*kind, *flags, word(id) & 0x7fff_ffff), payload, out, done)?;
            rest = after;
        }
        self.held = if rest.len() == whole.len() && !held.is_empty() { held } else { rest.to_vec() };
        Ok(())
    }

    fn drained(&mut self, out: &mut ChunkQueue) {
        if std::mem::take(&mut self.stalled) {
            self.send_bodies(out);
        }
    }

    fn messages(&mut self) -> Messages {
        std::mem::take(&mut self.messages)
    }

    fn reusable(&self) -> bool {
        !self.closing && self.next <= LAST_STREAM
    }
}

/// A frame's payload without its padding (section 6.1).
fn unpadded(payload: &[u8], flags: u8) -> Result<&[u8], Fault> {
    if flags & PADDED == 0 {
        return Ok(payload);
    }
    let (count, rest) = payload.split_first().ok_or_else(short)?;
    rest.len().checked_sub(usize::from(*count)).and_then(|end| rest.get(..end)).ok_or_else(short)
}

fn push(out: &mut ChunkQueue, head: (u8, u8, u32), payload: &[u8]) {
    push_head(out, head, payload.len());
    if !payload.is_empty() {
        out.push(Chunk::copy_from(payload));
    }
}

fn push_head(out: &mut ChunkQueue, (kind, flags, id): (u8, u8, u32), length: usize) {
    let [_, a, b, c] = (length as u32).to_be_bytes();
    let [d, e, f, g] = id.to_be_bytes();
    out.push(Chunk::copy_from(&[a, b, c, kind, flags, d, e, f, g]));
}

fn word(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |all, byte| all << 8 | u32::from(*byte))
}

fn short() -> Fault {
    Fault("a frame that is too short".into())
}

#[cfg(test)]
mod tests;
