//! Stream filters: what looks at, changes or answers requests and responses on their way.

use std::any::Any;
use std::rc::Rc;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;

use crate::{LocalReply, Request, Response, StreamCx};

/// What a filter wants done with a request.
#[derive(Debug)]
pub enum Action {
    /// On to the next filter.
    Continue,
    /// Answer it here. Filters that have seen the request see the reply.
    Reply(Box<LocalReply>),
    /// Answer it here with more than a local reply can say.
    Respond(Box<Response>),
}

/// A filter of one chain of filters: one value per worker and configuration; what belongs to one stream is in
/// [`State`](Self::State).
///
/// A filter that is interested in content replaces the body of the message by a stream of its own around it: content
/// passes filters that do nothing with it at no cost.
pub trait StreamFilter: Sized + 'static {
    /// The name in configurations.
    const NAME: &'static str;

    /// Its options. Unknown keys must be errors.
    type Config: DeserializeOwned + JsonSchema;

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
    fn build(config: Arc<Self::Compiled>, old: Option<&Self>) -> Self;

    /// Sees the request before it is routed.
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

    /// Sees the final response, also one made here, in the reverse order of the requests.
    fn on_response(&self, state: &mut Self::State, response: &mut Response, cx: &StreamCx) {
        let _ = (state, response, cx);
    }
}

/// A [`StreamFilter`] on its worker, with its type erased.
pub trait DynFilter {
    /// The filter for one stream.
    fn stream(self: Rc<Self>) -> Box<dyn DynStreamFilter>;

    /// For the filter that takes its place.
    fn as_any(&self) -> &dyn Any;
}

/// A filter at work on one stream.
pub trait DynStreamFilter {
    /// As [`StreamFilter::on_request`].
    fn on_request(&mut self, request: &mut Request, cx: &StreamCx) -> Action;

    /// As [`StreamFilter::response_limit`].
    fn response_limit(&self) -> Option<usize>;

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

    fn on_response(&mut self, response: &mut Response, cx: &StreamCx) {
        self.filter.on_response(&mut self.state, response, cx);
    }
}

/// What [`FilterSpec::compile`] makes, its type erased.
type Compiled = Arc<dyn Any + Send + Sync>;

/// [`FilterSpec::build`].
type BuildFn = fn(Compiled, Option<&dyn DynFilter>) -> Option<Rc<dyn DynFilter>>;

/// A filter as the catalogue lists it.
#[derive(Clone, Copy)]
pub struct FilterSpec {
    /// The name in configurations.
    pub name: &'static str,
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
        Self { name: F::NAME, compile: compile::<F>, build: build::<F>, schema: schema::<F> }
    }
}

fn compile<F: StreamFilter>(raw: serde_json::Value) -> Result<Compiled, String> {
    // `filter: ` without options is as good as `filter: {}`.
    let raw = if raw.is_null() { serde_json::Value::Object(serde_json::Map::new()) } else { raw };
    let config = serde_json::from_value(raw).map_err(|error| error.to_string())?;
    Ok(Arc::new(F::compile(config)?))
}

fn build<F: StreamFilter>(options: Compiled, old: Option<&dyn DynFilter>) -> Option<Rc<dyn DynFilter>> {
    let compiled = options.downcast::<F::Compiled>().ok()?;
    let old = old.and_then(|old| old.as_any().downcast_ref::<F>());
    Some(Rc::new(F::build(compiled, old)))
}

fn schema<F: StreamFilter>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<F::Config>()
}
