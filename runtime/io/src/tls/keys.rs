//! Sealing and opening records with the keys of a connection (RFC 8446, section 5.2; RFC 5246, section 6.2.3).

use std::ops::Range;

use ringway_api::Chunk;
use rustls::crypto::cipher::{
    InboundOpaqueMessage, MessageDecrypter, MessageEncrypter, OutboundChunks, OutboundPlainMessage,
};
use rustls::{ConnectionTrafficSecrets, ContentType, Error, ProtocolVersion, SupportedCipherSuite};

use super::fault::Fault;
use super::record::HEADER;

/// The keys of the sending side.
pub(super) struct Sealer {
    cipher: Box<dyn MessageEncrypter>,
    seq: u64,
}

/// The keys of the receiving side.
pub(super) struct Opener {
    cipher: Box<dyn MessageDecrypter>,
    seq: u64,
}

/// What a record held: its content type, and where in the record its plaintext lies.
pub(super) type Plaintext = (u8, Range<usize>);

// === impl Sealer ===

impl Sealer {
    pub(super) fn new(suite: SupportedCipherSuite, seq: u64, secrets: ConnectionTrafficSecrets) -> Result<Self, Error> {
        let (key, iv) = parts(secrets)?;
        let mut cipher = match suite {
            SupportedCipherSuite::Tls13(suite) => suite.aead_alg.encrypter(key, iv),
            SupportedCipherSuite::Tls12(suite) => {
                let (fixed, explicit) = iv.as_ref().split_at(suite.aead_alg.key_block_shape().fixed_iv_len);
                suite.aead_alg.encrypter(key, fixed, explicit)
            }
        };
        if seq > 0 {
            // The library takes the first nonce it sees for that of sequence number 0 and refuses later ones that
            // are not above it. So it sees that one; the record is dropped here and nobody ever sees it.
            let first = message(ContentType::Alert, OutboundChunks::Single(&[]));
            drop(cipher.encrypt(first, 0)?);
        }
        Ok(Self { cipher, seq })
    }

    /// How many records have been sealed with these keys.
    pub(super) fn count(&self) -> u64 {
        self.seq
    }

    /// One record of `content`, which is at most [`MAX_PLAINTEXT`](super::record::MAX_PLAINTEXT) bytes.
    pub(super) fn seal(&mut self, kind: ContentType, content: OutboundChunks<'_>) -> Result<Chunk, Fault> {
        let sealed = self.cipher.encrypt(message(kind, content), self.seq).map_err(|_| Fault::SEAL)?;
        self.seq += 1;
        Ok(Chunk::from(sealed.encode()))
    }
}

// === impl Opener ===

impl Opener {
    pub(super) fn new(suite: SupportedCipherSuite, seq: u64, secrets: ConnectionTrafficSecrets) -> Result<Self, Error> {
        let (key, iv) = parts(secrets)?;
        let cipher = match suite {
            SupportedCipherSuite::Tls13(suite) => suite.aead_alg.decrypter(key, iv),
            SupportedCipherSuite::Tls12(suite) => {
                let (fixed, _) = iv.as_ref().split_at(suite.aead_alg.key_block_shape().fixed_iv_len);
                suite.aead_alg.decrypter(key, fixed)
            }
        };
        Ok(Self { cipher, seq })
    }

    /// Decrypts a whole record, header included, in place.
    ///
    /// # Errors
    /// It is not authentic, too long, or padding alone.
    pub(super) fn open(&mut self, record: &mut [u8]) -> Result<Plaintext, Error> {
        let base = record.as_ptr() as usize;
        let Some((&mut [kind, major, minor, _, _], payload)) = record.split_first_chunk_mut::<HEADER>() else {
            return Err(Error::DecryptError);
        };
        let version = ProtocolVersion::from(u16::from_be_bytes([major, minor]));
        let sealed = InboundOpaqueMessage::new(ContentType::from(kind), version, payload);
        let plain = self.cipher.decrypt(sealed, self.seq)?;
        self.seq += 1;
        let start = (plain.payload.as_ptr() as usize).saturating_sub(base);
        Ok((plain.typ.into(), start..start + plain.payload.len()))
    }
}

/// TLS 1.3 has the version of 1.2 on its records as well (RFC 8446, section 5.1).
fn message(typ: ContentType, payload: OutboundChunks<'_>) -> OutboundPlainMessage<'_> {
    OutboundPlainMessage { typ, version: ProtocolVersion::TLSv1_2, payload }
}

fn parts(
    secrets: ConnectionTrafficSecrets,
) -> Result<(rustls::crypto::cipher::AeadKey, rustls::crypto::cipher::Iv), Error> {
    match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => Ok((key, iv)),
        _ => Err(Error::General("a cipher that cannot be used outside the library".into())),
    }
}
