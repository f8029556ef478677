//! Base64 in pieces (RFC 4648, section 4).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Decodes what arrives in any pieces and may be several padded texts in a row: "Text-encoded streams" of
/// `PROTOCOL-WEB` has padding wherever the sender flushed.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// The beginning of a group of four.
    held: [u8; 4],
    count: usize,
}

/// Not base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Encodes gRPC messages that arrive in any pieces. Each piece that ends a message is padded to its end, so that
/// nothing of a message is held back; within a message, up to two bytes wait for the third.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    held: Vec<u8>,
    messages: Messages,
}

/// Follows the messages' boundaries.
#[derive(Debug, Default)]
struct Messages {
    /// How much of a message's prefix has been seen: a byte of flags, four of length.
    prefix: u8,
    len: u32,
    /// Bytes of the message that are still to come.
    left: u32,
}

const PREFIX: u8 = 5;

// === impl Decoder ===

impl Decoder {
    /// What `input` adds.
    ///
    /// # Errors
    /// [`Malformed`] at a character of another alphabet, padding within a group, or bits that stand for nothing.
    pub(crate) fn decode(&mut self, mut input: &[u8]) -> Result<Vec<u8>, Malformed> {
        let mut output = Vec::with_capacity((self.count + input.len()) / 4 * 3);
        while self.count > 0
            && let Some((first, rest)) = input.split_first()
        {
            self.hold(&[*first]);
            input = rest;
            if self.count == self.held.len() {
                self.count = 0;
                STANDARD.decode_vec(self.held, &mut output).map_err(|_| Malformed)?;
            }
        }
        while !input.is_empty() {
            // To the end of the group that is padded: there the next text begins.
            let text = memchr::memchr(b'=', input).map_or(input.len(), |at| at - at % 4 + 4).min(input.len());
            let (groups, rest) = input.split_at(text - text % 4);
            STANDARD.decode_vec(groups, &mut output).map_err(|_| Malformed)?;
            input = rest;
            if groups.len() < text {
                self.hold(rest);
                break;
            }
        }
        Ok(output)
    }

    /// True within a group: the text may not end here.
    pub(crate) fn is_midway(&self) -> bool {
        self.count > 0
    }

    fn hold(&mut self, bytes: &[u8]) {
        for (slot, byte) in self.held.iter_mut().skip(self.count).zip(bytes) {
            *slot = *byte;
            self.count += 1;
        }
    }
}

// === impl Encoder ===

impl Encoder {
    /// The text of what `piece` adds; may be empty.
    pub(crate) fn encode(&mut self, piece: &[u8]) -> Vec<u8> {
        let whole = self.messages.end_after(piece);
        self.append(piece, whole)
    }

    /// The text of the last piece and of what was held back.
    pub(crate) fn finish(&mut self, piece: &[u8]) -> Vec<u8> {
        self.append(piece, true)
    }

    fn append(&mut self, piece: &[u8], whole: bool) -> Vec<u8> {
        let mut text = String::with_capacity((self.held.len() + piece.len()).div_ceil(3) * 4);
        let (fill, piece) = piece.split_at(((3 - self.held.len()) % 3).min(piece.len()));
        self.held.extend_from_slice(fill);
        if self.held.len() == 3 || whole {
            STANDARD.encode_string(&self.held, &mut text);
            self.held.clear();
        }
        let (groups, rest) = piece.split_at(if whole { piece.len() } else { piece.len() - piece.len() % 3 });
        STANDARD.encode_string(groups, &mut text);
        self.held.extend_from_slice(rest);
        text.into_bytes()
    }
}

// === impl Messages ===

impl Messages {
    /// Goes over a piece of content; true when it ends a message.
    fn end_after(&mut self, mut piece: &[u8]) -> bool {
        while let Some((first, rest)) = piece.split_first() {
            if self.left > 0 {
                let skipped = piece.len().min(self.left as usize);
                self.left -= skipped as u32;
                piece = piece.get(skipped..).unwrap_or_default();
                continue;
            }
            // The flags are shifted out by the four bytes of length.
            self.len = self.len << 8 | u32::from(*first);
            self.prefix += 1;
            if self.prefix == PREFIX {
                self.left = self.len;
                self.prefix = 0;
            }
            piece = rest;
        }
        self.prefix == 0 && self.left == 0
    }
}
