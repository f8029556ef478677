//! The frames of a connection, looked at before anything else sees them: limits on what costs a peer nothing to send,
//! and the few rules that the codec behind does not keep, or keeps under another error code.
//!
//! Pure: bytes and the time go in, a verdict comes out. Only frame headers (RFC 9113, section 4.1) and settings are
//! read; whether a frame makes sense is for the codec.

use std::time::Duration;

use ringway_api::Time;
use schemars::JsonSchema;
use serde::Deserialize;

/// Frames of each kind that a peer may send in ten seconds. Exceeding one closes the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FrameLimits {
    /// `SETTINGS`, acknowledgements left out.
    pub settings: u32,
    /// `PING`, acknowledgements left out.
    pub ping: u32,
    /// `PRIORITY`, for each stream opened besides.
    pub priority: u32,
    /// `WINDOW_UPDATE`, for each `DATA` frame sent and stream opened besides.
    pub window_update: u32,
    /// `DATA` without content, one after the other.
    pub empty_data: u32,
    /// `RST_STREAM`, once more than half of the streams opened are reset: rapid reset (CVE-2023-44487). A server may
    /// reset each stream of ours besides.
    pub reset: u32,
    /// `CONTINUATION`, one after the other (CVE-2024-27316): 5, or what `max_header_bytes` needs in frames of 16 KiB and
    /// a quarter more, is the most, whatever is said here.
    pub continuation: u32,
    /// Frames of unknown types.
    pub unknown: u32,
}

impl Default for FrameLimits {
    fn default() -> Self {
        // Envoy's numbers where it has them.
        Self {
            settings: 100,
            ping: 1000,
            priority: 100,
            window_update: 10,
            empty_data: 10,
            reset: 100,
            continuation: 5,
            unknown: 1000,
        }
    }
}

/// What a peer has done that ends its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breach {
    /// One word for logs and statistics.
    pub details: &'static str,
    /// What to say goodbye with (RFC 9113, section 7).
    pub code: u32,
    /// Where the frame begins in the bytes that were looked at; 0 if it began before them.
    pub at: usize,
}

/// Error codes (RFC 9113, section 7).
mod code {
    pub(super) const PROTOCOL_ERROR: u32 = 1;
    pub(super) const FLOW_CONTROL_ERROR: u32 = 3;
    pub(super) const FRAME_SIZE_ERROR: u32 = 6;
    pub(super) const ENHANCE_YOUR_CALM: u32 = 11;
}

/// The period of the limits.
const PERIOD: Duration = Duration::from_secs(10);
/// `WINDOW_UPDATE` frames that are free: a client that starts with many streams and large windows.
const FREE_UPDATES: u32 = 1000;
const HEADER: usize = 9;

/// Frame types (RFC 9113, section 6).
mod kind {
    pub(super) const DATA: u8 = 0;
    pub(super) const HEADERS: u8 = 1;
    pub(super) const PRIORITY: u8 = 2;
    pub(super) const RST_STREAM: u8 = 3;
    pub(super) const SETTINGS: u8 = 4;
    pub(super) const PUSH_PROMISE: u8 = 5;
    pub(super) const PING: u8 = 6;
    pub(super) const GOAWAY: u8 = 7;
    pub(super) const WINDOW_UPDATE: u8 = 8;
    pub(super) const CONTINUATION: u8 = 9;
}

/// `ACK` of `SETTINGS` and `PING`, `END_STREAM` of `DATA`.
const FLAG: u8 = 1;
const PADDED: u8 = 8;
const WITH_PRIORITY: u8 = 0x20;

/// Settings (RFC 9113, section 6.5.2).
const ENABLE_PUSH: u16 = 2;
const INITIAL_WINDOW_SIZE: u16 = 4;

