//! What a listener or cluster of this protocol may be told.

use ringway_api::{ByteSize, Millis};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::scan::FrameLimits;

/// Streams that one connection carries at once by default, either side.
pub(crate) const STREAMS: u32 = 100;

/// Options of HTTP/2, for listeners and clusters. Each side uses what concerns it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Http2Options {
    /// Streams that a connection carries at once: a client's further ones are refused, for an upstream's another
    /// connection is opened. At most what the upstream allows.
    pub max_concurrent_streams: u32,
    /// Bytes of a head, counted as RFC 9113, section 6.5.2 does: a request with more is answered 431.
    pub max_header_bytes: ByteSize,
    /// Fields that a head may have: a request with more is answered 431, a response 502.
    pub max_headers: u16,
    /// Content that a stream may receive before its consumer has taken it, 64 KiB to 2 GiB.
    pub initial_stream_window: ByteSize,
    /// The same for all streams of a connection together. It grows to the bandwidth-delay product that is measured,
    /// up to `max_connection_window`.
    pub initial_connection_window: ByteSize,
    /// How far it may grow.
    pub max_connection_window: ByteSize,
    /// Content that may wait to be sent on one stream.
    pub max_send_buffer: ByteSize,
    /// From the start of a client's connection to its preface and settings.
    pub handshake_timeout: Millis,
    /// Closes a client's connection that has had no stream for this long; 0 never does.
    pub idle_timeout: Millis,
    /// Sends a ping when nothing was received for this long, 0 for never.
    pub keepalive_interval: Millis,
    /// Closes the connection when a ping is not answered in this time.
    pub keepalive_timeout: Millis,
    /// How long a client may neither send content that is waited for nor take the response, then the stream is reset;
    /// 0 waits for ever. Waiting for the upstream does not count.
    pub stream_idle_timeout: Millis,
    /// Takes extended CONNECT (RFC 8441), by which WebSockets come over HTTP/2. Which routes allow it is said there.
    pub allow_connect: bool,
    /// What a peer may send of frames that cost it nothing.
    pub frame_limits: FrameLimits,
}

impl Default for Http2Options {
    fn default() -> Self {
        Self {
            max_concurrent_streams: STREAMS,
            max_header_bytes: ByteSize(60 << 10),
            max_headers: 100,
            initial_stream_window: ByteSize(64 << 10),
            initial_connection_window: ByteSize(1 << 20),
            max_connection_window: ByteSize(16 << 20),
            max_send_buffer: ByteSize(128 << 10),
            handshake_timeout: Millis(10_000),
            idle_timeout: Millis(3_600_000),
            keepalive_interval: Millis(0),
            keepalive_timeout: Millis(20_000),
            stream_idle_timeout: Millis(300_000),
            allow_connect: true,
            frame_limits: FrameLimits::default(),
        }
    }
}

impl Http2Options {
    pub(crate) fn stream_window(&self) -> u32 {
        window(self.initial_stream_window)
    }

    pub(crate) fn connection_window(&self) -> u32 {
        window(self.initial_connection_window)
    }

    pub(crate) fn max_window(&self) -> u32 {
        window(self.max_connection_window)
    }

    /// What h2 may hold of `DATA` frames below 256 bytes that nobody has taken, in bytes short of 256 each; beyond it the
    /// connection ends. A stream whose consumer stalls fits into it with a whole window of the smallest gRPC messages.
    pub(crate) fn small_data_budget(&self) -> usize {
        self.connection_window().max(1 << 20) as usize * 4
    }

    pub(crate) fn header_list_size(&self) -> u32 {
        u32::try_from(self.max_header_bytes.bytes()).unwrap_or(u32::MAX)
    }
}

/// A window that RFC 9113, section 6.9.1 allows, and no smaller than what every peer assumes at the start.
fn window(size: ByteSize) -> u32 {
    const MAX: u32 = (1 << 31) - 1;
    u32::try_from(size.bytes()).unwrap_or(MAX).clamp((1 << 16) - 1, MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_read_as_documented() {
        let options: Http2Options =
            serde_json::from_str(r#"{"initial_stream_window": "1MiB", "frame_limits": {"settings": 5}}"#).unwrap();
        assert_eq!((options.stream_window(), options.frame_limits.settings), (1 << 20, 5));
        assert_eq!(options.connection_window(), 1 << 20);
        let error = serde_json::from_str::<Http2Options>(r#"{"streams": 1}"#).unwrap_err();
        assert!(error.to_string().contains("unknown field `streams`"), "{error}");
    }
}
