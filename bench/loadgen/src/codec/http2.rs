//! HTTP/2 (RFC 9113), the client's side: many streams, gRPC's unary calls among them.

use std::collections::BTreeMap;

use ringway_api::{Chunk, ChunkQueue};

use super::hpack::{self, write_field};
use super::{Codec, Fault, Outcome, Prepared};
use crate::request::Request;

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

/// One connection.
pub(super) struct Http2 {
    grpc: bool,
    streams: usize,
    /// What the server allows at a time, and in a window.
    allowed: usize,
    window: i64,
    initial_window: i64,
    next: u32,
    open: BTreeMap<u32, Stream>,
    held: Vec<u8>,
    block: Vec<u8>,
    received: u32,
    greeted: bool,
    closing: bool,
}

struct Stream {
    tag: u32,
    status: Option<u16>,
    grpc_status: Option<u16>,
    /// Of the request's body, what the windows have not let out.
    body: Chunk,
    window: i64,
    got: usize,
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
    pub(super) fn new(streams: usize, grpc: bool) -> Self {
        Self {
            grpc,
            streams,
            allowed: usize::MAX,
            window: 65_535,
            initial_window: 65_535,
            next: 1,
            open: BTreeMap::new(),
            held: Vec::new(),
            block: Vec::new(),
            received: 0,
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
        if !self.greeted && kind != SETTINGS {
            return Err(Fault("the server does not begin with HTTP/2 settings".into()));
        }
        if !self.block.is_empty() && kind != CONTINUATION {
            return Err(Fault("a header block that is not finished".into()));
        }
        match kind {
            DATA => {
                self.received += payload.len() as u32;
                if self.received >= REFILL {
                    push(out, (WINDOW_UPDATE, 0, 0), &std::mem::take(&mut self.received).to_be_bytes());
                }
                if let Some(stream) = self.open.get_mut(&id) {
                    stream.got += payload.len();
                }
                if flags & END_STREAM != 0 {
                    self.end(id, done);
                }
            }
            HEADERS => {
                let mut part = payload;
                if flags & PADDED != 0 {
                    let (count, rest) = part.split_first().ok_or_else(short)?;
                    part = rest.get(..rest.len().saturating_sub(usize::from(*count))).unwrap_or_default();
                }
                if flags & PRIORITY != 0 {
                    part = part.get(5..).ok_or_else(short)?;
                }
                return self.header_block(part, flags, id, flags & END_STREAM != 0, done);
            }
            // Whether the stream ends was said by the frame of headers before; replies whose heads take several frames
            // and have no body are put right by the flag kept there.
            CONTINUATION => return self.header_block(payload, flags, id, false, done),
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
                    let waiting: Vec<u32> =
                        self.open.iter().filter(|(_, s)| !s.body.is_empty()).map(|(id, _)| *id).collect();
                    waiting.into_iter().for_each(|id| self.send_body(id, out));
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
        id: u32,
        ends: bool,
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
            self.end(id, done);
        }
        Ok(())
    }

    fn end(&mut self, id: u32, done: &mut Vec<(u32, Outcome, usize)>) {
        let Some(stream) = self.open.remove(&id) else { return };
        let outcome = match (stream.status, stream.grpc_status) {
            (Some(status), _) if status >= 400 => Outcome::Status(status),
            (_, Some(0)) if self.grpc => Outcome::Good,
            // A call without a status has failed with UNKNOWN (2).
            (_, status) if self.grpc => Outcome::Status(status.unwrap_or(2)),
            _ => Outcome::Good,
        };
        done.push((stream.tag, outcome, stream.got));
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
                    let ids: Vec<u32> = self.open.keys().copied().collect();
                    ids.into_iter().for_each(|id| self.send_body(id, out));
                }
                _ => {}
            }
        }
    }

    /// Sends of a body what the windows let out.
    fn send_body(&mut self, id: u32, out: &mut ChunkQueue) {
        let Some(stream) = self.open.get_mut(&id) else { return };
        while !stream.body.is_empty() {
            let room = self.window.min(stream.window).clamp(0, MAX_FRAME as i64) as usize;
            if room == 0 {
                return;
            }
            let part = stream.body.split_to(room.min(stream.body.len()));
            self.window -= part.len() as i64;
            stream.window -= part.len() as i64;
            let flags = if stream.body.is_empty() { END_STREAM } else { 0 };
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
        self.streams.min(self.allowed).saturating_sub(self.open.len())
    }

    fn send(&mut self, request: &Prepared, tag: u32, out: &mut ChunkQueue) {
        let id = self.next;
        self.next += 2;
        let mut block = request.head.clone();
        let (mut kind, mut flags) = (HEADERS, if request.body.is_empty() { END_STREAM } else { 0 });
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
        let body = request.body.clone();
        let window = self.initial_window;
        self.open.insert(id, Stream { tag, status: None, grpc_status: None, body, window, got: 0 });
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

    fn reusable(&self) -> bool {
        !self.closing && self.next <= LAST_STREAM
    }
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