/// Reads one direction of a connection.
#[derive(Debug)]
pub struct Scanner {
    limits: FrameLimits,
    /// Bytes to skip: of the preface, then of payloads.
    skip: usize,
    header: [u8; HEADER],
    have: u8,
    /// Nothing has come yet.
    first: bool,
    /// The peer is a server.
    from_server: bool,
    /// What is skipped are settings: those read of the one that has begun, and how many bytes of it.
    setting: Option<(u64, u8)>,
    goaway: bool,
    period: Time,
    counts: Counts,
    /// In a row, whatever the period.
    empty_data: u32,
    continuation: u32,
    content: u64,
}

#[derive(Debug, Default)]
struct Counts {
    settings: u32,
    ping: u32,
    priority: u32,
    window_update: u32,
    reset: u32,
    unknown: u32,
    opened: u32,
    data_sent: u32,
    asked: u32,
}

impl Scanner {
    /// A scanner that begins after `preface` bytes, of which a client sends some and a server none.
    pub fn new(limits: FrameLimits, preface: usize, now: Time) -> Self {
        Self {
            limits,
            skip: preface,
            header: [0; HEADER],
            have: 0,
            first: true,
            from_server: preface == 0,
            setting: None,
            goaway: false,
            period: now,
            counts: Counts::default(),
            empty_data: 0,
            continuation: 0,
            content: 0,
        }
    }

    /// Looks at what was received next.
    ///
    /// # Errors
    /// What it breaks; the connection must be closed, and what comes from there on must not be acted upon.
    pub fn scan(&mut self, bytes: &[u8], now: Time) -> Result<(), Breach> {
        if now.since(self.period) >= PERIOD {
            self.period = now;
            self.counts = Counts::default();
        }
        let (mut rest, mut at) = (bytes, 0);
        loop {
            let (payload, after) = rest.split_at_checked(self.skip).unwrap_or((rest, &[]));
            self.skip -= payload.len();
            rest = after;
            self.settings(payload).map_err(|breach| Breach { at, ..breach })?;
            if self.have == 0 {
                at = bytes.len() - rest.len();
            }
            let have = usize::from(self.have);
            let (Some(room), false) = (self.header.get_mut(have..), rest.is_empty()) else { return Ok(()) };
            let taken = room.len().min(rest.len());
            for (place, byte) in room.iter_mut().zip(rest) {
                *place = *byte;
            }
            rest = rest.get(taken..).unwrap_or_default();
            self.have += taken as u8;
            if usize::from(self.have) < HEADER {
                return Ok(());
            }
            self.have = 0;
            let [a, b, c, kind, flags, id @ ..] = self.header;
            let length = u32::from_be_bytes([0, a, b, c]);
            self.skip = length as usize;
            let on_stream = u32::from_be_bytes(id) << 1 != 0;
            self.rules(kind, flags, length, on_stream).map_err(|breach| Breach { at, ..breach })?;
            self.frame(kind, flags, length).map_err(|flood| breach(flood, code::ENHANCE_YOUR_CALM, at))?;
        }
    }

    /// Whether the peer has said that it takes no more streams.
    pub fn goaway(&self) -> bool {
        self.goaway
    }

    /// Bytes of `DATA` frames that have begun so far.
    pub fn content(&self) -> u64 {
        self.content
    }

    /// Notes that `DATA` was sent, which entitles the peer to a `WINDOW_UPDATE` or two.
    pub fn data_sent(&mut self) {
        self.counts.data_sent = self.counts.data_sent.saturating_add(1);
    }

    /// Notes that we have opened a stream, which the peer may reset.
    pub fn asked(&mut self) {
        self.counts.asked = self.counts.asked.saturating_add(1);
    }

