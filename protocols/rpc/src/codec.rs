//! What a protocol of framed calls has to say.

use std::fmt;
use std::time::Duration;

use http::StatusCode;
use ringway_api::{Chunk, RequestHead, ResponseHead, Sniff};

use crate::Fields;

/// A protocol of framed calls: pure, no I/O and no clock.
///
/// Bytes come from peers that may send anything: no method may panic on them, take memory in proportion to a length
/// that is only claimed, or look at more than it is given.
pub trait RpcCodec: Default + 'static {
    /// The name in configurations.
    const NAME: &'static str;

    /// How many calls a connection carries at once.
    const MODE: Mode = Mode::Multiplex;

    /// Ids have so many bits, up to 64.
    const ID_BITS: u32;

    /// Bytes from the beginning of a request that [`write_error`](Self::write_error) and the like may look at again
    /// when they answer it.
    const ECHO: usize;

    /// Fields that it makes of something else than an attachment, such as [`VERSION`](crate::VERSION).
    const DERIVED: &'static [&'static str] = &[];

    /// Which messages carry fields that routes and filters add to them. The others go on without: no error, since the
    /// field is lost and not the call; the protocol's documentation says so.
    const CARRIES: Carries = Carries::All;

    /// Whether a connection that starts with `prefix` speaks this protocol. It must know after a few bytes.
    fn sniff(prefix: &[u8]) -> Sniff;

    /// Looks at the beginning of a frame. Asks for more bytes as long as it cannot tell what and how long it is; limits
    /// are enforced on what it says before anything is buffered.
    ///
    /// # Errors
    /// [`CodecError`]: the connection cannot be read any further.
    fn decode(&self, prefix: &[u8]) -> Result<Decoded, CodecError>;

    /// Reads who is called: `block` holds at least [`FrameHead::look`] bytes, or the whole frame. What attachments it
    /// finds become fields.
    ///
    /// # Errors
    /// [`CodecError`]: the call is answered with an error, the connection goes on.
    fn read_request<'a>(
        &self,
        frame: &FrameHead,
        block: &'a [u8],
        fields: &mut Fields<'_>,
    ) -> Result<Call<'a>, CodecError>;

    /// Reads how a call went; as [`read_request`](Self::read_request).
    ///
    /// # Errors
    /// [`CodecError`]: the caller gets an error in the response's place, the connection goes on.
    fn read_response(&self, frame: &FrameHead, block: &[u8], fields: &mut Fields<'_>) -> Result<Outcome, CodecError>;

    /// Writes the beginning of a frame that goes on as it came, under another id, and returns how many bytes of
    /// `block` that stands for: the rest of the frame follows as it is. `block` ends where its content begins, at least.
    /// `None` when a frame under another id is another frame, and nothing has been written.
    fn renumber(&self, frame: &FrameHead, block: &[u8], id: u64, out: &mut Vec<u8>) -> Option<usize>;

    /// Writes a whole request: one that was edited, that has other content than it came with, or that comes from
    /// another protocol (no `origin`).
    ///
    /// # Errors
    /// [`CodecError`] when it cannot be said in this protocol; nothing has been written then.
    fn write_request(
        &self,
        id: u64,
        head: &RequestHead,
        origin: Option<Origin<'_>>,
        content: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), CodecError>;

    /// The same for a response, which has a [`STATUS`](crate::STATUS).
    ///
    /// # Errors
    /// As [`write_request`](Self::write_request).
    fn write_response(
        &self,
        to: &Asked,
        head: &ResponseHead,
        origin: Option<Origin<'_>>,
        content: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), CodecError>;

    /// Answers a call with an error of ours: every call is answered.
    fn write_error(&self, to: &Asked, status: StatusCode, message: &str, out: &mut Vec<u8>);

    /// Whether a request that comes from a server is an answer: in a protocol whose answers look like its requests.
    /// [`read_response`](Self::read_response) reads it then.
    fn is_answer(&self, frame: &FrameHead, block: &[u8]) -> bool {
        let _ = (frame, block);
        false
    }

    /// Writes a heartbeat, if the protocol has one: false otherwise.
    fn write_heartbeat(&self, id: u64, out: &mut Vec<u8>) -> bool {
        let _ = (id, out);
        false
    }

    /// Answers a heartbeat.
    fn write_heartbeat_reply(&self, to: &Asked, out: &mut Vec<u8>) {
        let _ = (to, out);
    }

    /// Tells the client to make its further calls elsewhere, if the protocol can: false otherwise.
    fn write_goaway(&self, id: u64, out: &mut Vec<u8>) -> bool {
        let _ = (id, out);
        false
    }
}

