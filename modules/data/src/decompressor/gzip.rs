//! gzip's members (RFC 1952) around deflated content.

use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::decoder::{Malformed, Step};

/// Decodes gzip content: one member, or several one after the other.
pub(crate) struct Gunzip {
    place: Place,
    flags: u8,
    inflate: Decompress,
    crc: Crc,
}

/// Where in a member the next byte is (RFC 1952, section 2.3); numbers count what has been seen or is left.
#[derive(Clone, Copy, Debug)]
enum Place {
    Fixed(u8),
    ExtraLength(Option<u8>),
    Extra(u16),
    Name,
    Comment,
    HeaderCheck(u8),
    Content,
    Trailer(u8),
}

const HEADER_CHECK: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0xe0;

impl Default for Gunzip {
    fn default() -> Self {
        Self { place: Place::Fixed(0), flags: 0, inflate: Decompress::new(false), crc: Crc::new() }
    }
}

impl Gunzip {
    pub(crate) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Malformed> {
        let mut read = 0;
        loop {
            let rest = input.get(read..).unwrap_or_default();
            if matches!(self.place, Place::Content) {
                let step = self.inflate(rest, output)?;
                read += step.read;
                if step.written > 0 || matches!(self.place, Place::Content) {
                    return Ok(Step { read, written: step.written });
                }
                continue;
            }
            let Some(byte) = rest.first() else { return Ok(Step { read, written: 0 }) };
            self.byte(*byte)?;
            read += 1;
        }
    }

    /// Between members, at least one of which there was.
    pub(crate) fn is_complete(&self) -> bool {
        matches!(self.place, Place::Fixed(0)) && self.inflate.total_in() > 0
    }

    fn inflate(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Malformed> {
        let before = (self.inflate.total_in(), self.inflate.total_out());
        let status = self.inflate.decompress(input, output, FlushDecompress::None).map_err(|_| Malformed)?;
        // Both are no more than the slices are long.
        let read = (self.inflate.total_in() - before.0) as usize;
        let written = (self.inflate.total_out() - before.1) as usize;
        self.crc.update(output.get(..written).unwrap_or_default());
        if status == Status::StreamEnd {
            self.place = Place::Trailer(0);
        }
        Ok(Step { read, written })
    }

    /// A byte of a member's header or trailer.
    fn byte(&mut self, byte: u8) -> Result<(), Malformed> {
        self.place = match self.place {
            Place::Fixed(at) => {
                match at {
                    0 if byte != 0x1f => return Err(Malformed),
                    1 if byte != 0x8b => return Err(Malformed),
                    2 if byte != 8 => return Err(Malformed),
                    3 if byte & RESERVED != 0 => return Err(Malformed),
                    3 => self.flags = byte,
                    _ => {}
                }
                if at < 9 { Place::Fixed(at + 1) } else { self.after_fixed() }
            }
            Place::ExtraLength(None) => Place::ExtraLength(Some(byte)),
            Place::ExtraLength(Some(low)) => match u16::from_le_bytes([low, byte]) {
                0 => self.after_extra(),
                length => Place::Extra(length),
            },
            Place::Extra(left) if left > 1 => Place::Extra(left - 1),
            Place::Extra(_) => self.after_extra(),
            Place::Name if byte == 0 => self.after_name(),
            Place::Name => Place::Name,
            Place::Comment if byte == 0 => self.after_comment(),
            Place::Comment => Place::Comment,
            Place::HeaderCheck(0) => Place::HeaderCheck(1),
            Place::HeaderCheck(_) => self.content(),
            Place::Content => Place::Content,
            Place::Trailer(at) => {
                let (sum, length) = (self.crc.sum().to_le_bytes(), self.crc.amount().to_le_bytes());
                if sum.iter().chain(&length).nth(usize::from(at)) != Some(&byte) {
                    return Err(Malformed);
                }
                if at < 7 { Place::Trailer(at + 1) } else { Place::Fixed(0) }
            }
        };
        Ok(())
    }

    fn after_fixed(&mut self) -> Place {
        if self.flags & EXTRA != 0 { Place::ExtraLength(None) } else { self.after_extra() }
    }

    fn after_extra(&mut self) -> Place {
        if self.flags & NAME != 0 { Place::Name } else { self.after_name() }
    }

    fn after_name(&mut self) -> Place {
        if self.flags & COMMENT != 0 { Place::Comment } else { self.after_comment() }
    }

    fn after_comment(&mut self) -> Place {
        if self.flags & HEADER_CHECK != 0 { Place::HeaderCheck(0) } else { self.content() }
    }

    fn content(&mut self) -> Place {
        self.inflate.reset(false);
        self.crc.reset();
        Place::Content
    }
}
