//! Where content ends: from received bytes to frames (RFC 9112, sections 6 and 7).

mod chunked;

use ringway_api::{Chunk, Headers};

pub use chunked::Chunked;

use crate::head::{Framing, Refusal};

/// What chunked content may take besides its data.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    /// Bytes of the trailer section.
    pub trailer_bytes: u32,
    /// Bytes of all chunk extensions together.
    pub extension_bytes: u32,
    /// Trailer fields.
    pub fields: u16,
}

/// Finds the frames of one message's content.
#[derive(Debug, Default)]
pub enum Decoder {
    /// The content has ended.
    #[default]
    Done,
    /// So many bytes are to come.
    Length(u64),
    /// Chunks.
    Chunked(Chunked),
    /// Everything that comes.
    UntilClose,
}

/// What a decoder found.
#[derive(Debug)]
pub enum Decoded {
    /// Content.
    Data(Chunk),
    /// The trailer section, not empty. The content has ended.
    Trailers(Headers),
    /// The content has ended.
    End,
    /// More bytes are needed; all there were are consumed.
    NeedMore,
}

impl Decoder {
    /// A decoder for content so framed.
    pub fn new(framing: Framing) -> Self {
        match framing {
            Framing::None => Self::Done,
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(Chunked::default()),
            Framing::UntilClose => Self::UntilClose,
        }
    }

    /// True when nothing is to come.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// The bytes of content still to come, when they are known.
    pub fn remaining(&self) -> Option<u64> {
        match self {
            Self::Done => Some(0),
            Self::Length(left) => Some(*left),
            Self::Chunked(_) | Self::UntilClose => None,
        }
    }

    /// Takes the next frame off `input`.
    ///
    /// # Errors
    /// Why the content is malformed. Errors are sticky: nothing after them can be trusted.
    pub fn decode(&mut self, input: &mut Chunk, limits: BodyLimits) -> Result<Decoded, Refusal> {
        match self {
            Self::Done => Ok(Decoded::End),
            _ if input.is_empty() => Ok(Decoded::NeedMore),
            Self::Length(left) => {
                let data = input.split_to(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= data.len() as u64;
                if *left == 0 {
                    *self = Self::Done;
                }
                Ok(Decoded::Data(data))
            }
            Self::Chunked(chunked) => {
                let decoded = chunked.decode(input, limits)?;
                if matches!(decoded, Decoded::End | Decoded::Trailers(_)) {
                    *self = Self::Done;
                }
                Ok(decoded)
            }
            Self::UntilClose => Ok(Decoded::Data(std::mem::take(input))),
        }
    }
}

/// What is said of content that a failure of the transport has cut short: `truncated` where the stream ended in a way
/// that its peer has not confirmed, as TLS can tell (RFC 9112, section 8; RFC 8446, section 6.1).
pub(crate) fn broken(kind: std::io::ErrorKind) -> &'static str {
    if kind == std::io::ErrorKind::UnexpectedEof { "truncated" } else { "reset" }
}
