//! The frames of a connection, looked at before anything else sees them: limits on what costs a peer nothing to send.
//!
//! Pure: bytes and the time go in, a verdict comes out. Only frame headers (RFC 9113, section 4.1) are read; whether a
//! frame makes sense is for the codec behind.

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
    /// `RST_STREAM`, once more than half of the streams opened are reset: rapid reset (CVE-2023-44487).
    pub reset: u32,
    /// `CONTINUATION`, one after the other (CVE-2024-27316).
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
            continuation: 32,
            unknown: 1000,
        }
    }
}

/// Which limit a peer has exceeded: one word for logs and statistics.
pub type Flood = &'static str;

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

/// Reads one direction of a connection.
#[derive(Debug)]
pub struct Scanner {
    limits: FrameLimits,
    /// Bytes to skip: of the preface, then of payloads.
    skip: usize,
    header: [u8; HEADER],
    have: u8,
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
}

impl Scanner {
    /// A scanner that begins after `preface` bytes.
    pub fn new(limits: FrameLimits, preface: usize, now: Time) -> Self {
        Self {
            limits,
            skip: preface,
            header: [0; HEADER],
            have: 0,
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
    /// The limit that it exceeds; the connection must be closed.
    pub fn scan(&mut self, mut bytes: &[u8], now: Time) -> Result<(), Flood> {
        if now.since(self.period) >= PERIOD {
            self.period = now;
            self.counts = Counts::default();
        }
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            let have = usize::from(self.have);
            let (Some(room), false) = (self.header.get_mut(have..), bytes.is_empty()) else { return Ok(()) };
            let taken = room.len().min(bytes.len());
            for (place, byte) in room.iter_mut().zip(bytes) {
                *place = *byte;
            }
            bytes = bytes.get(taken..).unwrap_or_default();
            self.have += taken as u8;
            if usize::from(self.have) < HEADER {
                return Ok(());
            }
            self.have = 0;
            let [a, b, c, kind, flags, ..] = self.header;
            let length = u32::from_be_bytes([0, a, b, c]);
            self.skip = length as usize;
            self.frame(kind, flags, length)?;
        }
    }

    /// Bytes of `DATA` frames that have begun so far.
    pub fn content(&self) -> u64 {
        self.content
    }

    /// Notes that `DATA` was sent, which entitles the peer to a `WINDOW_UPDATE` or two.
    pub fn data_sent(&mut self) {
        self.counts.data_sent = self.counts.data_sent.saturating_add(1);
    }

    fn frame(&mut self, kind: u8, flags: u8, length: u32) -> Result<(), Flood> {
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
                let limit = limits.reset.max(counts.opened / 2);
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

#[cfg(test)]
mod tests;
