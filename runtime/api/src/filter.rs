//! Stream filters: what looks at, changes or answers requests and responses on their way.

use std::any::Any;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;

use crate::{Env, FilterStats, Headers, LocalBoxFuture, LocalReply, Request, Response, Stat, StreamCx};

/// What a filter wants done with a request.
pub enum Action {
    /// On to the next filter.
    Continue,
    /// On to the next filter; before the request is sent it is routed anew, because something that routes look at has
    /// changed. The filters stay those of the route it had. From a filter that stands on a route it is no more than
    /// `Continue`: its requests go where that route says.
    Reroute,
    /// Answer it here. Filters that have seen the request see the reply.
    Reply(Box<LocalReply>),
    /// Answer it here with more than a local reply can say.
    Respond(Box<Response>),
    /// Wait for this, then do what it says. Dropped when the request is cancelled before it is ready. How long it may
    /// take is the filter's own affair: nothing else ends the wait but the client going away.
    Wait(LocalBoxFuture<'static, Resume>),
    /// End the stream without a response: HTTP/1.1 closes the connection, HTTP/2 resets the stream.
    Reset,
}

/// How a filter that waited goes on, with the request in its hands again.
pub type Resume = Box<dyn FnOnce(&mut Request) -> Action>;

impl Action {
    /// Waits for a future, then goes on as its output says.
    pub fn after<F: Future<Output = Action> + 'static>(future: F) -> Self {
        Self::Wait(Box::pin(async move {
            let action = future.await;
            let resume: Resume = Box::new(move |_| action);
            resume
        }))
    }
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Continue => f.write_str("Continue"),
            Self::Reroute => f.write_str("Reroute"),
            Self::Reply(reply) => f.debug_tuple("Reply").field(reply).finish(),
            Self::Respond(response) => f.debug_tuple("Respond").field(response).finish(),
            Self::Wait(_) => f.write_str("Wait"),
            Self::Reset => f.write_str("Reset"),
        }
    }
}

/// What a filter has of its worker.
pub struct FilterCx {
    /// Time, timers, tasks.
    pub env: Rc<dyn Env>,
    /// The cells of [`StreamFilter::STATS`], in that order.
    pub stats: FilterStats,
    /// How many workers there are: what is shared among them is in [`StreamFilter::Compiled`].
    pub workers: usize,
}

/// A filter of one chain of filters: one value per worker and configuration; what belongs to one stream is in
/// [`State`](Self::State), which is dropped when the response has passed the filters or the request is cancelled.
///
/// A route may bring filters of its own or other options for those of the chain: then another value is made with them.
///
/// A filter that is interested in content replaces the body of the message by a stream of its own around it: content
/// passes filters that do nothing with it at no cost.
pub trait StreamFilter: Sized + 'static {
    /// The name in configurations.
    const NAME: &'static str;

    /// Its options. Unknown keys must be errors.
    type Config: DeserializeOwned + JsonSchema;

    /// What it counts.
    const STATS: &'static [Stat] = &[];

    /// The options, checked and made fit for use; shared by all workers.
    type Compiled: Send + Sync + 'static;

    /// What it remembers of one stream.
    type State: Default + 'static;

    /// Checks the options. Everything that can be wrong with them is found here.
    ///
    /// # Errors
    /// What is wrong, in words for the one who wrote it.
    fn compile(config: Self::Config) -> Result<Self::Compiled, String>;

    /// The filter of a worker. `old` is the one it takes the place of.
    fn build(config: Arc<Self::Compiled>, old: Option<&Self>, cx: FilterCx) -> Self;

    /// Sees the request, whose route has been found, or that there is none.
    fn on_request(&self, state: &mut Self::State, request: &mut Request, cx: &StreamCx) -> Action {
        let _ = (state, request, cx);
        Action::Continue
    }

    /// How many bytes of the response's content the filter wants to have at once, asked right before
    /// [`on_response`](Self::on_response): where that is `Some`, the body is whole there. Content that is longer or
    /// breaks off is a local reply by then. `None` lets content go by as it comes.
    fn response_limit(&self, state: &Self::State) -> Option<usize> {
        let _ = state;
        None
    }

    /// Sees the trailers of a response that it has whole, if there are any, right before
    /// [`on_response`](Self::on_response). They go no further.
    fn on_trailers(&self, state: &mut Self::State, trailers: &Headers) {
        let _ = (state, trailers);
    }

    /// Sees the final response, also one made here, in the reverse order of the requests.
    fn on_response(&self, state: &mut Self::State, response: &mut Response, cx: &StreamCx) {
        let _ = (state, response, cx);
    }

    /// Gives back what this worker holds of what all of them share and has not used since it was called last. Called
    /// twice after every stretch of work, half a second or so apart, so that nothing is held by a worker that rests.
    fn settle(&self) {}
}

