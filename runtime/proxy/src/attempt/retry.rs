//! The tries of a request whose route retries: one, then perhaps another, or two beside each other.

use std::rc::Rc;
use std::task::{Context, Poll};

use ringway_api::{Headers, Io, Request, RequestHead, ResponseFlag, ResponseFlags, StreamCx};
use ringway_config::RetryPolicy;
use ringway_upstream::{AcquireError, Host, RetryPermit, Want};

use super::decide::Rules;
use super::flight::{Flight, Notes, Order, Step, Tried};
use super::replay::{Kept, Room};
use super::{Answer, Deadline, Failure, RequestProgress, Tries, failed, name_host, note_latency, tell};
use crate::dialect::Dialect;
use crate::health;
use crate::timeline::Mark;
use crate::timers::{PooledTimer, TimerPool};
use crate::view::ClusterView;

/// What a request's tries are made with.
pub(crate) struct Call<'a, I: Io> {
    pub(crate) policy: &'a RetryPolicy,
    pub(crate) upstream: &'a Rc<ClusterView<I>>,
    pub(crate) timers: &'a Rc<TimerPool>,
    pub(crate) stream: &'a StreamCx,
    pub(crate) dialect: Dialect,
    /// Hosts are told how long they are waited for.
    pub(crate) tell_timeout: bool,
    /// How far the request has come, if it is not there yet.
    pub(crate) progress: Option<Rc<RequestProgress>>,
}

/// The answer of a request whose failures are repeated as its route says.
pub(crate) async fn exchange<I: Io>(
    call: Call<'_, I>,
    request: Request,
    deadline: &mut Deadline,
    tries: &mut Tries,
) -> Result<Answer, Failure> {
    let mut run = Run::new(call, request);
    run.launch(None, deadline, tries)?;
    loop {
        let event = std::future::poll_fn(|cx| run.poll(cx, deadline)).await;
        let (at, outcome) = match event {
            Event::Deadline => {
                let failure = Failure::Timeout;
                run.call.upstream.count_failure(&failure);
                let cluster = &run.call.upstream.cluster;
                run.connected().for_each(|flight| health::failed(cluster, &flight.host, &failure));
                run.flights.iter().for_each(|flight| flight.notes.mark.failed(failure.details()));
                return Err(failure);
            }
            Event::Due(permit) => {
                match run.launch(permit, deadline, tries) {
                    Err(failure) if run.flights.is_empty() => return Err(failure),
                    Ok(()) | Err(_) => {}
                }
                continue;
            }
            Event::Step(at, Step::Ended(outcome)) => (at, outcome),
            Event::Step(at, Step::TimedOut) => {
                run.call.upstream.stats.upstream_rq_per_try_timeout.inc();
                if run.rules.hedge && run.has_arrived() {
                    // The try goes on, whether there can be another one or not.
                    run.reached = true;
                    let _another = run.schedule(None, deadline);
                    continue;
                }
                (at, Err(Failure::PerTryTimeout))
            }
        };
        let flight = run.flights.swap_remove(at);
        run.note(&flight, tries);
        let status = outcome.as_ref().ok().map(|tried| tried.answer.head.status);
        note_latency(&run.call.upstream.cluster, &flight.host, flight.began, status);
        if let Err(failure) = &outcome {
            flight.notes.mark.failed(failure.details());
        }
        run.reached |=
            !matches!(outcome, Err(Failure::Acquire(AcquireError::Connect { .. } | AcquireError::Handshake { .. })));
        let mut outcome = outcome.map_err(|failure| failed(run.call.upstream, &flight.host, failure));
        drop(flight);
        if !run.wants(&outcome) {
            // What another try may still bring is better than nothing.
            if outcome.is_err() && !run.is_idle() {
                continue;
            }
            if run.retries > 0 && outcome.is_ok() {
                tries.retried = true;
            }
            return run.finish(outcome, tries);
        }
        let asked = outcome.as_ref().ok().map(|tried| &tried.answer.head.headers);
        let refused = run.schedule(asked, deadline).err();
        let goes_on = refused.is_none() || !run.is_idle();
        if goes_on && let Ok(tried) = &mut outcome {
            run.reject(tried);
        }
        if let Some(refused) = refused.filter(|_| !goes_on) {
            refused.flag(&mut tries.flags);
            tries.retried = false;
            return run.finish(outcome, tries);
        }
    }
}

struct Run<'a, I: Io> {
    call: Call<'a, I>,
    rules: Rules<'a>,
    head: RequestHead,
    kept: Kept,
    flights: Vec<Flight<'a>>,
    waiting: Option<Waiting>,
    /// So many were decided on.
    retries: u32,
    /// Some host may have seen the request.
    reached: bool,
    tried: Vec<Rc<Host>>,
}

