//! Memory per connection is a product number.

use std::sync::Arc;

use ringway_api::{
    Body, Handler, LocalReply, Observer, Protocol, Reply, Request, Response, ResponseHead, StreamCx, StreamEnd,
};
use ringway_http1::{Client, Http1, Http1Options};
use ringway_testkit::{MemoryIo, PairOptions, Sim, pair, test_conn};

/// A handler whose future is all but empty, so that what is measured is ours.
#[derive(Clone)]
struct Nothing;

struct Unobserved;

impl Handler for Nothing {
    type Observer = Unobserved;

    async fn handle(&self, request: Request, _: &StreamCx) -> Reply<Unobserved> {
        drop(request);
        Reply {
            response: Response { head: ResponseHead::default(), body: Body::Empty },
            observer: Unobserved,
            close: false,
            reset: false,
        }
    }

    fn refuse(&self, _: LocalReply, _: &StreamCx) -> Reply<Unobserved> {
        Reply {
            response: Response { head: ResponseHead::default(), body: Body::Empty },
            observer: Unobserved,
            close: true,
            reset: false,
        }
    }
}

impl Observer for Unobserved {
    fn finish(self, _: &StreamEnd) {}
}

#[test]
fn connections_are_small() {
    let sim = Sim::new(1);
    let (io, _far) = pair(PairOptions::default());
    let serving = Http1::serve(Arc::new(Http1Options::default()), io, Nothing, test_conn(&sim));
    let size = size_of_val(&serving);
    assert!(size <= 320, "serving takes {size} bytes");
    assert!(size_of::<Client<MemoryIo>>() <= 8);
}
