//! Traces through the binary: ids survive hops of every kind, and the admin API shows what became of them.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

use crate::edge::{config, routes};
use crate::proxy::{Client, Proxy, Upstream, eventually, free_port, status};
use crate::rpc::{call, connect, frame, read, text};
use crate::transcode::example;
use crate::transcode_grpc::{Answer, host};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// An answer of the admin API.
fn page(proxy: &Proxy, path: &str) -> Value {
    let answer = proxy.ask("GET", path).unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap_or(Value::Null)
}

/// The spans of a trace once there are so many, as kind, name, id and parent.
fn spans(proxy: &Proxy, trace: &str, count: usize) -> Vec<Value> {
    let mut spans = Value::Null;
    eventually("the spans are collected", || {
        spans = page(proxy, &format!("/traces/{trace}"))["spans"].take();
        spans.as_array().is_some_and(|spans| spans.len() >= count)
    });
    let spans = spans.as_array().unwrap().clone();
    assert_eq!(spans.len(), count, "{spans:#?}");
    spans
}

/// The span that a host was told: version, trace, span, flags.
fn told(text: &str) -> (String, String) {
    let value = text.split(['\r', '\n']).find_map(|line| line.strip_prefix("traceparent: ")).unwrap_or(text);
    let mut parts = value.split('-').skip(1);
    (parts.next().unwrap().to_owned(), parts.next().unwrap().to_owned())
}

#[test]
fn a_trace_goes_through_two_hops_of_http_and_is_shown() {
    let upstream = Upstream::saying("hello");
    let proxy = Proxy::start_with(|_, web, back, admin| {
        let listeners = [
            format!("name: front, address: '{web}', routes: {}", routes("back")),
            format!("name: back, address: '{back}', routes: {}", routes("app")),
        ];
        let clusters =
            [format!("name: back, endpoints: ['{back}']"), format!("name: app, endpoints: ['{}']", upstream.address)];
        config(admin, &listeners, &clusters)
            + "tracing: { service_name: shop, propagation: [w3c, b3], tags: { tenant: '%REQ(x-tenant)%' }, \
               sampling: { random: 0% } }\n"
    });
    let mut client = Client::connect(proxy.web);
    client.send(format!("GET /a HTTP/1.1\r\nHost: h\r\nx-tenant: acme\r\ntraceparent: {CALLER}\r\n\r\n").as_bytes());
    client.response().unwrap();
    let spans = spans(&proxy, TRACE, 4);
    let (trace, last) = told(&upstream.heads.lock().unwrap()[0]);
    assert_eq!(trace, TRACE);
    // From the host back to the caller.
    let mut chain = vec![last];
    while let Some(span) = spans.iter().find(|span| span["id"] == **chain.last().unwrap()) {
        chain.push(span["parent"].as_str().unwrap().to_owned());
    }
    assert_eq!((chain.len(), chain.last().unwrap().as_str()), (5, "b7ad6b7169203331"), "{spans:#?}");
    assert!(spans.iter().all(|span| span["service"] == "shop" && span["name"] == "GET"));
    let servers = spans.iter().filter(|span| span["kind"] == "server");
    assert!(servers.clone().count() == 2 && servers.into_iter().all(|span| span["attributes"]["tenant"] == "acme"));
    // Nothing else is recorded, but told.
    assert_eq!(status(proxy.web), 200);
    assert!(upstream.heads.lock().unwrap()[1].contains("-00\r\n"));
    assert_eq!(page(&proxy, "/traces")["traces"].as_array().unwrap().len(), 2);
    assert_eq!(proxy.stat("tracing.spans_collected"), 4);
}

