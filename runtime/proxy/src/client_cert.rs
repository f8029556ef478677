//! `X-Forwarded-Client-Cert`: tells the upstream who the client is. The form is Envoy's.

use std::fmt::Write;

use ringway_api::{Headers, PeerCertificate, TlsInfo};

const NAME: &str = "x-forwarded-client-cert";

/// What to do about the field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ClientCert {
    /// Remove it.
    #[default]
    Sanitize,
    /// Pass it on from clients with a certificate, remove it from others.
    ForwardOnly,
    /// The same, and add the client's own.
    AppendForward(Box<[CertDetail]>),
    /// Replace it by the client's own.
    SanitizeSet(Box<[CertDetail]>),
    /// Pass it on.
    AlwaysForwardOnly,
}

/// A part of a certificate that is told besides its fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertDetail {
    /// `Subject`
    Subject,
    /// `URI`, one for each name
    Uri,
    /// `DNS`, one for each name
    Dns,
    /// `Cert`: PEM, URL-encoded
    Cert,
    /// `Chain`: the same of all certificates that were sent
    Chain,
}

impl ClientCert {
    /// Marks a request of a connection.
    pub(crate) fn mark(&self, headers: &mut Headers, tls: Option<&TlsInfo>) {
        let peer = tls.and_then(|tls| tls.peer.as_deref());
        match (self, peer) {
            (Self::AlwaysForwardOnly, _) | (Self::ForwardOnly, Some(_)) => {}
            (Self::AppendForward(details), Some(peer)) => {
                let mut value = Vec::new();
                for there in headers.all(NAME) {
                    value.extend_from_slice(there);
                    value.push(b',');
                }
                value.extend_from_slice(element(peer, details).as_bytes());
                set(headers, &value);
            }
            (Self::SanitizeSet(details), Some(peer)) => set(headers, element(peer, details).as_bytes()),
            (Self::Sanitize | Self::SanitizeSet(_) | Self::ForwardOnly | Self::AppendForward(_), _) => {
                headers.remove(NAME);
            }
        }
    }
}

fn set(headers: &mut Headers, value: &[u8]) {
    if headers.set(NAME, value).is_err() {
        // A certificate can say anything; what no field may carry is left out as a whole.
        headers.remove(NAME);
    }
}

fn element(peer: &PeerCertificate, details: &[CertDetail]) -> String {
    let mut text = format!("Hash={}", peer.fingerprint());
    for detail in details {
        match detail {
            CertDetail::Subject => quoted(&mut text, "Subject", &peer.subject),
            CertDetail::Uri => peer.uri_sans.iter().for_each(|uri| quoted(&mut text, "URI", uri)),
            CertDetail::Dns => peer.dns_sans.iter().for_each(|name| quoted(&mut text, "DNS", name)),
            CertDetail::Cert => encoded(&mut text, "Cert", peer.chain.get(..1).unwrap_or_default()),
            CertDetail::Chain => encoded(&mut text, "Chain", &peer.chain),
        }
    }
    text
}

/// `;key=value`, in quotes where the value holds what separates.
fn quoted(text: &mut String, key: &str, value: &str) {
    if value.contains([',', ';', '=', '"']) || key == "Subject" {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"");
        let written = write!(text, ";{key}=\"{value}\"");
        debug_assert!(written.is_ok(), "a string takes everything");
    } else {
        text.extend([";", key, "=", value]);
    }
}

/// `;key="..."` with the certificates as PEM, URL-encoded.
fn encoded(text: &mut String, key: &str, chain: &[Box<[u8]>]) {
    text.extend([";", key, "=\""]);
    chain.iter().for_each(|der| PeerCertificate::url_encoded_pem(der, text));
    text.push('"');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn client() -> TlsInfo {
        let peer = PeerCertificate {
            chain: vec![b"leaf".as_slice().into(), b"issuer".as_slice().into()],
            sha256: [0xab; 32],
            subject: "CN=web,O=\"x\"".into(),
            issuer: "CN=ca".into(),
            serial: [1].as_slice().into(),
            not_before: std::time::UNIX_EPOCH,
            not_after: std::time::UNIX_EPOCH,
            uri_sans: vec!["spiffe://a/ns/b".into()],
            dns_sans: vec!["a.example".into(), "b.example".into()],
        };
        TlsInfo { peer: Some(Arc::new(peer)), ..TlsInfo::default() }
    }

    fn marked(policy: &ClientCert, there: Option<&str>, tls: Option<&TlsInfo>) -> Option<String> {
        let mut headers = Headers::new();
        if let Some(there) = there {
            headers.append(NAME, there.as_bytes()).unwrap();
        }
        policy.mark(&mut headers, tls);
        headers.first(NAME).map(|value| String::from_utf8(value.to_vec()).unwrap())
    }

    #[test]
    fn the_field_follows_its_policy() {
        let client = client();
        let hash = format!("Hash={}", "ab".repeat(32));
        let append = ClientCert::AppendForward(Box::default());
        let replace = ClientCert::SanitizeSet(Box::default());
        let both = format!("Hash=1,{hash}");
        for (policy, with, without) in [
            (&ClientCert::Sanitize, None, None),
            (&ClientCert::ForwardOnly, Some("Hash=1"), None),
            (&append, Some(both.as_str()), None),
            (&replace, Some(hash.as_str()), None),
            (&ClientCert::AlwaysForwardOnly, Some("Hash=1"), Some("Hash=1")),
        ] {
            assert_eq!(marked(policy, Some("Hash=1"), Some(&client)).as_deref(), with, "{policy:?}");
            assert_eq!(marked(policy, Some("Hash=1"), None).as_deref(), without, "{policy:?}");
        }
        assert_eq!(marked(&append, None, Some(&client)), Some(hash));
    }

    #[test]
    fn details_are_told_in_their_form() {
        let details = [CertDetail::Subject, CertDetail::Uri, CertDetail::Dns, CertDetail::Cert];
        let value = marked(&ClientCert::SanitizeSet(details.into()), None, Some(&client())).unwrap();
        let rest = value.strip_prefix(&format!("Hash={}", "ab".repeat(32))).unwrap();
        assert_eq!(
            rest,
            ";Subject=\"CN=web,O=\\\"x\\\"\";URI=spiffe://a/ns/b;DNS=a.example;DNS=b.example;\
             Cert=\"-----BEGIN%20CERTIFICATE-----%0AbGVhZg%3D%3D%0A-----END%20CERTIFICATE-----%0A\""
        );
    }
}