/// Why there is no further try.
#[derive(Clone, Copy)]
enum Refused {
    /// The content is not there any more, or the time.
    Impossible,
    /// There have been as many as may be.
    Limit,
    /// There are too many retries in the cluster.
    Overflow,
}

impl Refused {
    /// Envoy's word for it.
    fn flag(self, flags: &mut ResponseFlags) {
        match self {
            Self::Impossible => {}
            Self::Limit => flags.insert(ResponseFlag::UpstreamRetryLimitExceeded),
            Self::Overflow => flags.insert(ResponseFlag::UpstreamOverflow),
        }
    }
}

/// A retry in its pause.
struct Waiting {
    timer: PooledTimer,
    /// Its place among the cluster's retries, if it needs one.
    permit: Option<RetryPermit>,
}

#[allow(clippy::large_enum_variant, reason = "moved once per try, kept nowhere")]
enum Event {
    /// The route's timeout.
    Deadline,
    /// The pause before a retry is over.
    Due(Option<RetryPermit>),
    /// A try did something.
    Step(usize, Step),
}

impl<'a, I: Io> Run<'a, I> {
    fn new(call: Call<'a, I>, request: Request) -> Self {
        let Request { mut head, body } = request;
        let rules = Rules::of(call.policy, &mut head);
        let kept = if rules.may_retry() {
            Kept::new(body, call.policy.buffer_limit, Room::new(&call.upstream.replay, &call.upstream.stats))
        } else {
            Kept::Once(Some(body))
        };
        Self {
            call,
            rules,
            head,
            kept,
            flights: Vec::new(),
            waiting: None,
            retries: 0,
            reached: false,
            tried: Vec::new(),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, deadline: &mut Deadline) -> Poll<Event> {
        for (at, flight) in self.flights.iter_mut().enumerate() {
            if let Poll::Ready(step) = flight.poll(cx, || deadline.is_running()) {
                return Poll::Ready(Event::Step(at, step));
            }
        }
        if deadline.poll(cx).is_ready() {
            return Poll::Ready(Event::Deadline);
        }
        if let Some(waiting) = &mut self.waiting
            && waiting.timer.poll_expired(cx).is_ready()
        {
            let permit = self.waiting.take().and_then(|waiting| waiting.permit);
            return Poll::Ready(Event::Due(permit));
        }
        self.head.headers.detach();
        self.kept.settle();
        Poll::Pending
    }

    /// Begins a try.
    fn launch(&mut self, permit: Option<RetryPermit>, deadline: &Deadline, tries: &mut Tries) -> Result<(), Failure> {
        let host = self.pick(tries).map_err(Failure::Acquire)?;
        tries.host = Some(host.address().clone());
        tries.count += 1;
        let mut head = self.head.clone();
        self.stamp(&mut head, deadline);
        if tries.auto_host {
            name_host(&mut head, &host);
        }
        let mark = Mark::begin(tries.timeline.as_ref(), host.address(), Some(&mut head));
        let notes = Rc::new(Notes { mark, ..Notes::default() });
        let request = Request { head, body: self.kept.read(&notes.moved) };
        let call = &self.call;
        let order = Order {
            upstream: call.upstream,
            stream: call.stream,
            timers: call.timers,
            host,
            notes,
            permit,
            timeout: self.rules.per_try_timeout,
            idle: call.policy.per_try_idle_timeout,
            peek: call.dialect == Dialect::Grpc && self.rules.wants_grpc_status(),
            progress: call.progress.clone(),
        };
        self.flights.push(Flight::begin(order, request));
        Ok(())
    }

    /// Whether no try is under way, and none will be.
    fn is_idle(&self) -> bool {
        self.flights.is_empty() && self.waiting.is_none()
    }

    /// Whether the request is there as a whole: only then may two tries read it.
    fn has_arrived(&self) -> bool {
        self.call.progress.as_ref().is_none_or(|request| request.ended.get())
    }

    /// A host, one that was not tried before if the policy wants that and there is one.
    fn pick(&mut self, tries: &Tries) -> Result<Rc<Host>, AcquireError> {
        let (cluster, policy) = (&self.call.upstream.cluster, self.call.policy);
        if !policy.previous_hosts && policy.previous_priorities.is_none() {
            return cluster.pick(tries.want(&self.call.stream.conn, &[], 0));
        }
        let redraws = if policy.previous_hosts { policy.host_attempts } else { 0 };
        // So many tries at a time choose among the same priorities.
        let every = policy.previous_priorities.map_or(usize::MAX, |every| every.get() as usize);
        let avoid_priorities = self.tried.len() / every * every;
        let want = tries.want(&self.call.stream.conn, &self.tried, redraws);
        let host = cluster.pick(Want { avoid_priorities, ..want })?;
        self.tried.push(Rc::clone(&host));
        Ok(host)
    }

    /// The tries that have reached their hosts.
    fn connected(&self) -> impl Iterator<Item = &Flight<'a>> {
        self.flights.iter().filter(|flight| flight.notes.local.get().is_some())
    }