#[test]
fn what_fails_is_recorded_at_its_end_and_a_listener_may_be_left_out() {
    let dead = free_port();
    let proxy = Proxy::start_with(|_, web, quiet, admin| {
        let listeners = [
            format!("name: web, address: '{web}', routes: {}", routes("dead")),
            format!("name: quiet, address: '{quiet}', tracing: off, routes: {}", routes("dead")),
        ];
        config(admin, &listeners, &[format!("name: dead, endpoints: ['127.0.0.1:{dead}']")])
            + "tracing: { sampling: { random: 0% }, tail: { errors: true, flags: [UF] } }\n"
    });
    assert_eq!((status(proxy.tcp), status(proxy.web)), (503, 503));
    eventually("the stream is collected", || proxy.stat("tracing.spans_collected") == 2);
    let list = page(&proxy, "/traces?kind=failed&limit=5");
    let [line] = list["traces"].as_array().unwrap().as_slice() else { panic!("{list:#}") };
    assert_eq!((&line["response_flags"], &line["failed"]), (&"UF".into(), &true.into()));
    let spans = spans(&proxy, line["trace_id"].as_str().unwrap(), 2);
    let server = spans.iter().find(|span| span["kind"] == "server").unwrap();
    assert_eq!((&server["status"]["code"], &server["events"][0]["name"]), (&"error".into(), &"exception".into()));
    assert_eq!(server["events"][0]["attributes"]["exception.type"], "503");
    assert!(proxy.ask("GET", "/traces?kind=odd").unwrap().starts_with("HTTP/1.1 400"));
    assert!(proxy.ask("GET", "/traces/1").unwrap().starts_with("HTTP/1.1 404"));
}

#[test]
fn spans_reach_a_collector() {
    let (upstream, collector) = (Upstream::saying("hello"), Upstream::saying(""));
    let proxy = Proxy::start_with(|_, web, _, admin| {
        let listener = format!("name: web, address: '{web}', routes: {}", routes("app"));
        config(admin, &[listener], &[format!("name: app, endpoints: ['{}']", upstream.address)])
            + &format!(
                "tracing: {{ exporters: [collector] }}\nexporters:\n  - {{ name: collector, batch: {{ interval: 50ms }}, \
                 otlp: {{ endpoint: 'http://{}', protocol: http }} }}\n",
                collector.address
            )
    });
    let mut client = Client::connect(proxy.web);
    client.send(format!("GET /a HTTP/1.1\r\nHost: h\r\ntraceparent: {CALLER}\r\n\r\n").as_bytes());
    client.response().unwrap();
    let id = u128::from_str_radix(TRACE, 16).unwrap().to_be_bytes();
    eventually("the spans are there", || {
        let messages = collector.contents.lock().unwrap();
        messages.iter().any(|message| message.windows(16).filter(|part| *part == id).count() == 2)
    });
    assert!(collector.heads.lock().unwrap()[0].starts_with("POST /v1/traces "));
}

#[test]
fn without_tracing_there_are_no_traces() {
    let upstream = Upstream::saying("hello");
    let proxy = Proxy::start(upstream.address, "");
    let mut client = Client::connect(proxy.web);
    client.send(b"GET / HTTP/1.1\r\nHost: h\r\ntraceparent: what ever\r\n\r\n");
    client.response().unwrap();
    assert!(upstream.heads.lock().unwrap()[0].contains("traceparent: what ever\r\n"));
    assert!(proxy.ask("GET", "/traces").unwrap().starts_with("HTTP/1.1 404"));
}

#[test]
fn a_trace_goes_from_http_to_grpc_with_the_status_of_the_call() {
    let (upstream, calls) =
        host(|_, _| Answer { fields: vec![], messages: vec![vec![]], status: 14, message: "the%20shelf%20is%20away" });
    let proxy = Proxy::start_with(|_, web, _, admin| {
        let text = example().replace("127.0.0.1:50051", &upstream.to_string()).replace("127.0.0.1:8080", "127.0.0.1:0");
        let port = text.split("name: library\n    address: \"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        let text = text.replace(&port, &web.to_string());
        format!("workers: 1\nadmin: {{ address: '{admin}' }}\n{text}tracing: {{ propagation: [b3_multi, w3c, sw8] }}\n")
    });
    let mut client = Client::connect(proxy.web);
    client.send(format!("GET /v1/books/7 HTTP/1.1\r\nhost: a\r\ntraceparent: {CALLER}\r\n\r\n").as_bytes());
    client.response().unwrap();
    let spans = spans(&proxy, TRACE, 2);
    let (seen, _) = calls.lock().unwrap().pop().unwrap();
    let field = |name: &str| seen.headers().get(name).unwrap().to_str().unwrap().to_owned();
    let (trace, span) = told(&field("traceparent"));
    assert_eq!((trace.as_str(), field("x-b3-traceid").as_str()), (TRACE, TRACE));
    assert_eq!((&spans[1]["id"], field("x-b3-spanid")), (&span.as_str().into(), span.clone()));
    assert!(field("sw8").starts_with("1-"));
}

/// A Dubbo provider that keeps the calls that it got; it throws where `Throw` is called.
fn provider() -> (SocketAddr, Arc<Mutex<Vec<Vec<u8>>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let calls: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let seen = Arc::clone(&calls);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, seen) = (stream.unwrap(), Arc::clone(&seen));
            thread::spawn(move || {
                while let Ok((_, id, body)) = read(&mut stream) {
                    let throws = body.windows(5).any(|part| part == b"Throw");
                    let result = match throws {
                        true => b"\x90C\x0bcom.x.Empty\x92\x05cause\x0ddetailMessage\x60Q\x90\x08no items".to_vec(),
                        false => [&[0x91][..], &text("ok")].concat(),
                    };
                    seen.lock().unwrap().push(body);
                    if stream.write_all(&frame(2, 20, id, &result)).is_err() {
                        break;
                    }
                }
            });
        }
    });
    (address, calls)
}

