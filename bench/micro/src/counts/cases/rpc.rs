//! Calls of framed protocols: who is called, and passing a frame on under another id.

use std::hint::black_box;

use anyhow::{Context, Result};
use ringway_api::Chunk;
use ringway_rpc::bolt::BoltV1;
use ringway_rpc::dubbo::Dubbo;
use ringway_rpc::{Event, Limits, Reader, Received, RpcCodec, request_head};

use super::measured;

/// The options' defaults.
const LIMITS: Limits = Limits { frame: 8 << 20, buffered: 256 << 10 };

/// Finds the frame, its service, method and attachments.
pub(super) fn dubbo(times: u64) -> Result<()> {
    head::<Dubbo>(times, dubbo_call())
}

/// The same for bolt.
pub(super) fn bolt(times: u64) -> Result<()> {
    head::<BoltV1>(times, bolt_call())
}

/// Writes a frame under another id.
pub(super) fn renumber(times: u64) -> Result<()> {
    let (codec, block) = (Dubbo, Chunk::from(dubbo_call()));
    let received = read(&codec, &block).context("no frame")?;
    let mut out = Vec::with_capacity(4096);
    measured(times, || {
        out.clear();
        let replaced = codec.renumber(&received.frame, black_box(&received.block), 7, &mut out);
        out.extend_from_slice(replaced.and_then(|at| received.block.get(at..)).unwrap_or_default());
        out.len()
    });
    Ok(())
}

fn head<C: RpcCodec>(times: u64, call: Vec<u8>) -> Result<()> {
    let (codec, block) = (C::default(), Chunk::from(call));
    let received = read(&codec, &block).context("no frame")?;
    request_head(&codec, &received)?;
    measured(times, || {
        let received = read(&codec, black_box(&block))?;
        request_head(&codec, &received).ok()
    });
    Ok(())
}

fn read<C: RpcCodec>(codec: &C, block: &Chunk) -> Option<Received> {
    let mut reader = Reader::default();
    reader.push(block.clone());
    match reader.next(codec, LIMITS) {
        Ok(Some(Event::Frame(received))) => Some(received),
        _ => None,
    }
}

/// An echo of 1 KB with the usual attachments.
fn dubbo_call() -> Vec<u8> {
    let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    let mut body = ["2.0.2", "com.bench.Echo", "1.0.0", "echo", "Ljava/lang/String;"].map(text).concat();
    body.extend([b'S', 4, 0]);
    body.extend([b'x'; 1024]);
    body.push(b'H');
    for entry in ["path", "com.bench.Echo", "interface", "com.bench.Echo", "version", "1.0.0", "timeout", "3000"] {
        body.extend(text(entry));
    }
    body.push(b'Z');
    let mut frame = vec![0xda, 0xbb, 0xc2, 0, 0, 0, 0, 0, 0, 0, 0, 9];
    frame.extend((body.len() as u32).to_be_bytes());
    [frame, body].concat()
}

fn bolt_call() -> Vec<u8> {
    let class = b"com.alipay.sofa.rpc.core.request.SofaRequest";
    let pairs = [
        ("service", "com.bench.Echo:1.0"),
        ("sofa_head_target_service", "com.bench.Echo:1.0"),
        ("sofa_head_method_name", "echo"),
        ("sofa_head_target_app", "bench"),
    ];
    let text = |text: &str| [&(text.len() as u32).to_be_bytes()[..], text.as_bytes()].concat();
    let headers: Vec<u8> = pairs.iter().flat_map(|(name, value)| [text(name), text(value)].concat()).collect();
    let mut frame = vec![1, 1, 0, 1, 1, 0, 0, 0, 9, 1];
    frame.extend(3000_u32.to_be_bytes());
    frame.extend((class.len() as u16).to_be_bytes());
    frame.extend((headers.len() as u16).to_be_bytes());
    frame.extend(1024_u32.to_be_bytes());
    [frame, class.to_vec(), headers, vec![b'x'; 1024]].concat()
}
