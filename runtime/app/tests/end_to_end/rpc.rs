//! Framed calls through the binary: one port for several protocols, routes by service, errors in each one's words.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use crate::edge::config;
use crate::proxy::{Client, Proxy, Upstream, eventually};
use crate::secrets::{Authority, TlsClient};

pub(crate) fn text(text: &str) -> Vec<u8> {
    [&[text.len() as u8], text.as_bytes()].concat()
}

/// A Dubbo2 frame.
pub(crate) fn frame(flags: u8, status: u8, id: u64, body: &[u8]) -> Vec<u8> {
    [&[0xda, 0xbb, flags, status][..], &id.to_be_bytes(), &(body.len() as u32).to_be_bytes(), body].concat()
}

/// A call without arguments.
pub(crate) fn call(id: u64, service: &str, version: &str) -> Vec<u8> {
    let body = [text("2.0.2"), text(service), text(version), text("say"), text(""), b"HZ".to_vec()];
    frame(0xc2, 0, id, &body.concat())
}

/// The next frame: its status, id and body.
pub(crate) fn read(stream: &mut impl Read) -> std::io::Result<(u8, u64, Vec<u8>)> {
    let mut header = [0; 16];
    stream.read_exact(&mut header)?;
    assert_eq!(header[..2], [0xda, 0xbb]);
    let mut body = vec![0; u32::from_be_bytes(header[12..].try_into().unwrap()) as usize];
    stream.read_exact(&mut body)?;
    Ok((header[3], u64::from_be_bytes(header[4..12].try_into().unwrap()), body))
}

/// A provider that returns `value`, an exception for services that are named after it.
pub(crate) fn provider(value: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                while let Ok((_, id, body)) = read(&mut stream) {
                    let throws = body.windows(5).any(|part| part == b"Throw");
                    let result = [&[if throws { 0x90 } else { 0x91 }][..], &text(value)].concat();
                    if stream.write_all(&frame(2, 20, id, &result)).is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

pub(crate) fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

#[test]
fn one_port_serves_calls_and_pages_and_routes_them_by_service_and_version() {
    let (one, two, web) = (provider("one"), provider("two"), Upstream::saying("page"));
    let proxy = Proxy::start_with(|_, listener, _, admin| {
        let route =
            |matches: &str, cluster: &str| format!("{{ match: {{ {matches} }}, route: {{ cluster: {cluster} }} }}");
        let table = [
            route("service: com.x.Echo, version: 2.0.0", "two"),
            route("service: 'com.x.*'", "one"),
            route("service: com.down.Echo", "down"),
            route("prefix: /page", "web"),
        ];
        let routes = format!("{{ virtual_hosts: [{{ domains: ['*'], routes: [{}] }}] }}", table.join(", "));
        let listener = format!("name: web, address: '{listener}', protocol: [http1, dubbo, bolt], routes: {routes}");
        let clusters = [
            format!("name: one, protocol: dubbo, endpoints: ['{one}']"),
            format!("name: two, protocol: dubbo, endpoints: ['{two}']"),
            format!("name: down, protocol: dubbo, endpoints: ['127.0.0.1:{}']", crate::proxy::free_port()),
            format!("name: web, endpoints: ['{}']", web.address),
        ];
        config(admin, &[listener], &clusters)
    });

    let mut client = connect(proxy.web);
    for (service, version, expected) in [
        ("com.x.Echo", "1.0.0", (20, "one")),
        ("com.x.Echo", "2.0.0", (20, "two")),
        ("com.x.Throw", "1.0.0", (20, "one")),
    ] {
        client.write_all(&call(u64::MAX - 3, service, version)).unwrap();
        let (status, id, body) = read(&mut client).unwrap();
        assert_eq!((status, id), (expected.0, u64::MAX - 3), "{service}");
        assert!(body.ends_with(expected.1.as_bytes()), "{service} {version}: {body:?}");
    }
    // No route is "service not found", an upstream that is not there is a server's error; the connection goes on.
    for (service, expected) in [("com.y.Echo", 60), ("com.down.Echo", 80), ("com.x.Echo", 20)] {
        client.write_all(&call(7, service, "1.0.0")).unwrap();
        assert_eq!(read(&mut client).unwrap().0, expected, "{service}");
    }
    let (head, page) = Client::connect(proxy.web).get("/page").unwrap();
    assert!(head.starts_with("HTTP/1.1 200") && page == b"page", "{head}");
    eventually("the exception is counted", || proxy.stat("cluster.one.upstream_rq_exception") == 1);

    // What is none of these is closed.
    let mut stranger = connect(proxy.web);
    stranger.write_all(&[0xff; 32]).unwrap();
    assert!(matches!(stranger.read(&mut [0; 1]), Ok(0) | Err(_)));
}

#[test]
fn dubbo_goes_over_tls() {
    let upstream = provider("secret");
    let authority = Authority::new();
    let proxy = Proxy::start_with(|dir, web, _, admin| {
        authority.issue("www.example.com").save(dir, "www");
        let at = dir.display();
        let tls = format!("tls: {{ certificates: [{{ cert: '{at}/www.pem', key: '{at}/www.key' }}] }}");
        let routes =
            "{ virtual_hosts: [{ domains: ['*'], routes: [{ match: { service: '*' }, route: { cluster: app } }] }] }";
        let listener = format!("name: web, address: '{web}', protocol: dubbo, {tls}, routes: {routes}");
        config(admin, &[listener], &[format!("name: app, protocol: dubbo, endpoints: ['{upstream}']")])
    });
    let mut client = TlsClient::connect(proxy.web, "www.example.com", &authority, None, &[]).unwrap();
    client.send(&call(5, "a.B", "1")).unwrap();
    let (status, id, body) = read(client.stream()).unwrap();
    assert_eq!((status, id), (20, 5));
    assert!(body.ends_with(b"secret"));
}

/// A provider that answers with the number of its connection.
fn counting_provider() -> SocketAddr {
    const NUMBERS: [&str; 4] = ["first", "second", "third", "fourth"];
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                while let Ok((_, id, body)) = read(&mut stream) {
                    if body.windows(3).any(|part| part == b"Bye") {
                        return;
                    }
                    let result = [&[0x91][..], &text(NUMBERS[number % 4])].concat();
                    stream.write_all(&frame(2, 20, id, &result)).unwrap();
                }
            });
        }
    });
    address
}

