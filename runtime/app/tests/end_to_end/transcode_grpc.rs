//! HTTP with JSON, and Dubbo2, through the binary to hosts that speak gRPC over HTTP/2.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use tokio::net::TcpListener;

use crate::proxy::{Client, Proxy, eventually, free_port};
use crate::rpc::{frame, read, text};
use crate::transcode::example;

/// What a host answers: fields, messages, and the status in trailers; without messages, all of it is fields.
pub(crate) struct Answer {
    pub(crate) fields: Vec<(&'static str, String)>,
    pub(crate) messages: Vec<Vec<u8>>,
    pub(crate) status: u32,
    pub(crate) message: &'static str,
}

/// Calls that a host got.
pub(crate) type Calls = Arc<Mutex<Vec<(Request<()>, Vec<u8>)>>>;

/// A host that speaks gRPC, with the h2 crate.
pub(crate) fn host(answer: impl Fn(&Request<()>, &[u8]) -> Answer + Send + 'static) -> (SocketAddr, Calls) {
    let calls = Calls::default();
    let seen = Arc::clone(&calls);
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let answer = std::rc::Rc::new(answer);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            sender.send(listener.local_addr().unwrap()).unwrap();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (answer, seen) = (std::rc::Rc::clone(&answer), Arc::clone(&seen));
                tokio::task::spawn_local(async move {
                    let mut server = h2::server::handshake(socket).await.unwrap();
                    while let Some(Ok((request, respond))) = server.accept().await {
                        let (answer, seen) = (std::rc::Rc::clone(&answer), Arc::clone(&seen));
                        tokio::task::spawn_local(async move {
                            let (head, mut body) = request.into_parts();
                            let mut content = Vec::new();
                            while let Some(data) = body.data().await {
                                let data = data.unwrap();
                                body.flow_control().release_capacity(data.len()).unwrap();
                                content.extend_from_slice(&data);
                            }
                            let request = Request::from_parts(head, ());
                            let (prefix, message) = content.split_at(5);
                            assert_eq!(prefix, [&[0][..], &(message.len() as u32).to_be_bytes()].concat());
                            let answer = answer(&request, message);
                            seen.lock().unwrap().push((request, message.to_vec()));
                            respond_with(respond, answer);
                        });
                    }
                });
            }
        });
    });
    (receiver.recv().unwrap(), calls)
}

fn respond_with(mut respond: h2::server::SendResponse<Bytes>, answer: Answer) {
    let mut response = Response::builder().header("content-type", "application/grpc");
    for (name, value) in &answer.fields {
        response = response.header(*name, value);
    }
    let mut status = HeaderMap::new();
    status.insert("grpc-status", answer.status.to_string().parse().unwrap());
    status.insert("grpc-message", answer.message.parse().unwrap());
    let mut response = response.body(()).unwrap();
    if answer.messages.is_empty() {
        response.headers_mut().extend(status);
        respond.send_response(response, true).unwrap();
        return;
    }
    let mut stream = respond.send_response(response, false).unwrap();
    for message in answer.messages {
        let framed = [&[0][..], &(message.len() as u32).to_be_bytes(), &message].concat();
        stream.send_data(framed.into(), false).unwrap();
    }
    stream.send_trailers(status).unwrap();
}

/// A field of a message that is a text, bytes or a message.
fn part(number: u8, value: &[u8]) -> Vec<u8> {
    assert!(value.len() < 128);
    [&[number << 3 | 2, value.len() as u8][..], value].concat()
}

fn ask(client: &mut Client, method: &str, path: &str, content: &str) -> (u16, String, String) {
    let length = content.len();
    client.send(format!("{method} {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n{content}").as_bytes());
    let (head, content) = client.response().unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_lowercase(), String::from_utf8(content).unwrap())
}