/// How many calls a connection carries at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One after the other; responses need no ids.
    PingPong,
    /// Many, told apart by their ids; responses come in any order.
    Multiplex,
    /// As [`Multiplex`](Self::Multiplex), but a connection has a state that its calls depend on (a login, say): each
    /// downstream connection gets an upstream connection of its own.
    Bound,
}

/// Which messages of a protocol carry fields that are added to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carries {
    /// Requests and responses.
    All,
    /// Requests; responses where the protocol has room, not errors for instance.
    Requests,
    /// None: the protocol has no attachments.
    Nothing,
}

/// What the beginning of a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// Nothing yet: so many bytes are needed, counted from the frame's beginning.
    Need(usize),
    /// A frame.
    Frame(FrameHead),
}

/// A frame, as far as its beginning tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// What it is.
    pub kind: Kind,
    /// The id of the call, or of the heartbeat.
    pub id: u64,
    /// Where its content begins.
    pub content: usize,
    /// How much of it must be there to read who is called. All of it: it is never passed on while it arrives.
    pub look: usize,
    /// What stands behind its content, such as a checksum. Only of a frame that must be there as a whole.
    pub tail: usize,
    /// Its length, all told.
    pub len: usize,
}

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A call that awaits an answer.
    Request,
    /// A call that does not.
    OneWay,
    /// An answer.
    Response,
    /// Asks whether we are there, and wants an answer.
    Heartbeat,
    /// The answer, or a heartbeat that wants none.
    HeartbeatReply,
    /// No more calls may be made on this connection.
    GoAway,
}

/// Who is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call<'a> {
    /// The service: an interface's name, usually.
    pub service: &'a [u8],
    /// The method; may be empty where the protocol keeps it in the content.
    pub method: &'a [u8],
    /// How long the caller waits.
    pub timeout: Option<Duration>,
}

/// How a call went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What it would be in HTTP: retries, statistics and logs go by this.
    pub status: StatusCode,
    /// The protocol's own status.
    pub code: i32,
    /// The service threw: a result like any other to the protocol, counted apart.
    pub exception: bool,
}

/// A frame that is answered, as far as the answer may look at it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// What it was.
    pub frame: FrameHead,
    /// Its first bytes: [`RpcCodec::ECHO`] of them, fewer if it was shorter.
    pub start: Vec<u8>,
}

/// What a message was received as, in the same protocol.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The frame.
    pub frame: &'a FrameHead,
    /// Its bytes up to its content at least.
    pub block: &'a [u8],
}

/// What is wrong with a frame, or with a message that should become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodecError {
    /// One word for logs, such as `bad_magic`.
    pub details: &'static str,
    /// What it is answered with.
    pub status: StatusCode,
}

impl FrameHead {
    /// The length of its content.
    pub fn content_len(&self) -> usize {
        self.len.saturating_sub(self.content.saturating_add(self.tail))
    }
}

impl Asked {
    /// What an answer needs of a frame that begins with `block`.
    pub fn new<C: RpcCodec>(frame: FrameHead, block: &[u8]) -> Self {
        Self { frame, start: block.get(..C::ECHO.min(frame.len)).unwrap_or(block).to_vec() }
    }
}

impl<'a> Origin<'a> {
    /// The message's frame, if it came in one of this codec.
    pub(crate) fn of<C: RpcCodec>(codec: &C, block: &'a Chunk, frame: &'a mut Option<FrameHead>) -> Option<Self> {
        if let Ok(Decoded::Frame(head)) = codec.decode(block) {
            *frame = Some(head);
        }
        frame.as_ref().map(|frame| Self { frame, block })
    }
}

impl CodecError {
    /// Bytes that are no frame of this protocol, or a call that cannot be read.
    pub const fn malformed(details: &'static str) -> Self {
        Self { details, status: StatusCode::BAD_REQUEST }
    }

    /// A message that this protocol has no words for.
    pub const fn unsupported(details: &'static str) -> Self {
        Self { details, status: StatusCode::NOT_IMPLEMENTED }
    }

    /// More than a limit allows.
    pub const fn too_large(details: &'static str) -> Self {
        Self { details, status: StatusCode::PAYLOAD_TOO_LARGE }
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.details)
    }
}

impl std::error::Error for CodecError {}
