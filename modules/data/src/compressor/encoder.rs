//! The encoders, alike.

use std::io::{self, Write};

use brotli::CompressorWriter;
use flate2::Compression;
use flate2::write::GzEncoder;
use zstd::stream::raw::CParameter;
use zstd::stream::write::Encoder as ZstdEncoder;

use crate::content_coding::Coding;

/// How hard each encoder tries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Levels {
    pub(crate) gzip: u32,
    pub(crate) br: u32,
    pub(crate) zstd: i32,
}

/// How far back Brotli and Zstandard look, as a power of two: 256 KiB. What they take of memory grows with it.
const WINDOW_LOG: u32 = 18;

/// An encoder, which writes to memory.
pub(crate) enum Encoder {
    Gzip(Box<GzEncoder<Vec<u8>>>),
    Br(Box<CompressorWriter<Vec<u8>>>),
    Zstd(Box<ZstdEncoder<'static, Vec<u8>>>),
}

impl Encoder {
    pub(crate) fn new(coding: Coding, levels: Levels) -> io::Result<Self> {
        Ok(match coding {
            Coding::Gzip => Self::Gzip(Box::new(GzEncoder::new(Vec::new(), Compression::new(levels.gzip)))),
            Coding::Br => Self::Br(Box::new(CompressorWriter::new(Vec::new(), 4096, levels.br, WINDOW_LOG))),
            Coding::Zstd => {
                let mut encoder = ZstdEncoder::new(Vec::new(), levels.zstd)?;
                encoder.set_parameter(CParameter::WindowLog(WINDOW_LOG))?;
                Self::Zstd(Box::new(encoder))
            }
        })
    }

    pub(crate) fn write(&mut self, content: &[u8]) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.write_all(content),
            Self::Br(encoder) => encoder.write_all(content),
            Self::Zstd(encoder) => encoder.write_all(content),
        }
    }

    /// Has all that was written come out.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.flush(),
            Self::Br(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }

    /// What has come out since it was last asked for.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(match self {
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Br(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
        })
    }

    /// The rest.
    pub(crate) fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(encoder) => encoder.finish(),
            Self::Br(encoder) => Ok(encoder.into_inner()),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}
