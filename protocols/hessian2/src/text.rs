//! Text: lengths count UTF-16 units, and characters beyond the first plane are two surrogates of three bytes each
//! (CESU-8, Unicode Technical Report 26).

use std::borrow::Cow;

use crate::Error;

/// A piece of text is at most so many units long, as Java writes it.
const PIECE: usize = 0x8000;

/// The text of a string that lies in one piece: as it is if it is UTF-8, else from surrogates.
///
/// # Errors
/// It is neither, or has half a pair of surrogates.
pub fn decode(piece: &[u8]) -> Result<Cow<'_, str>, Error> {
    if let Ok(text) = std::str::from_utf8(piece) {
        return Ok(Cow::Borrowed(text));
    }
    let mut text = Joined::default();
    text.push(piece)?;
    text.finish().map(Cow::Owned)
}

/// How many bytes it begins with are ASCII.
pub(crate) fn ascii_len(bytes: &[u8]) -> usize {
    let mut len = 0;
    for chunk in bytes.chunks(32) {
        if !chunk.is_ascii() {
            return len + chunk.iter().take_while(|byte| byte.is_ascii()).count();
        }
        len += chunk.len();
    }
    len
}

/// Text that comes in pieces.
#[derive(Default)]
pub(crate) struct Joined {
    text: String,
    /// The first half of a pair of surrogates.
    high: Option<u32>,
}

impl Joined {
    /// Adds a piece.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<(), Error> {
        if self.high.is_none()
            && let Ok(text) = std::str::from_utf8(piece)
        {
            self.text.push_str(text);
            return Ok(());
        }
        let mut rest = piece;
        while !rest.is_empty() {
            // What is UTF-8 up to the next surrogate.
            let plain = std::str::from_utf8(rest).map_or_else(|error| error.valid_up_to(), str::len);
            if plain > 0 {
                if self.high.is_some() {
                    return Err(Error::MalformedText);
                }
                let (text, after) = rest.split_at(plain);
                self.text.push_str(std::str::from_utf8(text).map_err(|_| Error::MalformedText)?);
                rest = after;
                continue;
            }
            let Some((&[0xed, second @ 0xa0..=0xbf, third @ 0x80..=0xbf], after)) = rest.split_first_chunk::<3>()
            else {
                return Err(Error::MalformedText);
            };
            rest = after;
            self.surrogate(0xd000 | u32::from(second & 0x3f) << 6 | u32::from(third & 0x3f))?;
        }
        Ok(())
    }

    fn surrogate(&mut self, unit: u32) -> Result<(), Error> {
        match (self.high.take(), unit) {
            (None, 0xd800..=0xdbff) => self.high = Some(unit),
            (Some(high), 0xdc00..=0xdfff) => {
                let joined = char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + (unit - 0xdc00));
                self.text.push(joined.ok_or(Error::MalformedText)?);
            }
            _ => return Err(Error::MalformedText),
        }
        Ok(())
    }

    /// All of it.
    pub(crate) fn finish(self) -> Result<String, Error> {
        if self.high.is_some() { Err(Error::MalformedText) } else { Ok(self.text) }
    }
}

/// Writes text as a value, in pieces of at most 32 Ki units.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    let mut rest = text;
    loop {
        let (piece, units) = first_piece(rest);
        let (now, after) = rest.split_at(piece);
        let [high, low] = u16::try_from(units).unwrap_or(u16::MAX).to_be_bytes();
        match (after.is_empty(), units) {
            (false, _) => out.extend([b'R', high, low]),
            (true, 0..=31) => out.push(low),
            (true, 32..=1023) => out.extend([0x30 + high, low]),
            (true, _) => out.extend([b'S', high, low]),
        }
        cesu8(now, out);
        if after.is_empty() {
            return;
        }
        rest = after;
    }
}

/// How many bytes of the text the first piece takes, and how many units that is. A pair of surrogates stays together.
fn first_piece(text: &str) -> (usize, usize) {
    let mut units = 0;
    for (at, c) in text.char_indices() {
        let more = units + c.len_utf16();
        if more > PIECE {
            return (at, units);
        }
        units = more;
    }
    (text.len(), units)
}

fn cesu8(text: &str, out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.len_utf16() == 2) {
        let (plain, after) = rest.split_at(at);
        out.extend_from_slice(plain.as_bytes());
        let mut chars = after.chars();
        for unit in chars.next().into_iter().flat_map(|c| {
            let mut pair = [0; 2];
            c.encode_utf16(&mut pair);
            pair
        }) {
            let low = |shift: u32| 0x80 | (unit >> shift & 0x3f) as u8;
            out.extend([0xe0 | (unit >> 12) as u8, low(6), low(0)]);
        }
        rest = chars.as_str();
    }
    out.extend_from_slice(rest.as_bytes());
}
