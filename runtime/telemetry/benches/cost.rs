//! What telemetry costs a worker, in nanoseconds of its CPU time: `cargo bench -p ringway-telemetry`.
//!
//! Both ways of getting a line to the log thread are measured: the one in use, and a queue of owned lines.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crossbeam::queue::ArrayQueue;
use http::HeaderName;
use ringway_api::{Address, Version};
use ringway_telemetry::{Captured, Format, LogWriter, LogWriterConfig, Registry, StreamRecord};

fn main() {
    // `cargo test --all-targets` runs this too, without the argument: once through, to see that it works.
    let rounds = if std::env::args().any(|arg| arg == "--bench") { 1_000_000 } else { 100 };
    let registry = Registry::new(1);
    let cluster = registry.cluster("app");
    let cells = cluster.worker(0);
    show("counter", rounds * 10, |_| cells.upstream_rq_total.inc());
    show("gauge", rounds * 10, |_| cells.upstream_rq_active.inc());
    show("histogram", rounds * 10, |at| cells.upstream_rq_time.record_us(at * 7 % 50_000));

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

    for flush_bytes in [16 << 10, 64 << 10, 256 << 10] {
        lanes(&registry, rounds, flush_bytes, &text, &record(&for_text));
    }
    queue_of_lines(rounds, &text, &record(&for_text));
}

/// Lines through a lane, to a file that takes no time.
fn lanes(registry: &Registry, rounds: u64, flush_bytes: usize, format: &Format, record: &StreamRecord<'_>) {
    let config = LogWriterConfig { flush_bytes, lane_bytes: 64 << 20, ..LogWriterConfig::default() };
    let opened = LogWriter::start(1, registry, config)
        .and_then(|w| Ok((w.open(Path::new("/dev/null"), ringway_telemetry::FileOptions::default())?, w)));
    match opened {
        Ok((file, writer)) => {
            if let Some(mut lane) = file.lane(0) {
                show(&format!("and through a lane, {} KiB", flush_bytes >> 10), rounds, |_| lane.log(format, record));
            }
            drop(file);
            println!("{:>28} {}", "written in time:", writer.shutdown(Duration::from_secs(10)));
        }
        Err(error) => println!("no log thread: {error}"),
    }
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
    show("and through a queue of lines", rounds, |_| {
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

/// Shows the CPU time of this thread per step.
fn show(name: &str, rounds: u64, mut step: impl FnMut(u64)) {
    // The best of some turns: in the others somebody else used the core's caches. The kernel accounts by ticks, so a
    // turn must take many of them.
    let mut best = f64::MAX;
    for _ in 0..8 {
        let start = cpu_ns();
        for at in 0..rounds {
            step(black_box(at));
        }
        best = best.min((cpu_ns() - start) as f64 / rounds as f64);
    }
    println!("{name:>28} {best:8.1} ns");
}

/// The time that this thread has run, in nanoseconds.
fn cpu_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
}
