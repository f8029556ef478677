//! Replays what `ringway record` has written, from the file to the server.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::server::start;
use crate::{bench, good};

/// Lines as a tap writes them (docs/tap.md), out of order and with all that is strange in real traffic.
const RECORDED: &str = r#"
{"at_us":1795466625523456,"authority":"shop.example.com","headers":[["user-agent","{{uuid}}"],["connection","keep-alive"],["x-empty",""]],"method":"DELETE","path":"/cart/{{seq}}"}
{"at_us":1795466625123456,"authority":"shop.example.com","headers":[["user-agent","curl/8.5"],["cookie","[redacted]"]],"method":"GET","path":"/cart?a=b%20c"}
{"at_us":1795466625323456,"authority":null,"headers":[["content-type","text/plain"],["content-length","5000"],["expect","100-continue"]],"method":"PUT","path":"/cart","response":{"code":200}}
{"at_us":1795466625323999,"authority":null,"headers":[],"method":null,"path":null}
"#;

struct Seen {
    at: Instant,
    head: String,
    content: Vec<u8>,
}

/// Answers requests with a length, and tells of each.
fn listen() -> (SocketAddr, Receiver<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (to, from) = channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let to = to.clone();
            thread::spawn(move || {
                let (mut held, mut buffer) = (Vec::new(), [0; 65536]);
                while let Ok(got @ 1..) = stream.read(&mut buffer) {
                    held.extend_from_slice(&buffer[..got]);
                    while let Some(end) = held.windows(4).position(|four| four == b"\r\n\r\n") {
                        let head = String::from_utf8(held[..end].to_vec()).unwrap();
                        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
                        let length = length.map_or(0, |length| length.parse().unwrap());
                        if held.len() < end + 4 + length {
                            break;
                        }
                        let content = held.drain(..end + 4 + length).skip(end + 4).collect();
                        to.send(Seen { at: Instant::now(), head, content }).unwrap_or_default();
                        stream.write_all(b"HTTP/1.1 204 OK\r\n\r\n").unwrap();
                    }
                }
            });
        }
    });
    (address, from)
}

#[test]
fn requests_are_what_they_were_when_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("traffic.jsonl");
    std::fs::write(&file, RECORDED).unwrap();
    let file = file.to_str().unwrap();
    let (address, seen) = listen();
    let begun = Instant::now();
    let url = format!("http://{address}/ignored");
    let (code, report, told) = bench(&url, &["--replay", file, "--speed", "2", "-H", "cookie: mine", "-d", "1s"]);
    assert_eq!((code, &report["sent"], &report["errors"]), (0, &3.into(), &serde_json::json!({})), "{told}");
    for note in ["5000 bytes of content", "1 lines are no requests"] {
        assert!(told.contains(note), "{told}");
    }
    assert!(!told.contains("redacted"), "{told}");
    let seen: Vec<_> = seen.try_iter().collect();
    // The first request is made once before the load, to see who is there.
    let heads: Vec<_> = seen.iter().map(|seen| &*seen.head).collect();
    let first = "GET /cart?a=b%20c HTTP/1.1\r\nHost: shop.example.com\r\nuser-agent: curl/8.5\r\ncookie: mine";
    let put = format!(
        "PUT /cart HTTP/1.1\r\nHost: {address}\r\ncontent-type: text/plain\r\ncookie: mine\r\nContent-Length: 5000"
    );
    let last =
        "DELETE /cart/{{seq}} HTTP/1.1\r\nHost: shop.example.com\r\nuser-agent: {{uuid}}\r\nx-empty: \r\ncookie: mine";
    assert_eq!(heads, [first, first, &*put, last]);
    assert!(seen[2].content.len() == 5000 && seen[2].content.iter().all(u8::is_ascii_lowercase));
    for (at, after) in [(2, 100), (3, 200)] {
        assert!(seen[at].at >= begun + Duration::from_millis(after), "request {at} came too early");
    }
}

#[test]
fn a_recording_is_as_long_as_it_is_and_fits_http2() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("traffic.jsonl");
    std::fs::write(&file, RECORDED).unwrap();
    let address = start(None);
    let file = file.to_str().unwrap();
    let program = crate::program(&[&format!("h2c://{address}/"), "--replay", file, "-c", "1", "-o", "json", "-q"]);
    let report: serde_json::Value = serde_json::from_slice(&program.stdout).unwrap();
    assert_eq!((&report["sent"], &report["errors"]), (&3.into(), &serde_json::json!({})), "{report}");
    assert_eq!(report["seconds"], 0.401);
    let report = good(&format!("h2c://{address}/"), &["--replay", file, "-d", "300ms"]);
    assert_eq!(report["sent"], 2, "a duration cuts it");
}
