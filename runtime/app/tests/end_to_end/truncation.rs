//! Ends of TLS connections that are not said in TLS: whoever is on the way can make them, so they are no ends of
//! messages (RFC 8446, section 6.1).

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use rustls::{ALL_VERSIONS, ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};

use crate::edge::{config, routes};
use crate::proxy::{Client, Proxy, eventually};
use crate::secrets::{Authority, Identity, TlsClient};

type Secured = StreamOwned<ServerConnection, TcpStream>;

/// An upstream that speaks TLS, takes one request on a connection, and answers as it is told.
pub(crate) struct TlsUpstream {
    pub(crate) address: SocketAddr,
    pub(crate) heads: Arc<Mutex<Vec<String>>>,
}

impl TlsUpstream {
    pub(crate) fn start(
        identity: &Identity,
        versions: &[&'static SupportedProtocolVersion],
        answer: impl Fn(&str, &mut Secured) + Send + Sync + 'static,
    ) -> Self {
        let config = ServerConfig::builder_with_protocol_versions(versions).with_no_client_auth();
        Self::start_as(config.with_single_cert(identity.chain(), identity.private_key()).unwrap(), answer)
    }

    pub(crate) fn start_as(config: ServerConfig, answer: impl Fn(&str, &mut Secured) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, heads) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<String>>>::default());
        let (noted, config, answer) = (heads.clone(), Arc::new(config), Arc::new(answer));
        thread::spawn(move || {
            for socket in listener.incoming() {
                let (socket, noted, answer) = (socket.unwrap(), noted.clone(), answer.clone());
                let mut stream = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), socket);
                thread::spawn(move || {
                    let Some(head) = read_head(&mut stream) else { return };
                    noted.lock().unwrap().push(head.clone());
                    answer(&head, &mut stream);
                });
            }
        });
        Self { address, heads }
    }

    /// Answers 200.
    pub(crate) fn ok(_head: &str, stream: &mut Secured) {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").ok();
        finish(stream);
    }
}

fn read_head(stream: &mut Secured) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.extend(byte);
    }
    String::from_utf8(head).ok()
}

/// Ends what is sent, in TLS and below, and waits for the peer's end.
fn finish(stream: &mut Secured) {
    stream.conn.send_close_notify();
    stream.flush().ok();
    cut(stream);
}

/// Ends what is sent without saying so in TLS, and waits for the peer's end.
fn cut(stream: &mut Secured) {
    stream.flush().ok();
    stream.sock.shutdown(Shutdown::Write).ok();
    stream.sock.read_to_end(&mut Vec::new()).ok();
}

#[test]
fn a_response_that_is_cut_off_is_not_passed_on_as_whole() {
    let authority = Authority::new();
    let upstream = TlsUpstream::start(&authority.issue("app.internal"), ALL_VERSIONS, |head, stream| {
        let framing = if head.starts_with("GET /length") { "Content-Length: 100\r\n" } else { "" };
        write!(stream, "HTTP/1.1 200 OK\r\n{framing}\r\nhalf of it").ok();
        if head.contains("-said ") { finish(stream) } else { cut(stream) }
    });
    let mut proxy = Proxy::start_with(|dir, web, raw, admin| {
        authority.save(dir, "ca.pem");
        let at = dir.display();
        let log = format!(
            "access_log: {{ path: '{at}/access.log', format: \"%REQ(:PATH)% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%\" }}"
        );
        let listener = format!("name: web, address: '{web}', protocol: http1, {log}, routes: {}", routes("app"));
        let tls = format!("tls: {{ ca: '{at}/ca.pem', sni: app.internal }}");
        let raw = format!("name: raw, address: '{raw}', protocol: tcp, cluster: bytes");
        let clusters = ["name: app", "name: bytes, protocol: tcp"]
            .map(|kind| format!("{kind}, endpoints: ['{}'], {tls}", upstream.address));
        config(admin, &[listener, raw], &clusters)
    });
    for (path, cut) in [("/close-said", false), ("/close", true)] {
        let mut socket = TcpStream::connect(proxy.tcp).unwrap();
        write!(socket, "GET {path} HTTP/1.1\r\n\r\n").unwrap();
        let end = socket.read_to_end(&mut Vec::new());
        assert_eq!(end.err().map(|error| error.kind()), cut.then_some(io::ErrorKind::ConnectionReset), "{path}");
    }
    let answer = |path: &str| {
        let mut client = Client::connect(proxy.web);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes());
        String::from_utf8(client.rest()).unwrap()
    };
    let whole = answer("/close-said");
    assert!(whole.starts_with("HTTP/1.1 200") && whole.ends_with("half of it\r\n0\r\n\r\n"), "{whole}");
    for (failed, path) in (1..).zip(["/close", "/length", "/length-said"]) {
        let cut = answer(path);
        assert!(!cut.ends_with("\r\n0\r\n\r\n"), "{path}: {cut}");
        assert!(cut.is_empty() || cut.contains("half of it") || cut.starts_with("HTTP/1.1 502"), "{path}: {cut}");
        eventually(path, || proxy.stat("cluster.app.upstream_rq_rx_reset") == failed);
    }
    proxy.signal("TERM");
    assert!(proxy.ended().success());
    let log = std::fs::read_to_string(proxy.dir.join("access.log")).unwrap();
    let expected = [
        "/close-said - via_upstream",
        "/close UC truncated",
        "/length UC truncated",
        "/length-said UC incomplete_body",
    ];
    assert_eq!(log.lines().collect::<Vec<_>>(), expected);
}

