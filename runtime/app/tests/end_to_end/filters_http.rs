//! Filters of HTTP in the binary: the example, with a host that is there, and one that goes away.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread::{self, JoinHandle};

use crate::edge::{config, routes};
use crate::http2;
use crate::proxy::{Client, Proxy, Upstream, content_length, repository};

/// The example in front of this host.
fn example(upstream: SocketAddr) -> Proxy {
    Proxy::start_with(|_, web, _, admin| {
        let text = std::fs::read_to_string(repository().join("examples/filters-http.yaml")).unwrap();
        let text = text.replace("0.0.0.0:8080", &web.to_string()).replace("127.0.0.1:8081", &upstream.to_string());
        format!("workers: 1\nadmin: {{ address: '{admin}' }}\n{text}")
    })
}

/// One request on a connection of its own: status, head and content without chunks.
fn ask(proxy: &Proxy, line: &str, fields: &str, content: &[u8]) -> (u16, String, Vec<u8>) {
    let mut client = Client::connect(proxy.web);
    let head = format!("{line} HTTP/1.1\r\nHost: shop.example.com\r\nConnection: close\r\n{fields}\r\n");
    client.send(&[head.as_bytes(), content].concat());
    let answer = client.rest();
    let end = answer.windows(4).position(|part| part == b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8(answer[..end].to_vec()).unwrap().to_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let content = &answer[end..];
    let content = if head.contains("transfer-encoding: chunked") { unchunked(content) } else { content.to_vec() };
    (status, head, content)
}

fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    loop {
        let mut line = String::new();
        rest.read_line(&mut line).unwrap();
        let length = usize::from_str_radix(line.trim(), 16).unwrap();
        if length == 0 {
            return content;
        }
        content.extend_from_slice(&rest[..length]);
        rest = &rest[length + 2..];
    }
}

/// A page that is worth compressing.
fn page() -> String {
    (0..2000).map(|line| format!("<p>line {line} of a page</p>\n")).collect()
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// Answers so many connections with a page that may be cached, then is gone.
fn short_lived(connections: usize) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let served = thread::spawn(move || {
        for _ in 0..connections {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut line = String::new();
            while line != "\r\n" {
                line.clear();
                reader.read_line(&mut line).unwrap();
            }
            let head =
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nCache-Control: max-age=0\r\nConnection: close\r\n";
            let page = page();
            write!(stream, "{head}Content-Length: {}\r\n\r\n{page}", page.len()).unwrap();
        }
    });
    (address, served)
}

#[test]
fn pages_are_compressed_for_clients_that_say_so() {
    let upstream = Upstream::start(|_, stream| {
        let page = page();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n", page.len());
        stream.write_all(head.as_bytes()).is_ok() && stream.write_all(page.as_bytes()).is_ok()
    });
    let proxy = example(upstream.address);
    let (status, head, content) =
        ask(&proxy, "GET /?utm_source=x&a=1", "Accept-Encoding: gzip;q=0.9, deflate\r\n", b"");
    assert_eq!(status, 200);
    assert!(head.contains("content-encoding: gzip") && head.contains("vary: accept-encoding"), "{head}");
    assert!(head.contains("x-served-by: ringway"), "{head}");
    assert!(content.len() < page().len() / 4, "{}", content.len());
    let mut text = String::new();
    flate2::read::GzDecoder::new(&content[..]).read_to_string(&mut text).unwrap();
    assert_eq!(text, page());
    let asked = upstream.heads.lock().unwrap().last().cloned().unwrap();
    assert!(asked.starts_with("GET /?a=1 HTTP/1.1"), "{asked}");
    assert!(asked.to_lowercase().contains("x-client: 127.0.0.1\r\n"), "{asked}");

    let (_, head, content) = ask(&proxy, "GET /", "Accept-Encoding: br;q=0, *;q=0\r\nX-Internal-A: b\r\n", b"");
    assert!(!head.contains("content-encoding") && content == page().as_bytes(), "{head}");
    assert!(!upstream.heads.lock().unwrap().last().unwrap().to_lowercase().contains("x-internal"));
    assert_eq!(proxy.stat("http.web.compressor.compressed"), 1);
    assert_eq!(proxy.stat("http.web.compressor.total_uncompressed_bytes"), page().len() as u64);
    // The same with no content.
    let (status, head, content) = ask(&proxy, "HEAD /none", "Accept-Encoding: gzip\r\n", b"");
    assert!(status == 200 && content.is_empty(), "{head}");
}

