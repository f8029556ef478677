//! A proxy in memory for a codec of framed calls: a client's end, a server's end, and between them the driver's
//! two sides around the codec under test.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;

use ringway_api::{
    Body, BodyStart, BodyStream, ExchangeEvent, LocalReply, Protocol, Request, RequestHead, Response, UpstreamConn,
};
use ringway_rpc::{Framed, RpcCodec, RpcOptions};

use crate::{MemoryIo, PairOptions, Sim, TestHandler, TestLog, pair, test_conn};

/// What filters do in a proxy: looks at calls and answers on their way, and may edit them.
#[derive(Clone)]
pub struct Edits {
    /// Is given each call.
    pub request: Rc<dyn Fn(&mut Request)>,
    /// Is given each answer.
    pub response: Rc<dyn Fn(&mut Response)>,
}

/// A proxy in memory for one connection on either side.
pub struct RpcWorld {
    /// The worker.
    pub sim: Sim,
    /// The client's end.
    pub client: MemoryIo,
    /// The server's end.
    pub server: MemoryIo,
    /// What the proxy saw.
    pub log: Rc<RefCell<TestLog>>,
    /// Asks the downstream connection to end.
    pub downstream: Rc<ringway_api::ConnCx>,
    /// How the downstream connection ended.
    pub ended: Rc<RefCell<Option<Result<(), ringway_api::ConnError>>>>,
    /// The upstream connection.
    pub upstream: Rc<dyn UpstreamConn>,
}

impl Default for Edits {
    fn default() -> Self {
        Self { request: Rc::new(|_| ()), response: Rc::new(|_| ()) }
    }
}

impl std::fmt::Debug for Edits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Edits")
    }
}

impl RpcWorld {
    /// A proxy for a codec.
    pub fn new<C: RpcCodec>(seed: u64, options: PairOptions) -> Self {
        Self::with::<C>(seed, options, RpcOptions::default(), Rc::new(|_| ()))
    }

    /// The same with options, and with a filter of the heads of requests.
    pub fn with<C: RpcCodec>(
        seed: u64,
        options: PairOptions,
        rpc: RpcOptions,
        filter: Rc<dyn Fn(&mut RequestHead)>,
    ) -> Self {
        let request = Rc::new(move |request: &mut Request| filter(&mut request.head));
        Self::edited::<C>(seed, options, rpc, Edits { request, ..Edits::default() })
    }

    /// The same with filters of calls and answers.
    pub fn edited<C: RpcCodec>(seed: u64, options: PairOptions, rpc: RpcOptions, edits: Edits) -> Self {
        let sim = Sim::new(seed);
        let (client, down) = pair(options);
        let (up, server) = pair(PairOptions { seed: options.seed.wrapping_add(1), ..options });
        let config = Arc::new(rpc);
        let connecting = Framed::<C>::connect(Arc::clone(&config), up, test_conn(&sim));
        let upstream = sim.block_on(connecting).unwrap_or_else(|error| panic!("{error}"));
        let upstream: Rc<dyn UpstreamConn> = Rc::new(upstream);
        let handler = through(Rc::clone(&upstream), edits);
        let log = handler.log();
        let downstream = test_conn(&sim);
        let conn = Rc::clone(&downstream);
        let ended = sim.spawn_with_result(async move { Framed::<C>::serve(config, down, handler, conn).await });
        Self { sim, client, server, log, downstream, ended, upstream }
    }

    /// Sends bytes as the client; everything that can happen has happened when it returns.
    pub fn ask(&mut self, bytes: impl AsRef<[u8]>) {
        let sent = self.sim.block_on(self.client.send(bytes));
        assert!(sent.is_ok(), "{sent:?}");
        self.sim.run_until_quiet();
    }

    /// Sends bytes as the server.
    pub fn answer(&mut self, bytes: impl AsRef<[u8]>) {
        let sent = self.sim.block_on(self.server.send(bytes));
        assert!(sent.is_ok(), "{sent:?}");
        self.sim.run_until_quiet();
    }

    /// What has arrived at the server.
    pub fn asked(&mut self) -> Vec<u8> {
        self.sim.run_until_quiet();
        self.server.recv_now()
    }

    /// What has arrived at the client.
    pub fn answered(&mut self) -> Vec<u8> {
        self.sim.run_until_quiet();
        self.client.recv_now()
    }
}

/// A handler that passes calls on to one upstream connection.
fn through(upstream: Rc<dyn UpstreamConn>, edits: Edits) -> TestHandler {
    TestHandler::with(move |request, _, _| {
        let (upstream, edits) = (Rc::clone(&upstream), edits.clone());
        Box::pin(async move {
            let mut request = request;
            (edits.request)(&mut request);
            if upstream.free_slots() == 0 {
                let reply = LocalReply::new(http::StatusCode::SERVICE_UNAVAILABLE, "overflow", "overflow");
                return crate::Answer { response: reply.response(), close: false };
            }
            let mut response = pass(&*upstream, request).await;
            (edits.response)(&mut response);
            crate::Answer { response, close: false }
        })
    })
}

async fn pass(upstream: &dyn UpstreamConn, request: Request) -> Response {
    let mut exchange = upstream.open(request);
    loop {
        match poll_fn(|cx| exchange.poll_head(cx)).await {
            Ok(ExchangeEvent::Interim(_)) => {}
            Ok(ExchangeEvent::Final(head, BodyStart::Complete(body))) => return Response { head, body },
            Ok(ExchangeEvent::Final(head, BodyStart::Streaming)) => {
                let body: Box<dyn BodyStream> = exchange;
                return Response { head, body: Body::Stream(body) };
            }
            Err(error) => {
                let status = error.status.unwrap_or(http::StatusCode::SERVICE_UNAVAILABLE);
                return LocalReply::new(status, "upstream failure", error.details).response();
            }
        }
    }
}