/// The value of an attachment.
fn attachment(body: &[u8], name: &str) -> Option<String> {
    let key = text(name);
    let at = body.windows(key.len()).position(|part| part == key)? + key.len();
    let (len, value) = match body[at..] {
        [len @ 0..=31, ..] => (usize::from(len), &body[at + 1..]),
        [high @ 0x30..=0x33, low, ..] => (usize::from(high - 0x30) << 8 | usize::from(low), &body[at + 2..]),
        _ => return None,
    };
    String::from_utf8(value[..len].to_vec()).ok()
}

#[test]
fn a_trace_goes_from_http_to_dubbo_and_from_dubbo_to_dubbo() {
    let (upstream, calls) = provider();
    let plain = free_port();
    let proxy = Proxy::start_with(|_, web, _, admin| {
        let text =
            example().replace("127.0.0.1:8080", &web.to_string()).replace("127.0.0.1:20881", &upstream.to_string());
        let dubbo = format!(
            "listeners:\n  - {{ name: plain, address: '127.0.0.1:{plain}', protocol: dubbo, routes: {} }}",
            routes("orders")
        );
        let text = text.replacen("listeners:", &dubbo, 1);
        format!("workers: 1\nadmin: {{ address: '{admin}' }}\n{text}tracing: {{ propagation: [w3c, b3_multi, sw8] }}\n")
    });
    let mut client = Client::connect(proxy.web);
    client.send(format!("GET /orders/7 HTTP/1.1\r\nhost: a\r\ntraceparent: {CALLER}\r\n\r\n").as_bytes());
    client.response().unwrap();
    let made = spans(&proxy, TRACE, 2);
    let body = calls.lock().unwrap().pop().unwrap();
    let (trace, span) = told(&attachment(&body, "traceparent").unwrap());
    assert_eq!((trace.as_str(), &made[1]["id"]), (TRACE, &span.as_str().into()));
    assert_eq!(attachment(&body, "X-B3-SpanId").unwrap(), span);
    assert!(attachment(&body, "sw8").unwrap().starts_with("1-") && attachment(&body, "host").is_none());

    let mut client = connect(([127, 0, 0, 1], plain).into());
    let other = "80f198ee56343ba864fe8b2a57d3eff7";
    let mut sent = call(1, "com.x.Throw", "1.0.0");
    // One attachment instead of none.
    sent.truncate(sent.len() - 2);
    let value = format!("00-{other}-e457b5a2e4d86bd1-01");
    sent.extend([&b"H"[..], &text("traceparent"), &[0x30, value.len() as u8], value.as_bytes(), b"Z"].concat());
    let length = (sent.len() - 16) as u32;
    sent[12..16].copy_from_slice(&length.to_be_bytes());
    client.write_all(&sent).unwrap();
    read(&mut client).unwrap();
    let made = spans(&proxy, other, 2);
    let body = calls.lock().unwrap().pop().unwrap();
    let (trace, span) = told(&attachment(&body, "traceparent").unwrap());
    assert_eq!((trace.as_str(), &made[1]["id"]), (other, &span.as_str().into()));
    let server = &made[0];
    assert_eq!((&server["parent"], &server["name"]), (&"e457b5a2e4d86bd1".into(), &"com.x.Throw/say".into()));
    assert_eq!(server["attributes"]["rpc.system"], "dubbo");
    assert_eq!(server["status"]["code"], "error");
    let event = server["events"].as_array().unwrap().iter().find(|event| event["name"] == "exception").unwrap();
    assert_eq!(event["attributes"]["exception.type"], "com.x.Empty");
    assert_eq!(event["attributes"]["exception.message"], "no items");
}
