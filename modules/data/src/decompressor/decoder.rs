//! The decoders, alike: each turns some input into some output, and says how much of either.

use std::io;

use brotli::enc::StandardAlloc;
use brotli::{BrotliDecompressStream, BrotliResult, BrotliState};
use zstd::stream::raw::{DParameter, Decoder as ZstdDecoder, Operation};

use super::gzip::Gunzip;
use crate::content_coding::Coding;

/// The largest window of Zstandard's: 8 MiB (RFC 9659, section 3).
const ZSTD_WINDOW_LOG: u32 = 23;

/// A decoder of one message's content.
pub(crate) enum Decoder {
    Gzip(Box<Gunzip>),
    Br(Box<Brotli>),
    Zstd { decoder: ZstdDecoder<'static>, complete: bool },
}

/// Brotli's state, and whether the stream has ended.
pub(crate) struct Brotli {
    state: BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    complete: bool,
}

/// The content is not what it is said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// How far one step went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) read: usize,
    pub(crate) written: usize,
}

impl Decoder {
    pub(crate) fn new(coding: Coding) -> io::Result<Self> {
        Ok(match coding {
            Coding::Gzip => Self::Gzip(Box::default()),
            Coding::Br => Self::Br(Box::new(Brotli {
                // The strict one: windows of more than 16 MiB are no part of RFC 7932.
                state: BrotliState::new_strict(
                    StandardAlloc::default(),
                    StandardAlloc::default(),
                    StandardAlloc::default(),
                ),
                complete: false,
            })),
            Coding::Zstd => {
                let mut decoder = ZstdDecoder::new()?;
                decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG))?;
                Self::Zstd { decoder, complete: false }
            }
        })
    }

    /// Decodes some of `input` into `output`. A step that fills the output may have more of the same input to give.
    pub(crate) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Malformed> {
        match self {
            Self::Gzip(gunzip) => gunzip.step(input, output),
            Self::Br(brotli) => brotli.step(input, output),
            Self::Zstd { decoder, complete } => {
                if *complete && input.is_empty() {
                    return Ok(Step::default());
                }
                // Frames may follow each other (RFC 8878, section 3.1).
                let status = decoder.run_on_buffers(input, output).map_err(|_| Malformed)?;
                *complete = status.remaining == 0;
                Ok(Step { read: status.bytes_read, written: status.bytes_written })
            }
        }
    }

    /// Whether the content may end here.
    pub(crate) fn is_complete(&self) -> bool {
        match self {
            Self::Gzip(gunzip) => gunzip.is_complete(),
            Self::Br(brotli) => brotli.complete,
            Self::Zstd { complete, .. } => *complete,
        }
    }
}

impl Brotli {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Malformed> {
        if self.complete {
            // Nothing follows the stream.
            return if input.is_empty() { Ok(Step::default()) } else { Err(Malformed) };
        }
        let (mut left, mut read) = (input.len(), 0);
        let (mut room, mut written, mut total) = (output.len(), 0, 0);
        let result = BrotliDecompressStream(
            &mut left,
            &mut read,
            input,
            &mut room,
            &mut written,
            output,
            &mut total,
            &mut self.state,
        );
        match result {
            BrotliResult::ResultFailure => return Err(Malformed),
            BrotliResult::ResultSuccess => self.complete = true,
            BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
        }
        Ok(Step { read, written })
    }
}
