//! What a listener or cluster of this protocol may be told.

use ringway_api::{ByteSize, Millis};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::head::HeadLimits;

/// Options of HTTP/1.1, for listeners and clusters. Each side uses what concerns it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Http1Options {
    /// Bytes that a message's head may have, from its first line to the empty line: 431 for a request, 502 for a
    /// response. A request line that alone is longer: 414.
    pub max_header_bytes: ByteSize,
    /// Fields that a head may have; answered alike.
    pub max_headers: u16,
    /// Bytes that a trailer section may have: 431 for a request.
    pub max_trailer_bytes: ByteSize,
    /// Bytes of chunk extensions that one message may have: 400 for a request. Extensions are dropped.
    pub max_chunk_extension_bytes: ByteSize,
    /// Closes a client's connection that has waited this long for a request; 0 never does. A request under way is
    /// never cut by it.
    pub idle_timeout: Millis,
    /// From the first byte of a request to the end of its head; then 408. 0 waits for ever.
    pub request_headers_timeout: Millis,
    /// How long a client may neither send content that is waited for (then 408) nor take the response (then the
    /// connection is reset); 0 waits for ever. Waiting for the upstream does not count. In a tunnel it counts only once
    /// the upstream has ended its side, and then ends what has not moved for one to two times as long.
    pub stream_idle_timeout: Millis,
    /// Closes a client's connection after this many requests; 0 sets no limit.
    pub max_requests_per_connection: u32,
    /// Takes requests of HTTP/1.0 too; otherwise they are answered with 426. Such a connection carries one request.
    pub allow_http_1_0: bool,
    /// How field names are written.
    pub header_case: HeaderCase,
}

/// How field names are written. They are compared without case everywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HeaderCase {
    /// As they came.
    #[default]
    Preserve,
    /// `content-type`
    Lower,
    /// `Content-Type`
    Title,
}

impl Default for Http1Options {
    fn default() -> Self {
        Self {
            max_header_bytes: ByteSize(60 << 10),
            max_headers: 100,
            max_trailer_bytes: ByteSize(8 << 10),
            max_chunk_extension_bytes: ByteSize(4 << 10),
            idle_timeout: Millis(3_600_000),
            // Envoy has none by default and so can be held open by a byte an hour.
            request_headers_timeout: Millis(60_000),
            stream_idle_timeout: Millis(300_000),
            max_requests_per_connection: 0,
            allow_http_1_0: false,
            header_case: HeaderCase::Preserve,
        }
    }
}

impl Http1Options {
    /// The limits of heads.
    pub(crate) fn head_limits(&self) -> HeadLimits {
        HeadLimits { bytes: self.max_header_bytes.bytes(), fields: usize::from(self.max_headers) }
    }

    /// The limits of chunked content.
    pub(crate) fn body_limits(&self) -> crate::body::BodyLimits {
        let clip = |size: ByteSize| u32::try_from(size.bytes()).unwrap_or(u32::MAX);
        crate::body::BodyLimits {
            trailer_bytes: clip(self.max_trailer_bytes),
            extension_bytes: clip(self.max_chunk_extension_bytes),
            fields: self.max_headers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_read_as_documented() {
        let options: Http1Options =
            serde_json::from_str(r#"{"max_header_bytes": "16KiB", "idle_timeout": "90s", "header_case": "title"}"#)
                .unwrap();
        assert_eq!((options.max_header_bytes.0, options.idle_timeout.0), (16384, 90_000));
        assert_eq!((options.header_case, options.max_headers), (HeaderCase::Title, 100));
        let error = serde_json::from_str::<Http1Options>(r#"{"max_header": 1}"#).unwrap_err();
        assert!(error.to_string().contains("unknown field `max_header`"), "{error}");
    }
}
