//! What telemetry costs a worker, in nanoseconds: `cargo bench -p ringway-telemetry`.
//!
//! Both ways of getting a line to the log thread are measured: the one in use, and a queue of owned lines.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crossbeam::queue::ArrayQueue;
use http::HeaderName;
use ringway_api::{Address, Version};
use ringway_telemetry::{Captured, Format, LogWriter, LogWriterConfig, Registry, StreamRecord};

fn main() {
    // `cargo test --all-targets` runs this too, without the argument: once through, to see that it works.
    let rounds = if std::env::args().any(|arg| arg == "--bench") { 2_000_000 } else { 1_000 };
    let registry = Registry::new(1);
    let cluster = registry.cluster("app");
    let cells = cluster.worker(0);
    show("counter", rounds, |_| cells.upstream_rq_total.inc());
    show("gauge", rounds, |_| cells.upstream_rq_active.inc());
    show("histogram", rounds, |at| cells.upstream_rq_time.record_us(at * 7 % 50_000));

    let address = Address::Ip(([10, 0, 0, 7], 8080).into());
    let (text, json) = (Format::default_text(), Format::default_json());
    let capture = |format: &Format| {
        let values = |name: &HeaderName| match name.as_str() {
            "user-agent" => Some(&b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101"[..]),
            "x-request-id" => Some(&b"6f1d4a0e-7a3c-4a52-9a57-2f7c1f0f7f10"[..]),
            "x-forwarded-for" => Some(&b"203.0.113.9"[..]),
            _ => None,
        };
        Captured::capture(&format.needs().request_headers, values)
    };
    show("capture 3 of 4 headers", rounds, |_| drop(black_box(capture(&text))));
    let (for_text, for_json) = (capture(&text), capture(&json));
    let record = |request_headers| StreamRecord {
        duration: Duration::from_micros(1234),
        method: Some("GET"),
        path: Some(b"/api/v1/items?page=3"),
        authority: Some(b"shop.example.com"),
        protocol: Some(Version::Http11),
        response_code: Some(200),
        response_code_details: Some("via_upstream"),
        bytes_sent: 1024,
        upstream_cluster: Some("app"),
        upstream_host: Some(&address),
        downstream_remote: Some(&address),
        downstream_local: Some(&address),
        request_headers,
        ..StreamRecord::new(SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_225_599_042))
    };
    let mut out = Vec::new();
    for (name, format, captured) in [("render text", &text, &for_text), ("render json", &json, &for_json)] {
        show(name, rounds, |_| {
            out.clear();
            format.render(&record(captured), &mut out);
        });
        println!("{:>28} bytes", out.len());
    }

    let config = LogWriterConfig { lane_bytes: 64 << 20, ..LogWriterConfig::default() };
    match LogWriter::start(1, &registry, config).and_then(|writer| Ok((writer.open(Path::new("/dev/null"))?, writer))) {
        Ok((file, writer)) => {
            if let Some(mut lane) = file.lane(0) {
                show("render text and hand over", rounds, |_| lane.log(&text, &record(&for_text)));
            }
            drop(file);
            println!("{:>28} {}", "written in time:", writer.shutdown(Duration::from_secs(10)));
            print!(
                "{}",
                registry.text(&ringway_telemetry::Query {
                    used_only: true,
                    filter: ringway_telemetry::NameFilter::Prefix("access_logs."),
                })
            );
        }
        Err(error) => println!("no log thread: {error}"),
    }

    queue_of_lines(rounds, &text, &record(&for_text));
}

/// The other way: each line in a buffer of its own, through a queue, buffers coming back through another.
fn queue_of_lines(rounds: u64, format: &Format, record: &StreamRecord<'_>) {
    let lines: Arc<ArrayQueue<Vec<u8>>> = Arc::new(ArrayQueue::new(8192));
    let empties: Arc<ArrayQueue<Vec<u8>>> = Arc::new(ArrayQueue::new(8192));
    let reader = {
        let (lines, empties) = (lines.clone(), empties.clone());
        std::thread::spawn(move || {
            let mut batch = Vec::new();
            loop {
                match lines.pop() {
                    Some(line) if line.is_empty() => break,
                    Some(mut line) => {
                        batch.extend_from_slice(&line);
                        line.clear();
                        drop(empties.push(line));
                        if batch.len() > 16 << 10 {
                            black_box(&batch);
                            batch.clear();
                        }
                    }
                    None => std::thread::park_timeout(Duration::from_millis(1)),
                }
            }
        })
    };
    let mut dropped = 0_u64;
    show("the same, a queue of lines", rounds, |_| {
        let mut line = empties.pop().unwrap_or_default();
        format.render(record, &mut line);
        if lines.push(line).is_err() {
            dropped += 1;
        }
    });
    println!("{:>28} {dropped}", "dropped:");
    while lines.push(Vec::new()).is_err() {
        std::thread::yield_now();
    }
    if reader.join().is_err() {
        println!("the reader failed");
    }
}

fn show(name: &str, rounds: u64, mut step: impl FnMut(u64)) {
    let mut best = f64::MAX;
    for _ in 0..3 {
        let start = Instant::now();
        for at in 0..rounds {
            step(black_box(at));
        }
        best = best.min(start.elapsed().as_nanos() as f64 / rounds as f64);
    }
    println!("{name:>28} {best:8.1} ns");
}
