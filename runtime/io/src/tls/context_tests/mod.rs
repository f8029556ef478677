//! Contexts against each other, in memory.

mod config;
mod handshake;
mod resumption;
mod verify;

use rustls::{CertificateError, Error};

use super::testing::{Ca, Issued, Refused, meet};
use super::*;

fn client(params: ClientParams) -> ClientTls {
    ClientTls::new(params).unwrap()
}

fn rule(kind: SanKind, pattern: SanPattern) -> SanRules {
    [SanRule::new(kind, pattern, "rule").unwrap()].into_iter().collect()
}

fn spiffe(id: &str) -> SanRules {
    rule(SanKind::Uri, SanPattern::Exact(id.to_owned()))
}

fn trust(ca: &Ca) -> ClientTrust {
    ClientTrust { roots: ca.roots(), crls: Crls::default(), names: SanRules::default() }
}

fn with_certificate(ca: &Ca, own: &Issued) -> ClientTls {
    client(ClientParams { certificate: Some(own.load()), ..ca.client() })
}

fn refusal(server: &ServerTls, client: &ClientTls, host: &str) -> CertificateError {
    match meet(server, client, host).unwrap_err() {
        Refused::Client(Error::InvalidCertificate(why)) => why,
        other => panic!("{other:?}"),
    }
}