#[test]
fn browsers_are_told_what_they_may_and_kept_from_what_they_may_not() {
    let upstream = Upstream::saying("ok");
    let proxy = example(upstream.address);
    let preflight = "Origin: https://www.example.com\r\nAccess-Control-Request-Method: PUT\r\n";
    let (status, head, content) = ask(&proxy, "OPTIONS /cart", preflight, b"");
    assert!(status == 200 && content.is_empty(), "{head}");
    for field in [
        "access-control-allow-origin: https://www.example.com\r\n",
        "access-control-allow-methods: get,post,put\r\n",
        "access-control-allow-credentials: true\r\n",
        "access-control-max-age: 600\r\n",
    ] {
        assert!(head.contains(field), "{field}{head}");
    }
    assert_eq!(upstream.heads.lock().unwrap().len(), 0, "no host saw it");
    let (status, head, _) = ask(&proxy, "GET /cart", "Origin: https://a.shop.example.com\r\n", b"");
    assert!(status == 200 && head.contains("access-control-expose-headers: x-served-by"), "{head}");

    // Another site's form is refused, in the words of the mapping.
    let form = "Origin: https://evil.example\r\nContent-Length: 0\r\n";
    let (status, head, content) = ask(&proxy, "POST /cart", form, b"");
    assert_eq!(status, 403);
    assert!(head.contains("content-type: application/json"), "{head}");
    let document: serde_json::Value = serde_json::from_slice(&content).unwrap();
    assert_eq!(document, serde_json::json!({ "error": "csrf_origin_mismatch", "code": 403, "path": "/cart" }));
    let own = "Origin: https://shop.example.com\r\nContent-Length: 0\r\n";
    assert_eq!(ask(&proxy, "POST /cart", own, b"").0, 200);
    assert_eq!(proxy.stat("http.web.csrf.request_invalid"), 1);
    assert_eq!(proxy.stat("http.web.cors.origin_valid"), 2);
}

