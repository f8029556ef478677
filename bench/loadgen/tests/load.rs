//! Loads on servers that do as they are told, over real sockets.

#![allow(clippy::disallowed_methods, reason = "the scripted servers are threads of their own that sleep on purpose")]
#![allow(clippy::unwrap_used, reason = "the helpers are of tests as well")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::{Duration, Instant};

use ringway_bench::codec::{Call, Protocol};
use ringway_bench::request::{Place, Request};
use ringway_bench::schedule::Shape;
use ringway_bench::{Plan, probe, run};

const REPLY: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Answers whole requests without a body until `reply` says nothing.
fn serve(mut stream: impl Read + Write, mut reply: impl FnMut(usize) -> Option<Vec<u8>>) {
    let (mut held, mut buffer, mut count) = (Vec::new(), [0; 4096], 0);
    while let Ok(got) = stream.read(&mut buffer) {
        if got == 0 {
            return;
        }
        held.extend_from_slice(&buffer[..got]);
        while let Some(end) = held.windows(4).position(|four| four == b"\r\n\r\n") {
            held.drain(..end + 4);
            count += 1;
            let Some(bytes) = reply(count) else { return };
            if stream.write_all(&bytes).is_err() {
                return;
            }
        }
    }
}

/// A server with a thread per connection, for as long as the test runs.
fn server(reply: impl Fn(usize) -> Option<Vec<u8>> + Clone + Send + 'static) -> Place {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let reply = reply.clone();
            thread::spawn(move || {
                stream.set_nodelay(true).unwrap();
                serve(stream, reply);
            });
        }
    });
    Place::Ip(address)
}

fn plan(place: Place, shape: Shape) -> Plan {
    let request = Request { method: "GET".into(), path: "/".into(), authority: "test".into(), ..Request::default() };
    Plan {
        protocol: Protocol::Http1,
        place,
        tls: None,
        requests: vec![request].into(),
        literal: false,
        shape,
        connections: 32,
        threads: 2,
        streams: 1,
        call: Call::default(),
        duration: Duration::from_secs(1),
        warmup: Duration::ZERO,
        timeout: Duration::from_secs(10),
        per_connection: u64::MAX,
        think: Duration::ZERO,
        seed: 1,
        most: u64::MAX,
    }
}

#[test]
fn a_stall_of_200_ms_each_second_is_in_the_tail() {
    let begun = Instant::now();
    let place = server(move |_| {
        let within = begun.elapsed().as_millis() % 1000;
        if within < 200 {
            thread::sleep(Duration::from_millis((200 - within) as u64));
        }
        Some(REPLY.to_vec())
    });
    let plan = Plan { duration: Duration::from_secs(4), ..plan(place, Shape::Constant(1000.0)) };
    let summary = run(&plan, |_| ()).unwrap();
    assert_eq!((summary.total.completed, summary.total.failed(), summary.total.unsent), (4000, 0, 0));
    let p99 = summary.latency_us(0.99) / 1e3;
    assert!((170.0..260.0).contains(&p99), "p99 {p99} ms");
    // A fifth of all starts are meant to be within a stall and wait for half of it in the mean.
    let p90 = summary.latency_us(0.9) / 1e3;
    assert!((70.0..190.0).contains(&p90), "p90 {p90} ms");
    // From the send, as a closed loop counts, few of these are slow.
    let hidden = summary.total.service.value_at_quantile(0.9) as f64 / 1e6;
    assert!(hidden < p90, "{hidden} ms");
    assert_eq!(summary.seconds.len(), 4);
}

#[test]
fn a_rate_that_is_not_reached_is_said() {
    let place = server(|_| {
        thread::sleep(Duration::from_millis(20));
        Some(REPLY.to_vec())
    });
    let plan = Plan { connections: 2, ..plan(place, Shape::Constant(1000.0)) };
    let summary = run(&plan, |_| ()).unwrap();
    assert!(summary.rate() < 200.0 && summary.total.unsent > 700, "{} {}", summary.rate(), summary.total.unsent);
    assert!(summary.warnings.iter().any(|text| text.contains("less than asked")), "{:?}", summary.warnings);
    assert!(summary.warnings.iter().any(|text| text.contains("never sent")), "{:?}", summary.warnings);
}