/// A [`StreamFilter`] on its worker, with its type erased.
pub trait DynFilter {
    /// The filter for one stream.
    fn stream(self: Rc<Self>) -> Box<dyn DynStreamFilter>;

    /// For the filter that takes its place.
    fn as_any(&self) -> &dyn Any;

    /// As [`StreamFilter::settle`].
    fn settle(&self);
}

/// A filter at work on one stream.
pub trait DynStreamFilter {
    /// As [`StreamFilter::on_request`].
    fn on_request(&mut self, request: &mut Request, cx: &StreamCx) -> Action;

    /// As [`StreamFilter::response_limit`].
    fn response_limit(&self) -> Option<usize>;

    /// As [`StreamFilter::on_trailers`].
    fn on_trailers(&mut self, trailers: &Headers);

    /// As [`StreamFilter::on_response`].
    fn on_response(&mut self, response: &mut Response, cx: &StreamCx);
}

impl<F: StreamFilter> DynFilter for F {
    fn stream(self: Rc<Self>) -> Box<dyn DynStreamFilter> {
        Box::new(OfStream { filter: self, state: F::State::default() })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn settle(&self) {
        StreamFilter::settle(self);
    }
}

struct OfStream<F: StreamFilter> {
    filter: Rc<F>,
    state: F::State,
}

impl<F: StreamFilter> DynStreamFilter for OfStream<F> {
    fn on_request(&mut self, request: &mut Request, cx: &StreamCx) -> Action {
        self.filter.on_request(&mut self.state, request, cx)
    }

    fn response_limit(&self) -> Option<usize> {
        self.filter.response_limit(&self.state)
    }

    fn on_trailers(&mut self, trailers: &Headers) {
        self.filter.on_trailers(&mut self.state, trailers);
    }

    fn on_response(&mut self, response: &mut Response, cx: &StreamCx) {
        self.filter.on_response(&mut self.state, response, cx);
    }
}

/// What [`FilterSpec::compile`] makes, its type erased.
type Compiled = Arc<dyn Any + Send + Sync>;

/// [`FilterSpec::build`].
type BuildFn = fn(Compiled, Option<&dyn DynFilter>, FilterCx) -> Option<Rc<dyn DynFilter>>;

/// A filter as the catalogue lists it.
#[derive(Clone, Copy)]
pub struct FilterSpec {
    /// The name in configurations.
    pub name: &'static str,
    /// What it counts.
    pub stats: &'static [Stat],
    /// Reads and compiles the options; the error says what is wrong with them.
    pub compile: fn(serde_json::Value) -> Result<Compiled, String>,
    /// Builds the filter of a worker from what `compile` made, taking over from an older one of the same name.
    /// `None` when the options are not this filter's.
    pub build: BuildFn,
    /// The options' JSON Schema.
    pub schema: fn(&mut SchemaGenerator) -> Schema,
}

impl FilterSpec {
    /// The specification of a filter.
    pub const fn of<F: StreamFilter>() -> Self {
        Self { name: F::NAME, stats: F::STATS, compile: compile::<F>, build: build::<F>, schema: schema::<F> }
    }
}

fn compile<F: StreamFilter>(raw: serde_json::Value) -> Result<Compiled, String> {
    // `filter: ` without options is as good as `filter: {}`.
    let raw = if raw.is_null() { serde_json::Value::Object(serde_json::Map::new()) } else { raw };
    let config = serde_json::from_value(raw).map_err(|error| error.to_string())?;
    Ok(Arc::new(F::compile(config)?))
}

fn build<F: StreamFilter>(options: Compiled, old: Option<&dyn DynFilter>, cx: FilterCx) -> Option<Rc<dyn DynFilter>> {
    let compiled = options.downcast::<F::Compiled>().ok()?;
    let old = old.and_then(|old| old.as_any().downcast_ref::<F>());
    Some(Rc::new(F::build(compiled, old, cx)))
}

fn schema<F: StreamFilter>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<F::Config>()
}