#[test]
fn uploads_arrive_whole_and_decoded_or_not_at_all() {
    let upstream = Upstream::saying("ok");
    let proxy = example(upstream.address);
    let last = || upstream.heads.lock().unwrap().last().cloned().unwrap().to_lowercase();

    // In chunks, one after the other: the host sees none of it before the end.
    let mut client = Client::connect(proxy.web);
    client.send(b"POST /upload HTTP/1.1\r\nHost: shop.example.com\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    client.send(b"6\r\n world\r\n");
    assert_eq!(upstream.heads.lock().unwrap().len(), 0);
    client.send(b"0\r\n\r\n");
    assert!(client.response().unwrap().0.starts_with("HTTP/1.1 200"));
    assert!(last().contains("content-length: 11\r\n") && !last().contains("chunked"), "{}", last());

    // A client that asks first is told to go on.
    let mut client = Client::connect(proxy.web);
    let head = "POST /upload HTTP/1.1\r\nHost: shop.example.com\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    client.send(head.as_bytes());
    assert!(client.response().unwrap().0.starts_with("HTTP/1.1 100"));
    client.send(b"hello");
    assert!(client.response().unwrap().0.starts_with("HTTP/1.1 200"));

    // Compressed content is decoded, and its length is the decoded one's.
    let text = "abcdefgh".repeat(1000);
    let coded = gzip(text.as_bytes());
    let fields = format!("Content-Encoding: gzip\r\nContent-Length: {}\r\n", coded.len());
    assert_eq!(ask(&proxy, "POST /upload", &fields, &coded).0, 200);
    assert_eq!(content_length(&last()), text.len());
    assert!(!last().contains("content-encoding"), "{}", last());

    // Too long, said at once; too long in chunks; a bomb; no gzip at all.
    let count = upstream.heads.lock().unwrap().len();
    let mut chunks = Vec::new();
    for _ in 0..17 {
        chunks.extend_from_slice(b"10000\r\n");
        chunks.resize(chunks.len() + 0x10000, b'x');
        chunks.extend_from_slice(b"\r\n");
    }
    chunks.extend_from_slice(b"0\r\n\r\n");
    let bomb = gzip(&vec![0; 4 << 20]);
    let coded = |length: usize| format!("Content-Encoding: gzip\r\nContent-Length: {length}\r\n");
    for (fields, content, status, details) in [
        ("Content-Length: 1048577\r\n".to_owned(), &b""[..], 413, "request_payload_too_large"),
        ("Transfer-Encoding: chunked\r\n".to_owned(), &chunks, 413, "request_payload_too_large"),
        (coded(bomb.len()), &bomb, 413, "decompressor_too_large"),
        (coded(4), b"nope", 400, "decompressor_malformed"),
    ] {
        // The answer may come before all of the request is read.
        let mut client = Client::connect(proxy.web);
        let head = format!("POST /upload HTTP/1.1\r\nHost: shop.example.com\r\n{fields}\r\n");
        client.send(head.as_bytes());
        client.send(content);
        let (head, content) = client.response().unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{details}: {head}");
        let document: serde_json::Value = serde_json::from_slice(&content).unwrap();
        assert_eq!(document["error"], details);
    }
    assert_eq!(upstream.heads.lock().unwrap().len(), count, "no host saw them");
}

#[test]
fn a_host_that_is_gone_is_stood_in_for() {
    let (address, served) = short_lived(1);
    let proxy = example(address);
    let (status, _, content) = ask(&proxy, "GET /page", "", b"");
    assert!(status == 200 && content == page().as_bytes());
    served.join().unwrap();

    // From the cache what it knows, compressed as ever.
    let (status, head, content) = ask(&proxy, "GET /page", "", b"");
    assert!(status == 200 && content == page().as_bytes(), "{head}");
    assert!(head.contains("cache-status: ringway; hit; ttl=") && head.contains("age: "), "{head}");
    let (status, head, content) = ask(&proxy, "GET /page", "Accept-Encoding: gzip\r\n", b"");
    assert!(status == 200 && head.contains("content-encoding: gzip") && content.len() < page().len() / 4, "{head}");
    assert_eq!(proxy.stat("http.web.stale_cache.hits_stale"), 2);
    // Something else where there is something else.
    let (status, head, content) = ask(&proxy, "GET /recommendations/7", "", b"");
    assert!(status == 200 && head.contains("cache-control: no-store"), "{head}");
    assert_eq!(content, br#"{"degraded":true,"items":[]}"#);
    let (status, head, content) = ask(&proxy, "HEAD /recommendations/7", "", b"");
    assert!(status == 200 && content.is_empty(), "{head}");
    // And an error for the rest.
    let (status, head, content) = ask(&proxy, "GET /other", "", b"");
    assert!(status == 503 && head.contains("retry-after: 5"), "{head}");
    let document: serde_json::Value = serde_json::from_slice(&content).unwrap();
    assert_eq!(document["error"], "overloaded");
    assert_eq!(proxy.stat("http.web.stale_cache.misses"), 1);
    assert_eq!(proxy.stat("http.web.fallback.served"), 2);
}

#[test]
fn filters_know_no_version_of_http() {
    let upstream = Upstream::start(|_, stream| {
        let page = page();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n", page.len());
        stream.write_all(head.as_bytes()).is_ok() && stream.write_all(page.as_bytes()).is_ok()
    });
    let proxy = Proxy::start_with(|_, web, _, admin| {
        let filters = "filters: [{ compressor: { codings: [gzip] } }, { decompressor: {} }, { buffer: { max_request_bytes: 64KiB } }]";
        let listener = format!("name: web, address: '{web}', protocol: http2, {filters}, routes: {}", routes("app"));
        config(admin, &[listener], &[format!("name: app, endpoints: ['{}']", upstream.address)])
    });
    let request = || http::Request::post("http://shop.example.com/").header("accept-encoding", "gzip");
    http2::run(async {
        let client = http2::connect(proxy.web).await;
        let ask = async |coding: &str, content: Vec<u8>| {
            let request = request().header("content-encoding", coding).body(()).unwrap();
            let (response, mut stream) = client.clone().ready().await.unwrap().send_request(request, false).unwrap();
            // The answer may come before all of the request is read.
            drop(stream.send_data(content.into(), true));
            let (head, body) = response.await.unwrap().into_parts();
            (head, http2::read(body).await.0)
        };
        let (head, content) = ask("gzip", gzip(b"hello hello")).await;
        assert_eq!((head.status.as_u16(), &head.headers["content-encoding"]), (200, &"gzip".parse().unwrap()));
        let mut text = String::new();
        flate2::read::GzDecoder::new(&content[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text, page());
        for (coding, content, status) in
            [("gzip", gzip(&vec![0; 1 << 20]), 413), ("gzip", b"nope".to_vec(), 400), ("identity", vec![0; 65537], 413)]
        {
            assert_eq!(ask(coding, content).await.0.status.as_u16(), status);
        }
        assert_eq!(ask("identity", b"abc".to_vec()).await.0.status.as_u16(), 200, "the connection goes on");
    });
    let heads = upstream.heads.lock().unwrap();
    let lengths: Vec<usize> = heads.iter().map(|head| content_length(head)).collect();
    assert_eq!(lengths, [11, 3], "the hosts, of HTTP/1.1, are told the length");
}