/// What came on a connection, and how it ended.
type Came = (Vec<u8>, io::Result<()>);

/// An upstream that tells what came on each connection and how it ended.
fn recorder() -> (SocketAddr, mpsc::Receiver<Came>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        for socket in listener.incoming() {
            let (mut socket, mut bytes) = (socket.unwrap(), Vec::new());
            let end = socket.read_to_end(&mut bytes).map(|_| ());
            if tell.send((bytes, end)).is_err() {
                return;
            }
        }
    });
    (address, told)
}

#[test]
fn what_a_client_sends_and_cuts_off_is_not_passed_on_as_whole() {
    let authority = Authority::new();
    let (address, told) = recorder();
    let proxy = Proxy::start_with(|dir, web, raw, admin| {
        authority.issue("www.example.com").save(dir, "www");
        let at = dir.display();
        let tls = format!("tls: {{ certificates: [{{ cert: '{at}/www.pem', key: '{at}/www.key' }}] }}");
        let listeners = [
            format!("name: web, address: '{web}', protocol: http1, {tls}, routes: {}", routes("app")),
            format!("name: raw, address: '{raw}', protocol: tcp, {tls}, cluster: bytes"),
        ];
        let clusters = [
            format!("name: app, endpoints: ['{address}']"),
            format!("name: bytes, protocol: tcp, endpoints: ['{address}']"),
        ];
        config(admin, &listeners, &clusters)
    });
    let connect = |to| TlsClient::connect(to, "www.example.com", &authority, None, &[]).unwrap();
    let told = || told.recv_timeout(Duration::from_secs(20)).unwrap();

    let mut client = connect(proxy.tcp);
    client.send(b"all of it").unwrap();
    client.finish();
    let (bytes, end) = told();
    assert_eq!(bytes, b"all of it");
    end.unwrap();

    // Between records, and within one.
    for missing in [0, 1] {
        let client = connect(proxy.tcp);
        let socket = client.cut(b"half of it", missing);
        let (bytes, end) = told();
        assert!(b"half of it".starts_with(&bytes[..]), "{bytes:?}");
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        drop(socket);
    }
    for (body, missing) in [("5\r\nhalf \r\n", 0), ("5\r\nhalf \r\n0\r\n\r\n", 1)] {
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        let mut socket = connect(proxy.web).cut(request.as_bytes(), missing);
        socket.read_to_end(&mut Vec::new()).ok();
        if missing == 0 {
            let (bytes, _) = told();
            assert!(!bytes.ends_with(b"0\r\n\r\n"), "{}", String::from_utf8_lossy(&bytes));
        }
    }
    assert_eq!(proxy.stat("cluster.app.upstream_rq_total"), 1, "what came in half a record is nothing yet");
}
