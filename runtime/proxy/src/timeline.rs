//! When what happened to a request, for sinks that want to know.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use ringway_api::{Address, Env, Opened, RequestHead, Time};
use ringway_telemetry::{Attempt, Timings, TraceIds};

use crate::tracing::StreamTrace;

/// The times of one request and its tries. Shared with what outlives a try: the bodies.
pub(crate) struct Timeline {
    env: Rc<dyn Env>,
    began: Time,
    request_end: Cell<Option<Duration>>,
    response_begin: Cell<Option<Duration>>,
    attempts: RefCell<Vec<Attempt>>,
    trace: OnceCell<StreamTrace>,
}

/// A try in its request's timeline; none where nobody wants to know.
#[derive(Clone, Default)]
pub(crate) struct Mark(Option<(Rc<Timeline>, usize)>);

impl Timeline {
    pub(crate) fn new(env: Rc<dyn Env>) -> Rc<Self> {
        Rc::new(Self {
            began: env.now(),
            env,
            request_end: Cell::default(),
            response_begin: Cell::default(),
            attempts: RefCell::default(),
            trace: OnceCell::new(),
        })
    }

    fn now(&self) -> Duration {
        self.env.now().since(self.began)
    }

    /// The request's last byte was taken.
    pub(crate) fn request_ended(&self) {
        self.request_end.set(Some(self.now()));
    }

    /// The response's head goes out.
    pub(crate) fn response_begins(&self) {
        self.response_begin.set(Some(self.now()));
    }

    /// The request is part of a trace.
    pub(crate) fn traced(&self, trace: StreamTrace) {
        let first = self.trace.set(trace);
        debug_assert!(first.is_ok(), "a request has one place in a trace");
    }

    /// Its place in a trace, if it has one.
    pub(crate) fn trace(&self) -> Option<TraceIds> {
        self.trace.get().map(|trace| trace.ids)
    }

    /// Tells a copy's host that there is a trace, of which it is no part: what copies do is not recorded.
    pub(crate) fn tell_copy(&self, head: &mut RequestHead) {
        if let Some(trace) = self.trace.get() {
            trace.tell(head, None, trace.new_span(&*self.env), false);
        }
    }

    /// A try begins; its host is told of the trace.
    pub(crate) fn attempt(self: &Rc<Self>, host: &Address, head: Option<&mut RequestHead>) -> Mark {
        let trace = self.trace.get();
        let span = trace.map(|trace| trace.new_span(&*self.env));
        if let (Some(trace), Some(span), Some(head)) = (trace, span, head) {
            trace.tell(head, Some(host), span, trace.ids.sampled);
        }
        let mut attempts = self.attempts.borrow_mut();
        if attempts.len() >= Attempt::LIMIT {
            return Mark(None);
        }
        attempts.push(Attempt {
            host: host.clone(),
            began: self.now(),
            socket: None,
            secured: None,
            connected: None,
            reused: false,
            answered: None,
            ended: None,
            failure: None,
            span,
        });
        Mark(Some((Rc::clone(self), attempts.len() - 1)))
    }

    /// The tries, and the times of the one that was answered last; of the last one, if none was. `took` is the whole
    /// request's.
    pub(crate) fn read<T>(&self, took: Duration, show: impl FnOnce(Timings, &[Attempt]) -> T) -> T {
        let attempts = self.attempts.borrow();
        let told = attempts.iter().rev().find(|attempt| attempt.answered.is_some()).or(attempts.last());
        let request_end = self.request_end.get();
        let timings = Timings {
            request_end,
            connect_begin: told.map(|attempt| attempt.began),
            connect_end: told.and_then(|attempt| attempt.connected),
            // The head goes out as soon as there is a connection.
            upstream_tx_begin: told.and_then(|attempt| attempt.connected),
            upstream_tx_end: told.and_then(|attempt| Some(attempt.connected?.max(request_end?))),
            upstream_rx_begin: told.and_then(|attempt| attempt.answered).map(|(at, _)| at),
            upstream_rx_end: told.filter(|attempt| attempt.failure.is_none()).and_then(|attempt| attempt.ended),
            response_begin: self.response_begin.get(),
            response_end: self.response_begin.get().map(|_| took),
        };
        show(timings, &attempts)
    }
}

impl Mark {
    /// A try of a request with this timeline; one that nobody wants to know of without.
    /// `head` is what goes to the host.
    pub(crate) fn begin(timeline: Option<&Rc<Timeline>>, host: &Address, head: Option<&mut RequestHead>) -> Self {
        timeline.map_or(Self(None), |timeline| timeline.attempt(host, head))
    }

    fn note(&self, note: impl FnOnce(&mut Attempt, Duration)) {
        if let Some((timeline, at)) = &self.0
            && let Some(attempt) = timeline.attempts.borrow_mut().get_mut(*at)
        {
            note(attempt, timeline.now());
        }
    }

    /// A connection is there: one that was used before, or one that was opened so.
    pub(crate) fn connected(&self, reused: bool, opened: Option<Opened>) {
        let Some((timeline, _)) = &self.0 else { return };
        // It may have been opened for another request, before this one began.
        let at = |when: Time| when.since(timeline.began);
        let opened = opened.filter(|_| !reused);
        let (socket, secured) = (opened.map(|of| at(of.socket)), opened.and_then(|of| of.secured).map(at));
        self.note(|attempt, now| {
            (attempt.connected, attempt.reused) = (Some(now), reused);
            attempt.socket = socket.map(|at| at.max(attempt.began));
            attempt.secured = secured.map(|at| at.max(attempt.began));
        });
    }

    /// The response's head is there.
    pub(crate) fn answered(&self, status: http::StatusCode) {
        self.note(|attempt, now| attempt.answered = Some((now, status.as_u16())));
    }

    /// The response is there as a whole.
    pub(crate) fn ended(&self) {
        self.note(|attempt, now| {
            attempt.ended.get_or_insert(now);
        });
    }

    /// The try failed.
    pub(crate) fn failed(&self, why: &'static str) {
        self.note(|attempt, now| {
            attempt.ended.get_or_insert(now);
            attempt.failure.get_or_insert(why);
        });
    }
}