    /// What the codec does not look at, or calls by another name.
    fn rules(&mut self, kind: u8, flags: u8, length: u32, on_stream: bool) -> Result<(), Breach> {
        let acknowledges = flags & FLAG != 0;
        let settings = kind == kind::SETTINGS && !acknowledges;
        self.setting = settings.then_some((0, 0));
        // RFC 9113, section 3.4: a preface ends with settings.
        if std::mem::take(&mut self.first) && !settings {
            return Err(breach("http2_protocol_error", code::PROTOCOL_ERROR, 0));
        }
        let in_front = |flag: u8, bytes: u32| if flags & flag != 0 { bytes } else { 0 };
        let fits = match kind {
            kind::DATA | kind::PUSH_PROMISE => length >= in_front(PADDED, 1),
            kind::HEADERS => length >= in_front(PADDED, 1) + in_front(WITH_PRIORITY, 5),
            kind::PRIORITY => length == 5,
            kind::RST_STREAM | kind::WINDOW_UPDATE => length == 4,
            kind::SETTINGS if acknowledges => length == 0,
            kind::SETTINGS => length.is_multiple_of(6),
            kind::PING => length == 8,
            kind::GOAWAY => length >= 8,
            _ => true,
        };
        if !fits {
            return Err(breach("http2_frame_size_error", code::FRAME_SIZE_ERROR, 0));
        }
        if kind == kind::GOAWAY {
            if on_stream {
                return Err(breach("http2_protocol_error", code::PROTOCOL_ERROR, 0));
            }
            self.goaway = true;
        }
        Ok(())
    }

    /// Reads settings, if it is those that are skipped.
    fn settings(&mut self, payload: &[u8]) -> Result<(), Breach> {
        let Some((setting, have)) = &mut self.setting else { return Ok(()) };
        for byte in payload {
            (*setting, *have) = (*setting << 8 | u64::from(*byte), *have + 1);
            if *have < 6 {
                continue;
            }
            let (id, value) = ((*setting >> 32) as u16, *setting as u32);
            *have = 0;
            if id == INITIAL_WINDOW_SIZE && value > i32::MAX as u32 {
                return Err(breach("http2_flow_control_error", code::FLOW_CONTROL_ERROR, 0));
            }
            if id == ENABLE_PUSH && value != 0 && self.from_server {
                return Err(breach("http2_protocol_error", code::PROTOCOL_ERROR, 0));
            }
        }
        Ok(())
    }

    fn frame(&mut self, kind: u8, flags: u8, length: u32) -> Result<(), &'static str> {
        if kind == kind::DATA {
            self.content += u64::from(length);
        }
        let (limits, counts) = (self.limits, &mut self.counts);
        if kind != kind::CONTINUATION {
            self.continuation = 0;
        }
        let (count, limit, flood) = match kind {
            kind::DATA if length == 0 && flags & FLAG == 0 => {
                (&mut self.empty_data, limits.empty_data, "http2_empty_data_flood")
            }
            kind::DATA => {
                self.empty_data = 0;
                return Ok(());
            }
            kind::HEADERS => {
                counts.opened = counts.opened.saturating_add(1);
                return Ok(());
            }
            kind::PRIORITY => {
                let limit = limits.priority.saturating_mul(counts.opened.saturating_add(1));
                (&mut counts.priority, limit, "http2_priority_flood")
            }
            kind::RST_STREAM => {
                let limit = limits.reset.max(counts.opened / 2).saturating_add(counts.asked);
                (&mut counts.reset, limit, "http2_rapid_reset")
            }
            kind::SETTINGS if flags & FLAG == 0 => (&mut counts.settings, limits.settings, "http2_settings_flood"),
            kind::PING if flags & FLAG == 0 => (&mut counts.ping, limits.ping, "http2_ping_flood"),
            kind::SETTINGS | kind::PING | kind::PUSH_PROMISE | kind::GOAWAY => return Ok(()),
            kind::WINDOW_UPDATE => {
                let earned = counts.data_sent.saturating_add(counts.opened).saturating_mul(limits.window_update);
                let limit = earned.saturating_add(FREE_UPDATES);
                (&mut counts.window_update, limit, "http2_window_update_flood")
            }
            kind::CONTINUATION => (&mut self.continuation, limits.continuation, "http2_continuation_flood"),
            _ => (&mut counts.unknown, limits.unknown, "http2_unknown_frame_flood"),
        };
        *count = count.saturating_add(1);
        if *count > limit { Err(flood) } else { Ok(()) }
    }
}

const fn breach(details: &'static str, code: u32, at: usize) -> Breach {
    Breach { details, code, at }
}

#[cfg(test)]
mod tests;
