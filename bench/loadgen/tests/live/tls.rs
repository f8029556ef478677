//! TLS of HTTP/1.1 and HTTP/2 against rustls, and everything that may be wrong with it.

use std::net::SocketAddr;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{ServerConfig, crypto};

use crate::server::start;
use crate::{bench, good};

/// An authority in a file, and a server with a certificate for `localhost` of its making.
struct Site {
    folder: TempDir,
    address: SocketAddr,
}

impl Site {
    fn new(alpn: &[&str]) -> Self {
        let authority_key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&authority_key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        let key = KeyPair::generate().unwrap();
        let issuer = Issuer::from_params(&params, &authority_key);
        let own = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        let mut config = ServerConfig::builder_with_provider(crypto::aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![own.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Self { folder, address: start(Some(config)) }
    }

    fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }
}

#[test]
fn both_versions_are_agreed_on_and_trusted_by_a_file() {
    let site = Site::new(&["h2", "http/1.1"]);
    let ca = site.authority();
    let ca = ca.to_str().unwrap();
    for (scheme, path, protocol) in [("https", "", "HTTP/1.1"), ("h2", "", "HTTP/2"), ("grpcs", "test/Bidi", "gRPC")] {
        let url = format!("{scheme}://{}/{path}", site.address);
        let report = good(&url, &["--ca", ca, "--sni", "localhost", "-m", "2"]);
        assert!(report["title"].as_str().unwrap().contains(&format!("{protocol} over TLS")), "{report}");
        assert_eq!(good(&url, &["--insecure"])["connections_opened"], 4);
    }
    // Bodies that are larger than a record and than the windows.
    let url = format!("grpcs://{}/test/Client", site.address);
    good(&url, &["-k", "--body", &"x".repeat(100_000), "--grpc-messages", "8", "--grpc-replies", "1"]);
}

#[test]
fn what_does_not_match_is_said() {
    let (site, other, old) = (Site::new(&["h2", "http/1.1"]), Site::new(&[]), Site::new(&["http/1.1"]));
    let plain = start(None);
    let (ca, stranger) = (site.authority(), other.authority());
    let (ca, stranger) = (ca.to_str().unwrap(), stranger.to_str().unwrap());
    let missing = format!("{ca}.none");
    let cases = [
        // Somebody else's authority, another name, no such file.
        ("https", site.address, &["--ca", stranger, "--sni", "localhost"][..], "TLS: invalid peer certificate"),
        ("h2", site.address, &["--ca", ca, "--sni", "elsewhere.test"], "not valid for name"),
        ("https", site.address, &["--ca", &missing], "No such file"),
        // No HTTP/2 behind it.
        ("h2", old.address, &["-k"], "TLS"),
        ("h2", other.address, &["-k"], "did not agree on h2"),
        // TLS to a plain port, and plain to one of TLS.
        ("https", plain, &["-k"], "answers with no TLS"),
        ("h2", plain, &["-k"], "answers with no TLS"),
        ("http", site.address, &[], "answers with TLS"),
        ("h2c", site.address, &[], "answers with TLS"),
    ];
    for (scheme, address, more, word) in cases {
        let (code, _, complaint) = bench(&format!("{scheme}://{address}/"), more);
        assert_eq!(code, 1, "{scheme} {more:?}: {complaint}");
        assert!(complaint.contains(word), "{scheme} {more:?}: {complaint}");
        assert!(complaint.lines().count() == 1, "{complaint}");
    }
}
