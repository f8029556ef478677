//! What a listener or cluster of a protocol of framed calls may be told.

use ringway_api::{ByteSize, Millis};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::reader::Limits;

/// Calls that one connection carries at once by default, either side.
pub(crate) const CALLS: u32 = 256;

/// Options of protocols of framed calls, for listeners and clusters. Each side uses what concerns it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RpcOptions {
    /// The longest frame: a longer call is answered with an error and its connection closed. 8 MiB is Dubbo's default.
    pub max_frame_bytes: ByteSize,
    /// Longer frames are passed on while they arrive, and only what stands in front of their content is read of them.
    pub max_buffered_bytes: ByteSize,
    /// Bytes of calls that a client's connection may have under way, as far as they are kept whole: a call that would
    /// pass this is answered with an error (too many requests). One call may always be, however long.
    pub max_connection_bytes: ByteSize,
    /// Calls that a connection carries at once: a client's further ones are not read until others have ended, for an
    /// upstream's another connection is opened.
    pub max_concurrent_calls: u32,
    /// Sends a heartbeat when nothing was received for this long, if the protocol has one; 0 never does.
    pub heartbeat_interval: Millis,
    /// Closes the connection after so many of them without an answer.
    pub heartbeat_misses: u32,
    /// Closes a client's connection that has had no call for this long; 0 never does.
    pub idle_timeout: Millis,
    /// How long the peer may stop in the middle of a frame, or take nothing of what is sent; 0 for ever.
    pub stream_idle_timeout: Millis,
}

impl Default for RpcOptions {
    fn default() -> Self {
        Self {
            max_frame_bytes: ByteSize(8 << 20),
            max_buffered_bytes: ByteSize(256 << 10),
            max_connection_bytes: ByteSize(16 << 20),
            max_concurrent_calls: CALLS,
            heartbeat_interval: Millis(60_000),
            heartbeat_misses: 3,
            idle_timeout: Millis(3_600_000),
            stream_idle_timeout: Millis(60_000),
        }
    }
}

impl RpcOptions {
    pub(crate) fn limits(&self) -> Limits {
        Limits { frame: self.max_frame_bytes.bytes(), buffered: self.max_buffered_bytes.bytes() }
    }
}
