//! HTTP with JSON through the binary to a host that speaks Dubbo2.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::thread;

use crate::proxy::{Client, Proxy, eventually, free_port, repository};
use crate::rpc::{frame, read, text};

/// A provider that answers by method: `find` with its call's first argument, the rest with what goes wrong.
fn provider() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                while let Ok((_, id, body)) = read(&mut stream) {
                    let has = |part: &[u8]| body.windows(part.len()).any(|window| window == part);
                    let (status, result) = if has(b"\x04find") {
                        // A compact long behind the types: what the path said.
                        let asked =
                            [42, 43].into_iter().find(|id| has(&[&b"JLjava/util/List;\xf8"[..], &[*id]].concat()));
                        let id_of_order = asked.unwrap();
                        assert!(has(b"\x0btraceparent\x0400-1") && has(b"\x07timeout\x042000"), "{body:02x?}");
                        (20, [&b"\x91H\x02id"[..], &[0xf8, id_of_order], b"\x06pricesX\x92\x5d\x05\x5cZ"].concat())
                    } else if has(b"\x04long") {
                        // More than is put into memory at once elsewhere, so that it comes in pieces.
                        let piece = [&b"R\x80\x00"[..], &[b'x'; 0x8000]].concat();
                        (20, [&[0x91][..], &piece.repeat(12), b"\x00"].concat())
                    } else if has(b"\x04huge") {
                        let piece = [&b"R\x80\x00"[..], &[b'x'; 0x8000]].concat();
                        (20, [&[0x91][..], &piece.repeat(20), b"\x00"].concat())
                    } else if has(b"\x05place") {
                        (20, b"\x90C\x0bcom.x.Empty\x92\x05cause\x0ddetailMessage\x60Q\x90\x08no items".to_vec())
                    } else {
                        (60, text("no such method"))
                    };
                    if stream.write_all(&frame(2, status, id, &result)).is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

/// The example; its second and third listener are at any address.
pub(crate) fn example() -> String {
    let folder = repository().join("examples");
    std::fs::read_to_string(folder.join("transcoding.yaml"))
        .unwrap()
        .replace("shelf.pb", folder.join("shelf.pb").to_str().unwrap())
        .replace("127.0.0.1:8081", &format!("127.0.0.1:{}", free_port()))
        .replace("127.0.0.1:20880", &format!("127.0.0.1:{}", free_port()))
}

/// Asks for a page and returns status and content.
fn ask(client: &mut Client, method: &str, path: &str, fields: &str, content: &str) -> (u16, String) {
    let length = content.len();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: a\r\n{fields}content-length: {length}\r\n\r\n");
    client.send(head.as_bytes());
    client.send(content.as_bytes());
    let (head, content) = client.response().unwrap();
    assert!(head.to_lowercase().contains("content-type: application/json"), "{head}");
    assert!(!head.to_lowercase().contains("rpc-"), "{head}");
    (head.split(' ').nth(1).unwrap().parse().unwrap(), String::from_utf8(content).unwrap())
}

#[test]
fn the_example_serves_a_dubbo_provider_to_http_clients() {
    let upstream = provider();
    let proxy = Proxy::start_with(|_, listener, _, admin| {
        // Two more methods, and a service whose host is not there.
        let more = "          mappings:
            - { path: /long, http_method: GET, service: com.example.Orders, method: long, version: 1.0.0 }
            - { path: /huge, http_method: GET, service: com.example.Orders, method: huge, version: 1.0.0 }
            - { path: /none, http_method: GET, service: com.example.Orders, method: none, version: 1.0.0 }
            - { path: /down, http_method: GET, service: com.example.Down, method: find }
            - { path: /lost, http_method: GET, service: com.example.Lost, method: find }
";
        let down = free_port();
        let route =
            "          routes:\n            - { match: { service: com.example.Down }, route: { cluster: down } }\n";
        let text = example()
            .replace("127.0.0.1:8080", &listener.to_string())
            .replace("127.0.0.1:20881", &upstream.to_string())
            .replace("max_body: 256KiB", "max_body: 512KiB")
            .replace("          mappings:\n", more)
            .replace("          routes:\n", route);
        format!(
            "workers: 1\nadmin: {{ address: '{admin}' }}\n{text}  - {{ name: down, protocol: dubbo, endpoints: ['127.0.0.1:{down}'] }}\n"
        )
    });
    let mut client = Client::connect(proxy.web);
    let trace = "traceparent: 00-1\r\n";
    for id in [42, 43, 42] {
        let answer = ask(&mut client, "GET", &format!("/orders/{id}?field=a&field=b"), trace, "");
        assert_eq!(answer, (200, format!(r#"{{"id":{id},"prices":[5.0,1.0]}}"#)));
    }
    let order = r#"{"customer": "x", "items": {"tea": 2}}"#;
    let answer = ask(&mut client, "POST", "/orders", "content-type: application/json\r\n", order);
    assert_eq!(answer, (500, r#"{"exception":"com.x.Empty","message":"no items"}"#.into()));
    eventually("the exception is counted", || proxy.stat("cluster.orders.upstream_rq_exception") == 1);

    // What the client got wrong; the connection goes on.
    for (method, path, content, status, says) in [
        ("GET", "/orders/many", "", 400, "parameter 1 (long, from path:id): a text that is no integer of 64 bits"),
        ("POST", "/orders", r#"{"customer": 1}"#, 400, "an integer where string is needed"),
        ("POST", "/orders", r#"{"customer": "x"}"#, 400, "from body:items): missing"),
        ("POST", "/orders", "{", 400, "no JSON"),
        ("GET", "/none", "", 404, r#"{"dubbo_status":60,"error":"no such method"}"#),
        ("GET", "/down", "", 503, r#"{"error":"#),
        ("GET", "/lost", "", 404, r#"{"error":"Not Found"}"#),
        ("GET", "/elsewhere", "", 404, "nothing is served at this path"),
        ("PUT", "/orders", "", 405, "not served by this method"),
    ] {
        let (answered, document) = ask(&mut client, method, path, "", content);
        assert!(answered == status && document.contains(says), "{method} {path}: {answered} {document}");
    }
    // Longer than a frame that is read at once, and longer than the filter reads.
    let (status, document) = ask(&mut client, "GET", "/long", "", "");
    assert_eq!((status, document.len()), (200, 12 * 0x8000 + 2));
    let (status, document) = ask(&mut client, "GET", "/huge", "", "");
    assert_eq!((status, document.as_str()), (502, r#"{"error":"response too large"}"#));

    // Content that arrives late, and content that is too long.
    client.send(b"POST /orders HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n26\r\n");
    client.send(&order.as_bytes()[..7]);
    client.send(&order.as_bytes()[7..]);
    client.send(b"\r\n0\r\n\r\n");
    assert!(client.response().unwrap().0.starts_with("HTTP/1.1 500"));
    client.send(b"POST /orders HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\n[\r\n0\r\n\r\n");
    let (head, content) = client.response().unwrap();
    assert!(head.starts_with("HTTP/1.1 400"), "{head}");
    assert_eq!(content, br#"{"error":"the content, line 1, column 1: no JSON"}"#);
    client.send(b"POST /orders HTTP/1.1\r\nhost: a\r\ncontent-length: 524289\r\n\r\n");
    let (head, content) = client.response().unwrap();
    assert!(head.starts_with("HTTP/1.1 413"), "{head}");
    let counted = ["transcoded", "refused", "failed"].map(|row| proxy.stat(&format!("http.api.http_to_dubbo.{row}")));
    // Some of those that were refused may have become calls before their content was there.
    assert!((10..=18).contains(&counted[0]) && counted[1..] == [8, 0], "{counted:?}");
    assert_eq!(content, br#"{"error":"the content is longer than 524288 bytes"}"#);
    assert_eq!(ask(&mut Client::connect(proxy.web), "GET", "/orders/42", trace, "").0, 200);
}
