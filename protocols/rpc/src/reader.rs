//! Frames out of bytes. Sans-I/O.

use ringway_api::Chunk;

use crate::{CodecError, Decoded, FrameHead, RpcCodec};

/// What a frame may be like.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest frame, in bytes.
    pub frame: usize,
    /// The longest one that is kept until all of it is there.
    pub buffered: usize,
}

/// What a reader finds.
#[derive(Debug)]
pub enum Event {
    /// A frame begins.
    Frame(Received),
    /// The next bytes of the frame that began last.
    Data(Chunk),
    /// That frame is complete.
    End,
}

/// A frame.
#[derive(Debug)]
pub struct Received {
    /// What it is.
    pub frame: FrameHead,
    /// Its bytes: all of them, or what must be there to read who is called. The others follow as [`Event::Data`].
    pub block: Chunk,
}

/// Reads one direction of a connection. What waits for more bytes is copied out of the buffers it came in, as much as
/// has arrived: a length that is only claimed costs nothing.
#[derive(Debug, Default)]
pub struct Reader {
    inbox: Chunk,
    /// The beginning of a frame that did not come in one piece.
    partial: Vec<u8>,
    /// Bytes of the current frame that are still to come, if its beginning has been told.
    left: Option<usize>,
}

/// More bytes than any codec needs to look at before it knows how long a frame is, or who is called.
const MAX_LOOK: usize = 64 << 10;

impl Received {
    /// True when the whole frame is there.
    pub fn is_whole(&self) -> bool {
        self.block.len() >= self.frame.len
    }

    /// The content, as far as it is there.
    pub fn content(&self) -> Chunk {
        let mut content = self.block.clone();
        content.advance(self.frame.content.min(content.len()));
        if self.is_whole() {
            content.truncate(self.frame.content_len());
        }
        content
    }
}

impl Reader {
    /// Takes bytes; not while there are some that [`next`](Self::next) has not seen.
    pub fn push(&mut self, chunk: Chunk) {
        debug_assert!(self.inbox.is_empty(), "read what is there first");
        self.inbox = chunk;
    }

    /// Whether there are bytes that [`next`](Self::next) has not seen.
    pub fn has_unread(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// True between frames.
    pub fn is_clean(&self) -> bool {
        self.inbox.is_empty() && self.partial.is_empty() && self.left.is_none()
    }

    /// The first bytes of a frame that could not be read.
    pub fn beginning(&self) -> &[u8] {
        if self.partial.is_empty() { &self.inbox } else { &self.partial }
    }

    /// The next event, or `None` when more bytes are needed.
    ///
    /// # Errors
    /// The codec's, or a limit's. Nothing more can be read then.
    pub fn next<C: RpcCodec>(&mut self, codec: &C, limits: Limits) -> Result<Option<Event>, CodecError> {
        match self.left {
            Some(0) => {
                self.left = None;
                Ok(Some(Event::End))
            }
            Some(_) if self.inbox.is_empty() => Ok(None),
            Some(left) => {
                let data = self.inbox.split_to(left.min(self.inbox.len()));
                self.left = Some(left - data.len());
                Ok(Some(Event::Data(data)))
            }
            None => self.begin(codec, limits),
        }
    }

    fn begin<C: RpcCodec>(&mut self, codec: &C, limits: Limits) -> Result<Option<Event>, CodecError> {
        loop {
            if self.beginning().is_empty() {
                return Ok(None);
            }
            let (frame, need) = match codec.decode(self.beginning())? {
                Decoded::Need(need) if need > MAX_LOOK => return Err(CodecError::too_large("rpc_head_too_large")),
                // Asking for what is there already would never end.
                Decoded::Need(need) => (None, need.max(self.beginning().len() + 1)),
                Decoded::Frame(frame) => (Some(frame), check(&frame, limits)?),
            };
            if let Some(frame) = frame
                && self.beginning().len() >= need
            {
                let block = self.take(need);
                if block.len() < frame.len {
                    self.left = Some(frame.len - block.len());
                }
                return Ok(Some(Event::Frame(Received { frame, block })));
            }
            // Gathers what it takes, and no byte of the next frame.
            if self.inbox.is_empty() {
                return Ok(None);
            }
            let more = self.inbox.split_to(need - self.partial.len());
            self.partial.extend_from_slice(&more);
            if self.partial.len() < need {
                return Ok(None);
            }
        }
    }

    /// The first `count` bytes, which are there.
    fn take(&mut self, count: usize) -> Chunk {
        if self.partial.is_empty() {
            return self.inbox.split_to(count);
        }
        let mut gathered = Chunk::from(std::mem::take(&mut self.partial));
        let block = gathered.split_to(count);
        // A codec may have looked at more than the frame has.
        if !gathered.is_empty() {
            let rest = std::mem::take(&mut self.inbox);
            self.inbox = if rest.is_empty() { gathered } else { Chunk::from([&*gathered, &*rest].concat()) };
        }
        block
    }
}

/// How much of a frame is to be there before it is told.
fn check(frame: &FrameHead, limits: Limits) -> Result<usize, CodecError> {
    if frame.len > limits.frame {
        return Err(CodecError::too_large("rpc_frame_too_large"));
    }
    // A frame of no bytes would come again and again.
    if frame.len == 0 || frame.content.saturating_add(frame.tail) > frame.len || frame.look > frame.len {
        return Err(CodecError::malformed("rpc_inconsistent_lengths"));
    }
    if frame.len <= limits.buffered || frame.look == frame.len {
        return Ok(frame.len);
    }
    let look = frame.look.max(frame.content);
    if look > MAX_LOOK.max(limits.buffered) { Err(CodecError::too_large("rpc_head_too_large")) } else { Ok(look) }
}
