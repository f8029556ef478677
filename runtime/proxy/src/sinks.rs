//! Who is told of the streams of a filter chain, on one worker.

use std::sync::Arc;

use http::HeaderName;
use ringway_api::{Env, Headers};
use ringway_telemetry::{Field, FieldPair, Further, Needs, Sinks, StreamRecord, StreamSink};

/// The sinks of a chain. There is at least one.
pub(crate) struct ChainSinks {
    plan: Arc<Sinks>,
    sinks: Box<[Box<dyn StreamSink>]>,
    timed: bool,
}

impl ChainSinks {
    pub(crate) fn new(plan: &Arc<Sinks>, worker: usize) -> Option<Self> {
        let sinks = plan.on_worker(worker);
        let timed = plan.needs().has(Field::Timings) || plan.needs().has(Field::Attempts);
        (!sinks.is_empty()).then(|| Self { plan: Arc::clone(plan), sinks, timed })
    }

    pub(crate) fn request_headers(&self) -> &[HeaderName] {
        &self.plan.needs().request_headers
    }

    pub(crate) fn response_headers(&self) -> &[HeaderName] {
        &self.plan.needs().response_headers
    }

    /// All that they want to know.
    pub(crate) fn needs(&self) -> &Needs {
        self.plan.needs()
    }

    /// What of connections of bytes they want to know besides their ends.
    pub(crate) fn further(&self) -> Further {
        self.plan.further
    }

    /// Whether any of them wants to know what trailers say.
    pub(crate) fn want_trailers(&self) -> bool {
        !self.needs().response_trailers.is_empty() || self.needs().has(Field::GrpcStatus)
    }

    /// A random number, if it is wanted.
    pub(crate) fn id(&self, field: Field, env: &dyn Env) -> Option<u128> {
        self.needs().has(field).then(|| u128::from(env.random()) << 64 | u128::from(env.random()))
    }

    /// All fields of a message, if they are wanted.
    pub(crate) fn fields(&self, headers: &Headers) -> Box<[FieldPair]> {
        match self.needs().has(Field::AllHeaders) {
            true => headers.iter().map(|(name, value)| (name.into(), value.into())).collect(),
            false => Box::default(),
        }
    }

    /// Whether any of them wants to know when connections of bytes have their hosts.
    pub(crate) fn want_connections(&self) -> bool {
        self.plan.connections
    }

    /// Tells all of them that a connection has its host.
    pub(crate) fn connected(&self, record: &StreamRecord<'_>) {
        self.sinks.iter().for_each(|sink| sink.connected(record));
    }

    /// Tells all of them of something else than an end.
    pub(crate) fn noted(&self, record: &StreamRecord<'_>) {
        self.sinks.iter().for_each(|sink| sink.noted(record));
    }

    /// Whether any of them wants to know when what happened.
    pub(crate) fn are_timed(&self) -> bool {
        self.timed
    }

    /// Tells all of them.
    pub(crate) fn ended(&self, record: &StreamRecord<'_>) {
        self.sinks.iter().for_each(|sink| sink.ended(record));
    }
}