#[test]
fn the_example_serves_a_grpc_host_to_http_clients() {
    let (upstream, calls) = host(|request, _| {
        let book = |name: &str| [part(1, name.as_bytes()), vec![16, 7]].concat();
        let (messages, status, message) = match request.uri().path() {
            "/example.library.Library/GetBook" => (vec![book("found")], 0, ""),
            "/example.library.Library/CreateBook" => (vec![], 6, "it%20is there"),
            "/example.library.Library/ListBooks" => (vec![book("a"), book("b")], 0, ""),
            "/example.library.Library/MergeShelves" => (vec![vec![]], 9, "no"),
            _ => (vec![vec![]], 0, ""),
        };
        Answer { fields: vec![("trace", "t".into())], messages, status, message }
    });
    let down = free_port();
    let start = |upstream: String| {
        Proxy::start_with(|_, web, _, admin| {
            let text = example().replace("127.0.0.1:50051", &upstream).replace("127.0.0.1:8080", "127.0.0.1:0");
            // The second listener is the one that is asked.
            let port =
                text.split("name: library\n    address: \"").nth(1).unwrap().split('"').next().unwrap().to_owned();
            let text = text.replace(&port, &web.to_string());
            format!("workers: 1\nadmin: {{ address: '{admin}' }}\n{text}")
        })
    };
    let proxy = start(upstream.to_string());
    let mut client = Client::connect(proxy.web);
    let (status, head, content) = ask(&mut client, "GET", "/v1/shelves/a/books/b?id=5", "");
    assert_eq!((status, content.as_str()), (200, r#"{"name":"found","pages":"7"}"#));
    assert!(head.contains("content-type: application/json") && head.contains("trace: t"), "{head}");
    assert!(!head.contains("grpc-"), "{head}");
    {
        let calls = calls.lock().unwrap();
        let (request, message) = calls.last().unwrap();
        assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/example.library.Library/GetBook"));
        assert_eq!(request.headers().get("content-type").unwrap(), "application/grpc");
        assert_eq!(request.headers().get("te").unwrap(), "trailers");
        assert_eq!(*message, [part(1, b"shelves/a/books/b"), vec![16, 5]].concat());
    }
    for (method, path, content, status, says) in [
        ("POST", "/v1/shelves/a/books", r#"{"name": "x"}"#, 409, r#"{"code":6,"details":[],"message":"it is there"}"#),
        ("POST", "/v1/shelves/a:merge", r#"{"others": ["x"]}"#, 400, r#"{"code":9,"details":[],"message":"no"}"#),
        ("DELETE", "/v1/shelves/a/books/b", "", 200, "{}"),
        ("POST", "/example.library.Library/Echo", r#"{"pages": "1"}"#, 200, "{}"),
        ("GET", "/v1/books/x", "", 400, "id: no integer of 64 bits"),
        ("POST", "/v1/shelves/a/books", r#"{"pages": "x"}"#, 400, "book.pages: invalid digit"),
        ("PUT", "/v1/upload", "{}", 501, "stream"),
        ("PUT", "/v1/books/7", "", 405, "not served by this method"),
        ("GET", "/x", "", 404, "nothing is served at this path"),
    ] {
        let (answered, _, said) = ask(&mut client, method, path, content);
        assert!(answered == status && said.contains(says), "{method} {path}: {answered} {said}");
    }
    let mut last = Client::connect(proxy.web);
    last.send(b"GET /v1/shelves/a/books HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    let all = String::from_utf8(last.rest()).unwrap();
    let content: String =
        all.split("\r\n\r\n").skip(1).flat_map(|chunks| chunks.split("\r\n").skip(1).step_by(2)).collect();
    assert_eq!(content, r#"[{"name":"a","pages":"7"},{"name":"b","pages":"7"}]"#, "{all}");
    assert_eq!(calls.lock().unwrap().len(), 6);

    // Content that arrives late, and content that is too long.
    client
        .send(b"POST /v1/shelves/a/books HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n7\r\n{\"name\"\r\n");
    client.send(b"5\r\n:\"y\"}\r\n0\r\n\r\n");
    assert!(client.response().unwrap().0.starts_with("HTTP/1.1 409"));
    let asked = [part(1, b"shelves/a"), part(2, &part(1, b"y"))].concat();
    assert_eq!(calls.lock().unwrap().last().unwrap().1, asked);
    client.send(b"POST /v1/shelves/a/books HTTP/1.1\r\nhost: a\r\ncontent-length: 1048577\r\n\r\n");
    let (head, content) = client.response().unwrap();
    assert!(head.starts_with("HTTP/1.1 413"), "{head}");
    assert_eq!(content, br#"{"code":8,"details":[],"message":"the content is longer than 1048576 bytes"}"#);
    let counted = ["transcoded", "refused", "failed"].map(|row| proxy.stat(&format!("http.library.grpc_json.{row}")));
    assert_eq!(counted, [7, 6, 0]);
    // Calls of gRPC itself pass; this one over HTTP/1.1, to show that they do.
    let mut client = Client::connect(proxy.web);
    let length = "content-type: application/grpc\r\ncontent-length: 5";
    client.send(
        format!("POST /example.library.Library/Echo HTTP/1.1\r\nhost: a\r\n{length}\r\n\r\n\0\0\0\0\0").as_bytes(),
    );
    let (head, _) = client.response().unwrap();
    assert!(head.contains("application/grpc") && calls.lock().unwrap().last().unwrap().1.is_empty(), "{head}");

    let proxy = start(format!("127.0.0.1:{down}"));
    let (status, head, content) = ask(&mut Client::connect(proxy.web), "GET", "/v1/books/7", "");
    assert!(status == 503 && content.starts_with(r#"{"code":14,"#), "{status} {head} {content}");
}

#[test]
fn the_example_serves_a_triple_host_to_dubbo_clients() {
    let (upstream, calls) = host(|request, message| {
        let result = |data: &[u8]| [part(1, b"hessian4"), part(2, data), part(3, b"java.lang.String")].concat();
        let (fields, messages, status, message) = match request.uri().path() {
            // The second argument, which is the last part but for the two types.
            "/com.example.Echo/say" => {
                let (first, types) = (part(2, b"\x02hi"), [part(3, b"java.lang.String"), part(3, b"int")].concat());
                let second = message.strip_prefix(&[part(1, b"hessian4"), first].concat()[..]).unwrap();
                let second = second.strip_suffix(&types[..]).unwrap();
                (vec![("trace", "t".to_owned())], vec![result(&second[2..])], 0, "")
            }
            "/com.example.Echo/fail" => (vec![("tri-exception-code", "1".into())], vec![result(b"\x06thrown")], 0, ""),
            "/com.example.Echo/none" => (vec![], vec![result(b"N")], 0, ""),
            "/com.example.Echo/busy" => (vec![], vec![], 8, "too%20many"),
            _ => (vec![], vec![], 12, "unknown"),
        };
        Answer { fields, messages, status, message }
    });
    let proxy = Proxy::start_with(|_, web, _, admin| {
        let text = example().replace("127.0.0.1:50052", &upstream.to_string()).replace("127.0.0.1:8080", "127.0.0.1:0");
        let port = text.split("name: dubbo\n    address: \"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        let text = text.replace(&port, &web.to_string());
        format!("workers: 1\nadmin: {{ address: '{admin}' }}\n{text}")
    });
    let mut client = TcpStream::connect(proxy.web).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let call = |flags: u8, id: u64, service: &str, method: &str, protocol: &str| {
        let attachments = [&b"H"[..], &text("tag"), &text("gray"), &text("timeout"), &text("2000"), b"Z"].concat();
        let arguments = [text("hi"), vec![0x95]].concat();
        let types = "Ljava/lang/String;I";
        let head = [protocol, service, "1.0.0", method, types].map(text).concat();
        frame(flags, 0, id, &[head, arguments, attachments].concat())
    };
    for (id, service, method, protocol, status, body) in [
        (1, "com.example.Echo", "say", "2.7.0", 20, vec![0x91, 0x95]),
        (2, "com.example.Echo", "say", "2.0.2", 20, [&b"\x94\x95H"[..], &text("trace"), &text("t"), b"Z"].concat()),
        (3, "com.example.Echo", "fail", "2.0.2", 20, b"\x93\x06thrownHZ".to_vec()),
        (4, "com.example.Echo", "none", "2.0.1", 20, vec![0x92]),
        (5, "com.example.Echo", "busy", "2.0.2", 100, text("too many")),
        (6, "com.example.Echo", "other", "2.0.2", 60, text("unknown")),
        (1 << 60, "com.example.Echo", "say", "2.0.0", 20, vec![0x91, 0x95]),
    ] {
        client.write_all(&call(0xc2, id, service, method, protocol)).unwrap();
        assert_eq!(read(&mut client).unwrap(), (status, id, body), "{service}/{method}");
    }
    {
        let calls = calls.lock().unwrap();
        let headers = calls.first().unwrap().0.headers();
        for (name, value) in [
            ("content-type", "application/grpc+proto"),
            ("te", "trailers"),
            ("tri-service-version", "1.0.0"),
            ("tri-consumer-appname", "edge"),
            ("tag", "gray"),
            ("grpc-timeout", "2000m"),
        ] {
            assert_eq!(headers.get(name).unwrap(), value, "{name}");
        }
        assert!(headers.get("timeout").is_none() && headers.get("version").is_none());
    }
    // Another service has no route; a call that is not in hessian2 cannot be taken apart.
    client.write_all(&call(0xc2, 7, "org.example.Echo", "say", "2.0.2")).unwrap();
    assert_eq!(read(&mut client).unwrap().0, 60);
    // A heartbeat is answered here, and nobody waits for a one-way call.
    client.write_all(&frame(0xe2, 0, 8, b"N")).unwrap();
    assert_eq!(read(&mut client).unwrap(), (20, 8, b"N".to_vec()));
    let before = calls.lock().unwrap().len();
    client.write_all(&call(0x82, 9, "com.example.Echo", "say", "2.0.2")).unwrap();
    eventually("the call without an answer arrives", || calls.lock().unwrap().len() > before);
    client.write_all(&call(0xc2, 10, "com.example.Echo", "none", "2.0.0")).unwrap();
    assert_eq!(read(&mut client).unwrap(), (20, 10, vec![0x92]));
}
