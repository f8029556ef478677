//! Calls in frames with a number each: Dubbo2 and SOFA bolt v1. Many may be under way at a time.

use ringway_api::{Chunk, ChunkQueue};

use super::{Codec, Fault, Outcome, Prepared};
use crate::request::Request;

/// The largest answer that is believed; Dubbo's own default limit is 8 MiB.
const MAX_BODY: usize = 64 << 20;
/// The string of an echo when no body is given.
const TEXT: &str = "hello";

/// Where a frame keeps what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// 16 bytes: magic, flags, status, number of 8 bytes, length of 4.
    Dubbo,
    /// 22 bytes of a request, 20 of an answer.
    Bolt,
}

/// One connection.
pub(super) struct Frames {
    layout: Layout,
    room: usize,
    under_way: usize,
    held: Vec<u8>,
    /// Bytes of an answer's body that are yet to come and are not looked at.
    skip: usize,
    ending: Option<(u32, Outcome, usize)>,
}

/// An echo call in hessian2; the path is `/service/method`.
pub(super) fn dubbo(request: &Request) -> Prepared {
    let (service, method) = request.path.trim_matches('/').rsplit_once('/').unwrap_or(("demo.Echo", "echo"));
    let text = std::str::from_utf8(&request.body).ok().filter(|text| !text.is_empty()).unwrap_or(TEXT);
    let mut body = Vec::new();
    let version = request.headers.iter().find(|(name, _)| name == "version").map_or("0.0.0", |(_, value)| value);
    for part in ["2.0.2", service, version, method, "Ljava/lang/String;", text] {
        write_string(&mut body, part);
    }
    body.push(b'H');
    for (name, value) in [("path", service), ("interface", service), ("version", version)] {
        write_string(&mut body, name);
        write_string(&mut body, value);
    }
    for (name, value) in request.headers.iter().filter(|(name, _)| name != "version") {
        write_string(&mut body, name);
        write_string(&mut body, value);
    }
    body.push(b'Z');
    let head = vec![0xda, 0xbb, 0xc2, 0];
    Prepared { head: Chunk::from(head), body: Chunk::from(body), bodiless: false }
}

/// A request with the path as its class and the headers as its header section.
pub(super) fn bolt(request: &Request) -> Prepared {
    const CLASS: &str = "com.alipay.sofa.rpc.core.request.SofaRequest";
    let (service, method) = request.path.trim_matches('/').rsplit_once('/').unwrap_or(("demo.Echo:1.0", "echo"));
    let mut fields = Vec::new();
    let own = [("sofa_head_target_service", service), ("sofa_head_method_name", method), ("service", service)];
    let given = request.headers.iter().map(|(name, value)| (&**name, &**value));
    for text in own.into_iter().chain(given).flat_map(|(name, value)| [name, value]) {
        fields.extend((text.len() as u32).to_be_bytes());
        fields.extend(text.as_bytes());
    }
    let content = if request.body.is_empty() { TEXT.as_bytes() } else { &*request.body };
    // Protocol 1, request, command RPC (1), version 1; then number, codec hessian2 (1), timeout in ms, lengths.
    let head = vec![1, 1, 0, 1, 1];
    let mut rest = vec![1];
    rest.extend(10_000u32.to_be_bytes());
    rest.extend((CLASS.len() as u16).to_be_bytes());
    rest.extend((fields.len() as u16).to_be_bytes());
    rest.extend((content.len() as u32).to_be_bytes());
    rest.extend(CLASS.as_bytes());
    rest.extend(fields);
    rest.extend(content);
    Prepared { head: Chunk::from(head), body: Chunk::from(rest), bodiless: false }
}

impl Frames {
    pub(super) fn new(layout: Layout, room: usize) -> Self {
        Self { layout, room, under_way: 0, held: Vec::new(), skip: 0, ending: None }
    }

    fn finish(&mut self, done: &mut Vec<(u32, Outcome, usize)>) {
        if self.skip == 0
            && let Some(ended) = self.ending.take()
        {
            done.push(ended);
            self.under_way = self.under_way.saturating_sub(1);
        }
    }

    /// An answer's head at the front of what is held: its size, the size of what follows, and what it says.
    fn head(&self) -> Result<Option<(usize, usize, Frame)>, Fault> {
        match self.layout {
            Layout::Dubbo => {
                let Some(head) = self.held.get(..16) else { return self.check_magic(&[0xda, 0xbb]) };
                let [0xda, 0xbb, flags, status, number @ ..] = head else { return self.check_magic(&[0xda, 0xbb]) };
                let length = word(number.get(8..).unwrap_or_default()) as usize;
                let number = word(number.get(..8).unwrap_or_default());
                let frame = match (flags & 0x80 != 0, flags & 0x20 != 0) {
                    // A heartbeat of the server asks for an answer with its number.
                    (true, _) => Frame::Ping(number),
                    (false, true) => Frame::Other,
                    (false, false) if *status == 20 => Frame::Answer(number as u32, Outcome::Good),
                    (false, false) => Frame::Answer(number as u32, Outcome::Status(u16::from(*status))),
                };
                Ok(Some((16, length, frame)))
            }
            Layout::Bolt => {
                let Some(head) = self.held.get(..20) else { return self.check_magic(&[1]) };
                let [1, kind, _, command, _, rest @ ..] = head else { return self.check_magic(&[1]) };
                if *kind != 0 {
                    return Err(Fault("a bolt frame that is no answer".into()));
                }
                let number = word(rest.get(..4).unwrap_or_default()) as u32;
                let status = word(rest.get(5..7).unwrap_or_default()) as u16;
                let part = |from: usize, to: usize| word(rest.get(from..to).unwrap_or_default()) as usize;
                let length = part(7, 9) + part(9, 11) + part(11, 15);
                let outcome = if status == 0 { Outcome::Good } else { Outcome::Status(status) };
                let frame = if *command == 0 { Frame::Other } else { Frame::Answer(number, outcome) };
                Ok(Some((20, length, frame)))
            }
        }
    }

