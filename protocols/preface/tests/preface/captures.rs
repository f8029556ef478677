//! ClientHellos of TLS stacks in use.

use std::sync::Arc;

use ringway_preface::client_hello::{Limits, Parsed, parse};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::client_hello::{alpn, hello};

/// OpenSSL 3.0: `s_client -servername Api.Example.com -alpn h2,http/1.1`.
const OPENSSL: &str = "\
    160301014e0100014a03033d254b588219dae7f3d8ddf1a071a402d68ebfd292589075e65d2472c0510ff920831b28501344f65ec6152c\
    3f4edb002888f0a9d7b7a7204e11e05aeb8aeb12cf003e130213031301c02cc030009fcca9cca8ccaac02bc02f009ec024c028006bc023\
    c0270067c00ac0140039c009c0130033009d009c003d003c0035002f00ff010000c300000014001200000f4170692e4578616d706c652e\
    636f6d000b000403000102000a00160014001d0017001e0019001801000101010201030104002300000010000e000c0268320868747470\
    2f312e310016000000170000000d002a0028040305030603080708080809080a080b080408050806040105010601030303010302040205\
    020602002b0009080304030303020301002d00020101003300260024001d0020ec65502c895697323a85a48879dd63d7cba8f3351ae459\
    3831a876547a9e0748";

/// OpenSSL 3.0: `s_client -noservername -tls1_2`.
const OPENSSL_TLS12: &str = "\
    16030100b7010000b303035598e022a18c74c42d9d37691a38fde8a1c312fc57a109e0d5f14f3b787c8b8d000038c02cc030009fcca9cc\
    a8ccaac02bc02f009ec024c028006bc023c0270067c00ac0140039c009c0130033009d009c003d003c0035002f00ff01000052000b0004\
    03000102000a000c000a001d0017001e00190018002300000016000000170000000d002a0028040305030603080708080809080a080b08\
    0408050806040105010601030303010302040205020602";

/// OpenSSL 3.0: `s_client -servername a.example -tls1_3 -ciphersuites TLS_AES_128_GCM_SHA256 -groups X25519`.
const OPENSSL_TLS13: &str = "\
    16030100d8010000d403030e68da3fe673050d4590ac6ceabfb8a195158b1b6fc06e2bac397b30efdcb001209c2efa28614e511b13a222\
    9b5d604f889ca5461429b2e0caec4744ce8f24679b0004130100ff010000870000000e000c000009612e6578616d706c65000b00040300\
    0102000a00040002001d002300000016000000170000000d001e001c040305030603080708080809080a080b0804080508060401050106\
    01002b0003020304002d00020101003300260024001d00202d42aa8793512db69647644c928e934fdaea00977982653a38ba3000c5354a\
    7e";

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes().chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// The first flight of a rustls client.
fn rustls_hello(name: &'static str, change: impl FnOnce(&mut ClientConfig), post_quantum: bool) -> Vec<u8> {
    let groups = if post_quantum { vec![kx_group::X25519MLKEM768, kx_group::X25519] } else { vec![kx_group::X25519] };
    let provider = CryptoProvider { kx_groups: groups, ..default_provider() };
    let builder =
        ClientConfig::builder_with_provider(Arc::new(provider)).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    change(&mut config);
    let mut client = ClientConnection::new(Arc::new(config), ServerName::try_from(name).unwrap()).unwrap();
    let mut out = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut out).unwrap();
    }
    out
}

#[test]
fn openssl() {
    let read = hello(&bytes(OPENSSL));
    assert_eq!(read.server_name.as_deref(), Some("api.example.com"));
    assert_eq!(alpn(&read), [&b"h2"[..], b"http/1.1"]);
    assert_eq!((read.versions, read.legacy), (vec![0x0304, 0x0303, 0x0302, 0x0301], false));

    let read = hello(&bytes(OPENSSL_TLS12));
    assert_eq!(read.server_name, None);
    assert_eq!(alpn(&read), Vec::<&[u8]>::new());
    assert_eq!((read.versions, read.legacy), (vec![0x0303], true));

    let read = hello(&bytes(OPENSSL_TLS13));
    assert_eq!(read.server_name.as_deref(), Some("a.example"));
    assert_eq!((read.versions, read.legacy), (vec![0x0304], false));
}

#[test]
fn rustls() {
    let protocols = |config: &mut ClientConfig| config.alpn_protocols = vec![b"h2".into(), b"http/1.1".into()];
    let classical = rustls_hello("Api.Example.com", protocols, false);
    let post_quantum = rustls_hello("Api.Example.com", protocols, true);
    assert!(post_quantum.len() > 1_184 + classical.len() / 2, "with the key share of ML-KEM-768");
    for flight in [classical, post_quantum] {
        let read = hello(&flight);
        assert_eq!(read.server_name.as_deref(), Some("api.example.com"));
        assert_eq!(alpn(&read), [&b"h2"[..], b"http/1.1"]);
        assert_eq!((read.versions, read.legacy), (vec![0x0304, 0x0303], false));
    }
    // No name for an IP address (RFC 6066, section 3).
    let read = hello(&rustls_hello("192.0.2.1", |_| {}, false));
    assert_eq!(read.server_name, None);
    assert_eq!(alpn(&read), Vec::<&[u8]>::new());
}

#[test]
fn rustls_in_small_records() {
    for size in [32, 64, 100, 512, 1000] {
        let flight = rustls_hello("a.example", |config| config.max_fragment_size = Some(size), true);
        assert_eq!(hello(&flight).server_name.as_deref(), Some("a.example"));
        let one = Limits { records: 1, ..Limits::default() };
        assert!(matches!(parse(&flight, one), Parsed::Malformed(_)), "it came in several records");
    }
}
