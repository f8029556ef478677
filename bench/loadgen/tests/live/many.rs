//! Thousands of connections.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

use crate::bench;

const CONNECTIONS: usize = 2_000;

/// Accepts in bursts from a backlog of 128, and answers with one thread; counts connections.
fn slow_to_accept() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(128).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let listener: std::net::TcpListener = listener.into();
    listener.set_nonblocking(true).unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    thread::spawn(move || {
        let mut streams = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            while let Ok((stream, _)) = listener.accept() {
                stream.set_nonblocking(true).unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
                streams.push(stream);
            }
            streams.retain_mut(|stream| match stream.read(&mut buffer) {
                Ok(0) => false,
                Ok(_) => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").is_ok(),
                Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
            });
            // The bursts: a server that has other things to do.
            thread::sleep(Duration::from_millis(5));
        }
    });
    (address, count)
}

#[test]
fn two_thousand_connections_fit_into_a_backlog_of_128() {
    // Their other ends are in this process.
    let limit = getrlimit(Resource::Nofile);
    let enough = CONNECTIONS as u64 + 500;
    if limit.maximum.is_some_and(|most| most < enough) {
        eprintln!("not tested: the hard limit of open files is {:?}, below {enough}", limit.maximum);
        return;
    }
    if limit.current.is_some_and(|current| current < enough) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(enough), maximum: limit.maximum }).unwrap();
    }
    let (address, count) = slow_to_accept();
    let connections = CONNECTIONS.to_string();
    let (code, report, complaint) = bench(
        &format!("http://{address}/"),
        &["-c", &connections, "-t", "2", "-r", "4000", "-d", "1s", "--fail-if", "errors>0"],
    );
    assert_eq!(code, 0, "{complaint}");
    assert_eq!(report["sent"], 4000);
    assert_eq!(report["connections_opened"], CONNECTIONS);
    // One more is that of the first request.
    assert_eq!(count.load(Ordering::Relaxed), CONNECTIONS + 1);
    assert!(!report["warnings"].to_string().contains("not open"), "{}", report["warnings"]);
}

#[test]
fn more_than_the_limit_is_said_before_anything_is_opened() {
    let limit = getrlimit(Resource::Nofile).maximum;
    let Some(more) = limit.map(|most| most + 1).filter(|more| *more <= 1 << 20) else {
        eprintln!("not tested: there is no limit of open files, or one above --connections");
        return;
    };
    let (code, _, complaint) = bench(&format!("http://{}/", crate::server::start(None)), &["-c", &more.to_string()]);
    assert_eq!(code, 1);
    assert!(complaint.contains("open files") && complaint.contains("ulimit"), "{complaint}");
}