#[test]
fn bound_connections_are_nobody_elses_and_end_with_their_owners() {
    let provider = counting_provider();
    let proxy = Proxy::start_with(|_, listener, _, admin| {
        let routes =
            "{ virtual_hosts: [{ domains: ['*'], routes: [{ match: { prefix: / }, route: { cluster: app } }] }] }";
        let listener = format!("name: web, address: '{listener}', protocol: dubbo, routes: {routes}");
        let cluster = format!("name: app, protocol: dubbo, connection_pool: bound, endpoints: ['{provider}']");
        config(admin, &[listener], &[cluster])
    });
    let (mut one, mut other) = (connect(proxy.web), connect(proxy.web));
    let mut told = Vec::new();
    for id in 0..3 {
        for client in [&mut one, &mut other] {
            client.write_all(&call(id, "com.x.Echo", "1")).unwrap();
            let (status, answered, body) = read(client).unwrap();
            assert_eq!((status, answered), (20, id));
            told.push(body[2..].to_vec());
        }
    }
    assert_ne!(told[0], told[1]);
    assert!(told.chunks(2).all(|pair| pair == &told[..2]), "each keeps its own");
    // The provider ends one of them in the middle of a call: that is answered, and its owner ends.
    one.write_all(&call(9, "com.x.Bye", "1")).unwrap();
    let (status, answered, _) = read(&mut one).unwrap();
    assert!(status != 20 && answered == 9, "{status}");
    while let Ok((_, _, _)) = read(&mut one) {}
    other.write_all(&call(4, "com.x.Echo", "1")).unwrap();
    assert_eq!(read(&mut other).unwrap().2[2..], told[1]);
}
