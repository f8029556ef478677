//! Chunked content (RFC 9112, section 7.1), strictly: no blanks around sizes, no bare line ends, no room for two
//! readings.

use http::StatusCode;
use ringway_api::Chunk;

use super::{BodyLimits, Decoded};
use crate::head::{HeadLimits, Refusal, is_tchar, trailers};

/// A decoder of chunks.
#[derive(Debug, Default)]
pub struct Chunked {
    state: State,
    /// Of the chunk: its size while that is read, then the bytes of it still to come.
    left: u64,
    /// Digits of the size so far.
    digits: u8,
    extension_bytes: u32,
    /// The trailer section so far.
    trailer: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    /// After a `;`: blanks, then a name.
    ExtensionStart,
    Extension,
    Quoted,
    QuotedPair,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the start of a trailer line, or of the empty line that ends everything.
    TrailerStart,
    Trailer,
    EndLf,
    Failed,
}

/// More digits than any size needs: leading zeros without end are no size.
const MAX_DIGITS: u8 = 16;

impl Chunked {
    /// Takes the next frame off `input`.
    ///
    /// # Errors
    /// Why the content is malformed; sticky.
    pub fn decode(&mut self, input: &mut Chunk, limits: BodyLimits) -> Result<Decoded, Refusal> {
        let decoded = self.step(input, limits);
        if decoded.is_err() {
            self.state = State::Failed;
        }
        decoded
    }

    fn step(&mut self, input: &mut Chunk, limits: BodyLimits) -> Result<Decoded, Refusal> {
        let mut used = 0;
        loop {
            if self.state == State::Data {
                input.advance(used);
                return Ok(self.data(input));
            }
            let Some(&b) = input.as_slice().get(used) else {
                *input = Chunk::EMPTY;
                return Ok(Decoded::NeedMore);
            };
            used += 1;
            match self.state {
                State::TrailerStart if b == b'\r' && self.trailer.is_empty() => self.state = State::EndLf,
                State::TrailerStart | State::Trailer => {
                    if self.trailer_byte(b, limits)? {
                        let block = Chunk::from(std::mem::take(&mut self.trailer));
                        input.advance(used);
                        let bounds = HeadLimits { bytes: block.len(), fields: usize::from(limits.fields) };
                        return trailers(&block, bounds).map(Decoded::Trailers);
                    }
                }
                State::EndLf if b == b'\n' => {
                    input.advance(used);
                    return Ok(Decoded::End);
                }
                _ => self.framing_byte(b, limits)?,
            }
        }
    }

    fn data(&mut self, input: &mut Chunk) -> Decoded {
        if input.is_empty() {
            return Decoded::NeedMore;
        }
        let data = input.split_to(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= data.len() as u64;
        if self.left == 0 {
            self.state = State::DataCr;
        }
        Decoded::Data(data)
    }

    /// A byte of a size line or of the line end after a chunk's data.
    fn framing_byte(&mut self, b: u8, limits: BodyLimits) -> Result<(), Refusal> {
        const MALFORMED: Refusal = Refusal::bad("malformed_chunk");
        self.state = match (self.state, b) {
            (State::Size, b) if b.is_ascii_hexdigit() => {
                let digit = char::from(b).to_digit(16).unwrap_or_default();
                self.digits += 1;
                // The top four bits must be free, whatever the number of digits.
                if self.digits > MAX_DIGITS || self.left >> 59 != 0 {
                    return Err(Refusal::bad("chunk_size_overflow"));
                }
                self.left = self.left << 4 | u64::from(digit);
                State::Size
            }
            (State::Size, b'\r') if self.digits > 0 => State::SizeLf,
            (State::Size, b';') if self.digits > 0 => State::ExtensionStart,
            (State::ExtensionStart, b' ' | b'\t') => State::ExtensionStart,
            (State::ExtensionStart, b) if is_tchar(b) => State::Extension,
            (State::Extension, b'\r') => State::SizeLf,
            (State::Extension, b';') => State::ExtensionStart,
            (State::Extension, b'"') => State::Quoted,
            (State::Extension, b) if is_tchar(b) || matches!(b, b'=' | b' ' | b'\t') => State::Extension,
            (State::Quoted, b'"') => State::Extension,
            (State::Quoted, b'\\') => State::QuotedPair,
            (State::Quoted, b'\t' | b' '..=b'~') => State::Quoted,
            (State::QuotedPair, b'\t' | b' '..=b'~') => State::Quoted,
            (State::SizeLf, b'\n') => {
                self.digits = 0;
                if self.left == 0 { State::TrailerStart } else { State::Data }
            }
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size,
            _ => return Err(MALFORMED),
        };
        if matches!(self.state, State::ExtensionStart | State::Extension | State::Quoted | State::QuotedPair) {
            self.extension_bytes += 1;
            if self.extension_bytes > limits.extension_bytes {
                return Err(Refusal::bad("chunk_extensions_too_large"));
            }
        }
        Ok(())
    }

    /// A byte of the trailer section; true when the section is complete.
    fn trailer_byte(&mut self, b: u8, limits: BodyLimits) -> Result<bool, Refusal> {
        if self.trailer.len() >= limits.trailer_bytes as usize {
            return Err(Refusal::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "trailers_too_large"));
        }
        self.trailer.push(b);
        let line_start = self.state == State::TrailerStart;
        self.state = if b == b'\n' { State::TrailerStart } else { State::Trailer };
        // A bare line end here ends the section too, for the strict reader to refuse.
        Ok(b == b'\n' && (line_start || self.trailer.ends_with(b"\n\r\n")))
    }
}