    /// Tells of a response that nobody will see.
    fn reject(&self, tried: &mut Tried) {
        let head = &mut tried.answer.head;
        if let Some(status) = tried.trailers.as_ref().and_then(|trailers| trailers.first("grpc-status")) {
            let _received = head.headers.set("grpc-status", status);
        }
        health::answered(self.call.upstream, &tried.answer.host, head, self.call.dialect, false);
        tried.answer.mark.ended();
    }

    fn stamp(&self, head: &mut RequestHead, deadline: &Deadline) {
        // Attachments of calls are the callers'.
        if self.call.policy.include_attempt_count && self.call.dialect != Dialect::Rpc {
            tell::attempt_count(head, self.rules.arrived_as.saturating_add(self.retries));
        }
        // A hedged try goes on beyond its own time.
        let own = self.rules.per_try_timeout.filter(|_| !self.rules.hedge);
        let left = deadline.left(self.call.stream.conn.env.now());
        let left = match (own, left) {
            (Some(own), Some(left)) => Some(own.min(left)),
            (own, left) => own.or(left),
        };
        let told = match self.call.dialect {
            Dialect::Http => self.call.tell_timeout,
            Dialect::Grpc | Dialect::Rpc => true,
        };
        if let Some(left) = left.filter(|_| told) {
            tell::timeout(head, self.call.dialect, left);
        }
    }

    fn wants(&self, outcome: &Result<Tried, Failure>) -> bool {
        match outcome {
            Ok(tried) => self.rules.wants_response(&tried.answer.head, tried.trailers.as_ref()),
            Err(failure) => self.rules.wants_failure(failure),
        }
    }

    /// Has another try follow, if it may. `asked` are the fields of the response that is not good enough.
    fn schedule(&mut self, asked: Option<&Headers>, deadline: &Deadline) -> Result<(), Refused> {
        if self.waiting.is_some() {
            return Ok(());
        }
        let stats = &self.call.upstream.stats;
        if !self.kept.is_there() {
            return Err(Refused::Impossible);
        }
        if self.retries >= self.rules.attempts {
            stats.upstream_rq_retry_limit_exceeded.inc();
            return Err(Refused::Limit);
        }
        let env = &self.call.stream.conn.env;
        let asked = asked.and_then(|fields| self.rules.asked_pause(fields, env.wall(), env.random()));
        let pause = asked.unwrap_or_else(|| self.rules.back_off(self.retries + 1, env.random()));
        if deadline.left(env.now()).is_some_and(|left| pause >= left) {
            return Err(Refused::Impossible);
        }
        let permit = self.call.upstream.allow_retry();
        // A budget keeps hosts from getting more than their load. A request that no host has seen is not more.
        if permit.is_none() && (self.reached || !self.call.upstream.retries.is_budget()) {
            stats.upstream_rq_retry_overflow.inc();
            return Err(Refused::Overflow);
        }
        match asked {
            Some(_) => stats.upstream_rq_retry_backoff_ratelimited.inc(),
            None => stats.upstream_rq_retry_backoff_exponential.inc(),
        }
        stats.upstream_rq_retry.inc();
        self.retries += 1;
        let mut timer = self.call.timers.take();
        timer.set_after(pause);
        self.waiting = Some(Waiting { timer, permit });
        Ok(())
    }

    /// Writes down what a try came to.
    fn note(&self, flight: &Flight<'_>, tries: &mut Tries) {
        let notes = &flight.notes;
        tries.host = Some(flight.host.address().clone());
        if let Some(local) = notes.local.get() {
            tries.local = Some(Rc::clone(local));
        }
        tries.interim += notes.interim.get();
        tries.passed_on += notes.passed_on.get();
        tries.retried |= notes.reconnected.get();
    }

    /// The outcome that counts. Other tries are given up with `self`.
    fn finish(self, outcome: Result<Tried, Failure>, tries: &mut Tries) -> Result<Answer, Failure> {
        self.kept.seal();
        let tried = outcome?;
        tries.answered = true;
        Ok(tried.answer)
    }
}