#[test]
fn connections_end_after_their_requests() {
    let place = server(|count| (count <= 5).then(|| REPLY.to_vec()));
    let plan = Plan { per_connection: 5, connections: 4, ..plan(place, Shape::Constant(500.0)) };
    let summary = run(&plan, |_| ()).unwrap();
    assert_eq!((summary.total.completed, summary.total.failed()), (500, 0), "{:?}", summary.total.errors);
    assert!(summary.total.connects >= 96, "{}", summary.total.connects);
}

#[test]
fn errors_are_counted_by_kind() {
    let place = server(|count| match count % 3 {
        0 => None,
        1 => Some(b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n".to_vec()),
        _ => Some(REPLY.to_vec()),
    });
    let summary = run(&plan(place, Shape::Constant(300.0)), |_| ()).unwrap();
    let errors = &summary.total.errors;
    assert!(errors["status 503"] >= 90, "{errors:?}");
    let lost: u64 = errors.iter().filter(|(kind, _)| !kind.starts_with("status")).map(|(_, count)| count).sum();
    assert!(lost >= 50, "{errors:?}");
    assert_eq!(summary.total.sent, 300);
}

#[test]
fn what_is_not_there_or_speaks_something_else_is_an_error_in_words() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = server(|_| {
        thread::sleep(Duration::from_secs(30));
        None
    });
    let timeout = Duration::from_millis(200);
    for (place, protocol, word) in [
        (Place::Ip(closed), Protocol::Http1, "connect"),
        (server(|_| Some(b"SSH-2.0-test\r\n\r\n".to_vec())), Protocol::Http1, "no HTTP/1.1 reply"),
        (server(|_| Some(REPLY.to_vec())), Protocol::Http2, "HTTP/2"),
        (server(|_| None), Protocol::Http1, "closed"),
        (silent, Protocol::Http1, "timeout"),
        (Place::Unix("/nowhere/at/all".into()), Protocol::Http1, "connect"),
    ] {
        let plan = Plan { protocol, timeout, ..plan(place, Shape::Closed) };
        let error = format!("{:#}", probe(&plan).unwrap_err());
        assert!(error.contains(word), "{protocol:?}: {error}");
        let plan = Plan { duration: Duration::from_millis(300), ..plan };
        assert!(run(&plan, |_| ()).is_err(), "{protocol:?}: a silent zero");
    }
}

#[test]
fn unix_sockets_and_closed_loops() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream, |_| Some(REPLY.to_vec())));
        }
    });
    let think = Duration::from_millis(50);
    let plan = Plan { connections: 2, think, ..plan(Place::Unix(path), Shape::Closed) };
    probe(&plan).unwrap();
    let summary = run(&plan, |_| ()).unwrap();
    assert!((10..=40).contains(&summary.within), "{} requests with 50 ms between them", summary.within);
    assert_eq!(summary.total.failed(), 0, "{:?}", summary.total.errors);
}

#[test]
fn dubbo_calls_are_told_apart_by_their_numbers() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = Place::Ip(listener.local_addr().unwrap());
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut waiting = Vec::new();
                loop {
                    let mut head = [0; 16];
                    if stream.read_exact(&mut head).is_err() {
                        return;
                    }
                    let length = u32::from_be_bytes(head[12..].try_into().unwrap());
                    let mut body = vec![0; length as usize];
                    stream.read_exact(&mut body).unwrap();
                    assert!(body.starts_with(b"\x052.0.2\x0ddemo.Greeting"), "{body:?}");
                    waiting.push([&[0xda, 0xbb, 2, 20][..], &head[4..12], &[0, 0, 0, 1], b"\x94"].concat());
                    // Two at a time, the later one first.
                    if waiting.len() == 2 {
                        while let Some(answer) = waiting.pop() {
                            stream.write_all(&answer).unwrap();
                        }
                    }
                }
            });
        }
    });
    let mut plan = Plan { protocol: Protocol::Dubbo, streams: 2, connections: 2, ..plan(place, Shape::Closed) };
    plan.requests = vec![Request { path: "/demo.Greeting/hello".into(), ..Request::default() }].into();
    plan.duration = Duration::from_millis(300);
    plan.timeout = Duration::from_secs(1);
    let summary = run(&plan, |_| ()).unwrap();
    assert!(summary.within > 10, "{}", summary.within);
}
