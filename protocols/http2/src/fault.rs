//! What went wrong, in our words.

use h2::Reason;
use ringway_api::{Blame, BodyError, ConnError, ExchangeError, ExchangeErrorKind};

/// One word for an error code (RFC 9113, section 7), by who sent it.
fn word(error: &h2::Error) -> &'static str {
    if error.is_io() {
        return "transport_error";
    }
    if error.is_go_away() && error.is_remote() {
        return "http2_goaway";
    }
    match (error.is_remote(), error.reason()) {
        (true, Some(Reason::REFUSED_STREAM)) => "http2_refused_stream",
        (true, Some(Reason::ENHANCE_YOUR_CALM)) => "http2_told_to_calm_down",
        (true, Some(Reason::CANCEL | Reason::NO_ERROR)) => "http2_remote_reset",
        (true, _) => "http2_remote_error",
        (false, Some(Reason::FLOW_CONTROL_ERROR)) => "http2_flow_control_error",
        (false, Some(Reason::FRAME_SIZE_ERROR)) => "http2_frame_size_error",
        (false, Some(Reason::COMPRESSION_ERROR)) => "http2_compression_error",
        (false, Some(Reason::ENHANCE_YOUR_CALM)) => "http2_flood",
        (false, Some(Reason::CANCEL | Reason::NO_ERROR)) => "http2_cancelled",
        (false, _) => "http2_protocol_error",
    }
}

/// The end of a connection; `None` when it ended in order.
pub(crate) fn connection(error: h2::Error, peer: Blame) -> Option<ConnError> {
    if error.is_go_away() && error.reason() == Some(Reason::NO_ERROR) {
        return None;
    }
    let details = word(&error);
    if !error.is_io() {
        // What the peer tells us is its view; what h2 finds is a breach.
        let found = !error.is_remote();
        return Some(if found { ConnError::breach(peer, details) } else { ConnError::new(peer, details) });
    }
    error.into_io().map(|source| ConnError::io(peer, source))
}

/// The end of content.
pub(crate) fn body(error: &h2::Error, peer: Blame) -> BodyError {
    BodyError::new(peer, word(error))
}

/// The end of an exchange before its response.
pub(crate) fn exchange(error: &h2::Error) -> ExchangeError {
    // RFC 9113, section 8.7: refused streams, and those above what a GOAWAY names, were not processed. h2 ends just
    // those with the GOAWAY.
    let unseen = error.is_remote() && (error.reason() == Some(Reason::REFUSED_STREAM) || error.is_go_away());
    let closed = unseen || error.is_io() || error.is_remote();
    ExchangeError {
        kind: if closed { ExchangeErrorKind::Closed } else { ExchangeErrorKind::Protocol },
        blame: Blame::Upstream,
        details: word(error),
        unseen,
        status: None,
    }
}
