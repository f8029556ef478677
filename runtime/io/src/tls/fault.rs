//! Why TLS failed: one word for logs and statistics, and the alert that tells the peer.

use std::fmt;
use std::io;

use ringway_api::{Blame, ConnError};
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};

use super::verify::NotAllowed;

/// A failure of an established connection. It is sticky: every later call of the stream returns it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    pub(super) word: &'static str,
    pub(super) kind: io::ErrorKind,
    /// What the peer is told; `None` when it said so itself, or is gone.
    pub(super) alert: Option<AlertDescription>,
}

/// The one word for an error that a [`TlsStream`](super::TlsStream) returned, such as `tls_bad_record`; `None` when
/// it is the transport's own.
pub fn details(error: &io::Error) -> Option<&'static str> {
    error.get_ref()?.downcast_ref::<Word>().map(|word| word.0)
}

/// Why a handshake failed, of whose peer is `side`.
pub(super) fn refused(error: &Error, side: Blame) -> ConnError {
    let (word, blame) = match error {
        // Ours: no randomness, no clock, keys that do not fit.
        Error::FailedToGetCurrentTime | Error::FailedToGetRandomBytes => ("tls_no_clock_or_randomness", Blame::Local),
        Error::InconsistentKeys(_) | Error::BadMaxFragmentSize | Error::EncryptError => ("tls_local", Blame::Local),
        other => (word(other), side),
    };
    let source = io::Error::new(io::ErrorKind::InvalidData, error.clone());
    ConnError { source: Some(source), ..ConnError::breach(blame, word) }
}

// === impl Fault ===

impl Fault {
    /// The peer broke the protocol.
    pub(super) const fn protocol(word: &'static str, alert: AlertDescription) -> Self {
        Self { word, kind: io::ErrorKind::InvalidData, alert: Some(alert) }
    }

    /// The transport ended without a closure alert: what came before may be cut short (RFC 8446, section 6.1).
    pub(super) const TRUNCATED: Self = Self { word: "tls_truncated", kind: io::ErrorKind::UnexpectedEof, alert: None };

    /// The stream was given up by its owner.
    pub(super) const ABORTED: Self = Self { word: "tls_aborted", kind: io::ErrorKind::ConnectionAborted, alert: None };

    /// Sealing failed; only a bug or a key that was used too often.
    pub(super) const SEAL: Self =
        Self { word: "tls_seal_failed", kind: io::ErrorKind::Other, alert: Some(AlertDescription::InternalError) };

    /// A record or message that rustls refused.
    pub(super) fn of(error: &Error) -> Self {
        let alert = match error {
            Error::DecryptError => AlertDescription::BadRecordMac,
            Error::PeerSentOversizedRecord => AlertDescription::RecordOverflow,
            Error::PeerMisbehaved(_) => AlertDescription::UnexpectedMessage,
            Error::InvalidMessage(_) => AlertDescription::DecodeError,
            _ => AlertDescription::InternalError,
        };
        Self::protocol(word(error), alert)
    }

    /// The peer sent a fatal alert.
    pub(super) fn received(alert: AlertDescription) -> Self {
        Self { word: alert_word(alert), kind: io::ErrorKind::ConnectionReset, alert: None }
    }
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        Self::new(fault.kind, Word(fault.word))
    }
}

/// The error behind an `io::Error`.
#[derive(Debug)]
struct Word(&'static str);

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Word {}

fn word(error: &Error) -> &'static str {
    match error {
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType
            | InvalidMessage::UnknownProtocolVersion
            | InvalidMessage::InvalidEmptyPayload,
        ) => "tls_not_tls",
        Error::InvalidMessage(InvalidMessage::MessageTooLarge) | Error::PeerSentOversizedRecord => {
            "tls_record_overflow"
        }
        Error::InvalidMessage(_) => "tls_malformed",
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => "tls_unexpected_message",
        Error::PeerMisbehaved(_) | Error::UnsupportedNameType | Error::InvalidEncryptedClientHello(_) => {
            "tls_protocol_violation"
        }
        Error::NoCertificatesPresented => "tls_certificate_required",
        Error::InvalidCertificate(error) => certificate_word(error),
        Error::InvalidCertRevocationList(_) => "tls_revocation_unknown",
        Error::DecryptError => "tls_bad_record",
        Error::NoApplicationProtocol => "tls_no_application_protocol",
        Error::PeerIncompatible(error) => incompatible_word(error),
        Error::AlertReceived(alert) => alert_word(*alert),
        // What a server says when no certificate of its fits the name or the key types of the client.
        Error::General(_) => "tls_no_certificate",
        _ => "tls_failed",
    }
}

fn certificate_word(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "tls_certificate_expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "tls_certificate_not_yet_valid",
        CertificateError::Revoked => "tls_certificate_revoked",
        CertificateError::UnknownIssuer => "tls_unknown_ca",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => "tls_name_mismatch",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => "tls_certificate_purpose",
        CertificateError::UnknownRevocationStatus
        | CertificateError::ExpiredRevocationList
        | CertificateError::ExpiredRevocationListContext { .. } => "tls_revocation_unknown",
        CertificateError::Other(why) if why.0.is::<NotAllowed>() => "tls_name_not_allowed",
        CertificateError::BadSignature => "tls_bad_signature",
        _ => "tls_bad_certificate",
    }
}

fn incompatible_word(error: &PeerIncompatible) -> &'static str {
    match error {
        PeerIncompatible::NoCipherSuitesInCommon => "tls_no_shared_cipher",
        PeerIncompatible::NoKxGroupsInCommon | PeerIncompatible::NoEcPointFormatsInCommon => "tls_no_shared_group",
        PeerIncompatible::NoSignatureSchemesInCommon
        | PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon => "tls_no_shared_signature",
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled => "tls_no_shared_version",
        _ => "tls_incompatible",
    }
}

fn alert_word(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::UnexpectedMessage => "tls_alert_unexpected_message",
        AlertDescription::BadRecordMac => "tls_alert_bad_record_mac",
        AlertDescription::RecordOverflow => "tls_alert_record_overflow",
        AlertDescription::HandshakeFailure => "tls_alert_handshake_failure",
        AlertDescription::BadCertificate => "tls_alert_bad_certificate",
        AlertDescription::UnsupportedCertificate => "tls_alert_unsupported_certificate",
        AlertDescription::CertificateRevoked => "tls_alert_certificate_revoked",
        AlertDescription::CertificateExpired => "tls_alert_certificate_expired",
        AlertDescription::CertificateUnknown => "tls_alert_certificate_unknown",
        AlertDescription::IllegalParameter => "tls_alert_illegal_parameter",
        AlertDescription::UnknownCA => "tls_alert_unknown_ca",
        AlertDescription::AccessDenied => "tls_alert_access_denied",
        AlertDescription::DecodeError => "tls_alert_decode_error",
        AlertDescription::DecryptError => "tls_alert_decrypt_error",
        AlertDescription::ProtocolVersion => "tls_alert_protocol_version",
        AlertDescription::InsufficientSecurity => "tls_alert_insufficient_security",
        AlertDescription::InternalError => "tls_alert_internal_error",
        AlertDescription::UserCanceled => "tls_alert_user_canceled",
        AlertDescription::NoRenegotiation => "tls_alert_no_renegotiation",
        AlertDescription::UnrecognisedName => "tls_alert_unrecognized_name",
        AlertDescription::CertificateRequired => "tls_alert_certificate_required",
        AlertDescription::NoApplicationProtocol => "tls_alert_no_application_protocol",
        AlertDescription::CloseNotify => "tls_alert_close_notify",
        _ => "tls_alert_other",
    }
}
