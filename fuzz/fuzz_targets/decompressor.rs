//! Content codings: any bytes give the same content, or none of it is whole, at once and byte by byte.
#![no_main]

use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use libfuzzer_sys::fuzz_target;
use ringway_api::{
    Action, Body, BodyError, BodyStream, Chunk, FilterCx, FilterSpec, FilterStats, Frame, Request, RequestHead, StreamCx,
};
use ringway_filters::Decompressor;
use ringway_testkit::{Sim, test_conn};

struct Pieces(VecDeque<Chunk>);

impl BodyStream for Pieces {
    fn poll_frame(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        Poll::Ready(self.0.pop_front().map(|chunk| Ok(Frame::Data(chunk))))
    }

    fn remaining(&self) -> Option<u64> {
        None
    }
}

/// The content, as far as it goes, and whether that is all.
fn read(coding: &str, pieces: VecDeque<Chunk>) -> (Vec<u8>, bool) {
    let spec = FilterSpec::of::<Decompressor>();
    let cx = StreamCx::new(test_conn(&Sim::new(1)));
    let build = FilterCx { env: Rc::clone(&cx.conn.env), stats: FilterStats::new(spec.stats.len()), workers: 1 };
    let compiled = (spec.compile)(serde_json::Value::Null).unwrap();
    let mut filter = (spec.build)(compiled, None, build).unwrap().stream();
    let mut head = RequestHead::new(http::Method::POST, "example.com", "/");
    head.headers.append("content-encoding", coding.as_bytes()).unwrap();
    let mut request = Request { head, body: Body::Stream(Box::new(Pieces(pieces))) };
    assert!(matches!(filter.on_request(&mut request, &cx), Action::Continue));
    let mut content = Vec::new();
    loop {
        // Pending is a turn for others.
        match request.body.poll_frame(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(Frame::Data(chunk)))) => content.extend_from_slice(&chunk),
            Poll::Ready(Some(Ok(Frame::Trailers(_)))) => unreachable!("there are none"),
            Poll::Ready(Some(Err(_))) => return (content, false),
            Poll::Ready(None) => return (content, true),
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let coding = ["gzip", "br", "zstd"][usize::from(*first) % 3];
    let (whole, complete) = read(coding, [Chunk::copy_from(bytes)].into());
    let (cut, cut_complete) = read(coding, bytes.chunks(1).map(Chunk::copy_from).collect());
    let common = whole.len().min(cut.len());
    assert_eq!(whole[..common], cut[..common]);
    // The ratio is measured where content is read, and that may be later.
    if whole.len().max(cut.len()) <= 64 * 1024 {
        assert_eq!(complete, cut_complete);
    }
});