    fn check_magic(&self, magic: &[u8]) -> Result<Option<(usize, usize, Frame)>, Fault> {
        let seen = self.held.len().min(magic.len());
        if self.held.get(..seen) == magic.get(..seen) {
            Ok(None)
        } else {
            Err(Fault(format!("no {:?} frame", self.layout)))
        }
    }
}

enum Frame {
    Answer(u32, Outcome),
    Ping(u64),
    Other,
}

impl Codec for Frames {
    fn room(&self) -> usize {
        self.room.saturating_sub(self.under_way)
    }

    fn send(&mut self, request: &Prepared, tag: u32, out: &mut ChunkQueue) {
        self.under_way += 1;
        let mut head = request.head.to_vec();
        match self.layout {
            Layout::Dubbo => {
                head.extend(u64::from(tag).to_be_bytes());
                head.extend((request.body.len() as u32).to_be_bytes());
            }
            Layout::Bolt => head.extend(tag.to_be_bytes()),
        }
        out.push(Chunk::from(head));
        out.push(request.body.clone());
    }

    fn receive(
        &mut self,
        bytes: &[u8],
        out: &mut ChunkQueue,
        done: &mut Vec<(u32, Outcome, usize)>,
    ) -> Result<(), Fault> {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        self.finish(done);
        self.held.extend_from_slice(bytes.get(skipped..).unwrap_or_default());
        while self.skip == 0
            && !self.held.is_empty()
            && let Some((head, body, frame)) = self.head()?
        {
            if body > MAX_BODY {
                return Err(Fault(format!("an answer of {body} bytes")));
            }
            match frame {
                Frame::Answer(tag, outcome) => self.ending = Some((tag, outcome, head + body)),
                Frame::Ping(number) => {
                    let pong = [&[0xda, 0xbb, 0x22, 20][..], &number.to_be_bytes(), &1u32.to_be_bytes(), b"N"].concat();
                    out.push(Chunk::from(pong));
                }
                Frame::Other => {}
            }
            let here = (head + body).min(self.held.len());
            self.skip = head + body - here;
            self.held.drain(..here);
            self.finish(done);
        }
        Ok(())
    }
}

fn word(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |all, byte| all << 8 | u64::from(*byte))
}

/// A string of hessian2 in chunks of at most 32768 UTF-16 units.
fn write_string(out: &mut Vec<u8>, text: &str) {
    let units = text.encode_utf16().count();
    if units < 32 {
        out.push(units as u8);
        out.extend(text.as_bytes());
        return;
    }
    let mut rest = text;
    loop {
        let (mut cut, mut count) = (rest.len(), 0);
        for (at, letter) in rest.char_indices() {
            if count + letter.len_utf16() > 0x8000 {
                cut = at;
                break;
            }
            count += letter.len_utf16();
        }
        let (part, after) = rest.split_at(cut);
        out.push(if after.is_empty() { b'S' } else { b'R' });
        out.extend((count as u16).to_be_bytes());
        out.extend(part.as_bytes());
        if after.is_empty() {
            return;
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(layout: Layout, bytes: &[u8], cut: usize) -> Result<Vec<(u32, Outcome)>, Fault> {
        let mut codec = Frames::new(layout, 4);
        let (mut out, mut done) = (ChunkQueue::new(), Vec::new());
        for tag in [7, 8] {
            codec.send(&Prepared::default(), tag, &mut out);
        }
        let (first, second) = bytes.split_at(cut);
        codec.receive(first, &mut out, &mut done)?;
        codec.receive(second, &mut out, &mut done)?;
        assert_eq!(codec.room(), 2 + done.len());
        Ok(done.into_iter().map(|(tag, outcome, _)| (tag, outcome)).collect())
    }

    #[test]
    fn answers_at_every_split() {
        let dubbo = |number: u8, status: u8| {
            [&[0xda, 0xbb, 2, status, 0, 0, 0, 0, 0, 0, 0, number, 0, 0, 0, 3][..], b"abc"].concat()
        };
        let bolt = |number: u8, status: u8| {
            [&[1, 0, 0, 2, 1, 0, 0, 0, number, 1, 0, status, 0, 1, 0, 1, 0, 0, 0, 1][..], b"abc"].concat()
        };
        let both = [
            (Layout::Dubbo, [dubbo(8, 20), dubbo(7, 70)].concat(), 70),
            (Layout::Bolt, [bolt(8, 0), bolt(7, 2)].concat(), 2),
        ];
        for (layout, bytes, status) in both {
            for cut in 0..bytes.len() {
                let expected = vec![(8, Outcome::Good), (7, Outcome::Status(status))];
                assert_eq!(answers(layout, &bytes, cut), Ok(expected), "{layout:?} at {cut}");
            }
            assert!(answers(layout, b"HTTP/1.1 400 Bad Request\r\n\r\n", 3).is_err());
        }
    }
}
