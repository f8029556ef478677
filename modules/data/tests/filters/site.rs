//! One filter on one worker, many streams, a clock, and what it counts.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use http::{Method, StatusCode};
use ringway_api::{
    Action, Address, Body, ConnCx, ConnInfo, DynFilter, DynStreamFilter, FilterCx, FilterSpec, FilterStats, LocalReply,
    Request, RequestHead, Response, ResponseFlags, ResponseHead, StreamCx, StreamFilter,
};
use ringway_testkit::Sim;
use serde_json::Value;

use crate::world::{Content, read};

/// A filter on a worker.
pub(crate) struct Site {
    pub(crate) sim: Sim,
    filter: Rc<dyn DynFilter>,
    stats: FilterStats,
    spec: FilterSpec,
    client: Address,
}

/// A request on its way.
pub(crate) struct Visit {
    filter: Box<dyn DynStreamFilter>,
    cx: StreamCx,
    sim: Sim,
    pub(crate) request: Request,
    /// Noted so far.
    pub(crate) flags: ResponseFlags,
}

/// What became of a request.
#[derive(Debug)]
pub(crate) enum End {
    Passed,
    Reply(LocalReply),
    Reset,
}

impl End {
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Passed => 200,
            Self::Reply(reply) => reply.status.as_u16(),
            Self::Reset => 0,
        }
    }
}

impl Site {
    pub(crate) fn of<F: StreamFilter>(options: Value) -> Self {
        Self::among::<F>(options, 1).remove(0)
    }

    /// The filter on each of several workers, which have one clock here.
    pub(crate) fn among<F: StreamFilter>(options: Value, workers: usize) -> Vec<Self> {
        let spec = FilterSpec::of::<F>();
        let compiled = (spec.compile)(options).unwrap();
        let sim = Sim::new(7);
        let build = |_| {
            let stats = FilterStats::new(spec.stats.len());
            let cx = FilterCx { env: sim.env(), stats: stats.clone(), workers };
            let filter = (spec.build)(compiled.clone(), None, cx).unwrap();
            let client = Address::Ip("192.0.2.2:50000".parse().unwrap());
            Self { sim: sim.clone(), filter, stats, spec, client }
        };
        (0..workers).map(build).collect()
    }

    /// The same after a change of the configuration.
    pub(crate) fn replaced(&self, options: Value) -> Self {
        let compiled = (self.spec.compile)(options).unwrap();
        let cx = FilterCx { env: self.sim.env(), stats: self.stats.clone(), workers: 1 };
        let filter = (self.spec.build)(compiled, Some(&*self.filter), cx).unwrap();
        Self { sim: self.sim.clone(), filter, stats: self.stats.clone(), spec: self.spec, client: self.client.clone() }
    }

    pub(crate) fn client(&mut self, address: &str) {
        self.client = match address.parse::<IpAddr>() {
            Ok(ip) => Address::Ip((ip, 50_000).into()),
            Err(_) => Address::Unix(address.into()),
        };
    }

    pub(crate) fn stat(&self, name: &str) -> i64 {
        let at = self.spec.stats.iter().position(|stat| stat.name == name).unwrap();
        self.stats.cells()[at].value()
    }

    pub(crate) fn visit(&self, fields: &[(&str, &str)]) -> Visit {
        self.visit_path("/", fields)
    }

    pub(crate) fn visit_path(&self, path: &str, fields: &[(&str, &str)]) -> Visit {
        let mut head = RequestHead::new(Method::GET, "example.com", path);
        fields.iter().for_each(|(name, value)| head.headers.append(name, value.as_bytes()).unwrap());
        let local: Address = Address::Ip("192.0.2.1:80".parse().unwrap());
        let conn = Rc::new(ConnCx::new(ConnInfo::new(1, local, self.client.clone()), self.sim.env()));
        Visit {
            filter: Rc::clone(&self.filter).stream(),
            cx: StreamCx::new(conn),
            sim: self.sim.clone(),
            request: Request { head, body: Body::Empty },
            flags: ResponseFlags::NONE,
        }
    }

    /// The end of a request whose answer is not looked at.
    pub(crate) fn ask(&self, fields: &[(&str, &str)]) -> End {
        self.visit(fields).go()
    }

    pub(crate) fn status(&self, fields: &[(&str, &str)]) -> u16 {
        self.ask(fields).status()
    }
}

impl Visit {
    /// Shows the request to the filter, waits as it wants to.
    pub(crate) fn go(&mut self) -> End {
        let mut action = self.filter.on_request(&mut self.request, &self.cx);
        loop {
            self.flags = self.flags.union(self.cx.take_flags());
            action = match action {
                Action::Wait(wait) => self.sim.block_on(wait)(&mut self.request),
                Action::Continue | Action::Reroute => return End::Passed,
                Action::Reply(reply) => {
                    self.flags = self.flags.union(reply.flags);
                    return End::Reply(*reply);
                }
                Action::Respond(_) => panic!("no filter here makes whole responses"),
                Action::Reset => return End::Reset,
            };
        }
    }

    /// Shows the request to the filter; whether it waits. The wait goes on in the background.
    pub(crate) fn waits(&mut self) -> bool {
        let action = self.filter.on_request(&mut self.request, &self.cx);
        let Action::Wait(wait) = action else { return false };
        let result = Rc::new(RefCell::new(None));
        let slot = Rc::clone(&result);
        self.sim.spawn(async move {
            slot.replace(Some(wait.await));
        });
        self.sim.run_until_quiet();
        result.borrow().is_none()
    }

    /// Shows a response with this body to the filter.
    pub(crate) fn answer(&mut self, body: Body) -> Response {
        let mut response = Response { head: ResponseHead::new(StatusCode::OK), body };
        self.filter.on_response(&mut response, &self.cx);
        response
    }
}

/// Reads a body to its end; how long that took.
pub(crate) fn timed(sim: &Sim, mut body: Body) -> (Content, Duration) {
    let began = sim.env().now();
    let mut content = Content::default();
    sim.block_on(async {
        while let Some(frame) = std::future::poll_fn(|cx| body.poll_frame(cx)).await {
            let part = read(match frame {
                Ok(ringway_api::Frame::Data(chunk)) => Body::Full(chunk),
                other => crate::world::frames(vec![other]),
            });
            content.data.extend(part.data);
            content.largest = content.largest.max(part.largest);
            content.trailers = part.trailers.or(content.trailers.take());
            content.error = part.error.or(content.error.take());
            if content.error.is_some() {
                break;
            }
        }
    });
    (content, sim.env().now().since(began))
}
