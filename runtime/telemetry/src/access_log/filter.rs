//! Which streams a log is told of. Conditions and their names are Envoy's.

use std::fmt;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use ringway_api::ResponseFlags;

use super::needs::{Field, Moved, Needs};
use super::record::{LogType, StreamRecord};

/// A compiled condition.
#[derive(Clone, Debug)]
pub enum LogFilter {
    /// The status compares so with a number; no response is 0.
    StatusCode(Comparison, u64),
    /// The whole milliseconds that the stream took compare so with a number.
    Duration(Comparison, u64),
    /// The value of a request's header, by its place in [`Needs`], or that there is none, is as it should be.
    Header(usize, HeaderTest),
    /// A share of streams.
    Fraction(Share),
    /// Any of these response flags is set; any at all, if there are none here.
    ResponseFlag(ResponseFlags),
    /// The stream's trace is recorded.
    Traceable,
    /// The status of a gRPC call is one of these (bits by number), or with `exclude` none of them. What has no such
    /// status is none of them.
    GrpcStatus {
        /// Bit n is status n.
        codes: u32,
        /// None of them instead.
        exclude: bool,
    },
    /// The record is of one of these types.
    LogType(Box<[LogType]>),
    /// All of them hold.
    And(Box<[Self]>),
    /// Any of them holds.
    Or(Box<[Self]>),
    /// It does not hold.
    Not(Box<Self>),
}

/// How two numbers compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// At least.
    Ge,
    /// At most.
    Le,
    /// More.
    Gt,
    /// Less.
    Lt,
}

/// A share of streams.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// So many of 10,000.
    pub of_10_000: u32,
    /// Where `x-request-id` is in [`Needs`]: one request is taken or left by all who are asked. Without it, and for
    /// streams that have none, chance decides.
    pub request_id: Option<usize>,
}

/// What a header's value, or there being none, must be.
#[derive(Clone)]
pub struct HeaderTest(pub Arc<TestFn>);

/// Whether a value, or there being none, is as it should be.
pub type TestFn = dyn Fn(Option<&[u8]>) -> bool + Send + Sync;

impl LogFilter {
    /// Asks for what it looks at.
    pub fn add_to(&self, needs: &mut Needs) {
        match self {
            Self::StatusCode(..) => needs.add(Field::ResponseCode),
            Self::Duration(..) => needs.add(Field::Duration),
            Self::Fraction(_) => needs.add(Field::UniqueId),
            Self::ResponseFlag(_) => needs.add(Field::Flags),
            Self::Traceable => needs.add(Field::Trace),
            Self::GrpcStatus { .. } => needs.add(Field::GrpcStatus),
            Self::LogType(_) => needs.add(Field::Kind),
            // Asked for when it was given its place.
            Self::Header(..) => {}
            Self::And(all) | Self::Or(all) => all.iter().for_each(|one| one.add_to(needs)),
            Self::Not(one) => one.add_to(needs),
        }
    }

    /// Whether the log is told of this stream.
    pub fn holds(&self, record: &StreamRecord<'_>) -> bool {
        match self {
            Self::StatusCode(comparison, than) => comparison.holds(record.response_code.unwrap_or(0).into(), *than),
            Self::Duration(comparison, than) => comparison.holds(millis(record.duration), *than),
            Self::Header(at, test) => (test.0)(record.request_headers.value(*at)),
            Self::Fraction(share) => share.takes(record),
            Self::ResponseFlag(flags) if flags.is_empty() => !record.flags.is_empty(),
            Self::ResponseFlag(flags) => record.flags.intersects(*flags),
            Self::Traceable => record.trace.is_some_and(|ids| ids.sampled),
            Self::GrpcStatus { codes, exclude } => {
                let known = record.grpc_status.and_then(|code| 1_u32.checked_shl(code));
                known.is_some_and(|bit| bit & codes != 0) != *exclude
            }
            Self::LogType(kinds) => kinds.contains(&record.kind),
            Self::And(all) => all.iter().all(|one| one.holds(record)),
            Self::Or(any) => any.iter().any(|one| one.holds(record)),
            Self::Not(one) => !one.holds(record),
        }
    }

    /// With its headers where a chain's sinks have them. `asked` is what it was compiled with; the chain is asked for
    /// that, and for what else the filter looks at.
    pub(crate) fn placed(mut self, asked: &Needs, needs: &mut Needs) -> Self {
        self.moved(&needs.merge(asked));
        self.add_to(needs);
        self
    }

    /// Takes headers from their new places.
    fn moved(&mut self, moved: &Moved) {
        let new = |at: &mut usize| *at = moved.request_headers.get(*at).copied().unwrap_or(*at);
        match self {
            Self::Header(at, _) => new(at),
            Self::Fraction(share) => {
                if let Some(at) = &mut share.request_id {
                    new(at);
                }
            }
            Self::And(all) | Self::Or(all) => all.iter_mut().for_each(|one| one.moved(moved)),
            Self::Not(one) => one.moved(moved),
            _ => {}
        }
    }
}

impl Comparison {
    fn holds(self, value: u64, than: u64) -> bool {
        match self {
            Self::Eq => value == than,
            Self::Ne => value != than,
            Self::Ge => value >= than,
            Self::Le => value <= than,
            Self::Gt => value > than,
            Self::Lt => value < than,
        }
    }
}

impl Share {
    fn takes(self, record: &StreamRecord<'_>) -> bool {
        let id = self.request_id.and_then(|at| record.request_headers.value(at));
        let drawn = match (id, record.unique_id) {
            (Some(id), _) => {
                // Its keys are constants: all workers and all proxies of this build agree.
                let mut hasher = DefaultHasher::new();
                hasher.write(id);
                hasher.finish()
            }
            // The low half; the record shows it only if it is asked for as an id.
            (None, Some(random)) => random as u64,
            (None, None) => 0,
        };
        drawn % 10_000 < self.of_10_000.into()
    }
}

impl fmt::Debug for HeaderTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HeaderTest")
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use http::HeaderName;
    use ringway_api::ResponseFlag;

    use super::super::record::{Captured, TraceIds};
    use super::*;

    fn record<'a>() -> StreamRecord<'a> {
        StreamRecord::new(SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn numbers_compare() {
        use Comparison::{Eq, Ge, Gt, Le, Lt, Ne};
        let of = |code| StreamRecord { response_code: code, duration: Duration::from_micros(5_900), ..record() };
        for (comparison, than, holds) in
            [(Eq, 500, true), (Ne, 500, false), (Ge, 501, false), (Le, 500, true), (Gt, 499, true), (Lt, 500, false)]
        {
            assert_eq!(LogFilter::StatusCode(comparison, than).holds(&of(Some(500))), holds, "{comparison:?}");
        }
        assert!(LogFilter::StatusCode(Eq, 0).holds(&of(None)));
        assert!(LogFilter::Duration(Eq, 5).holds(&of(None)), "whole milliseconds");
    }

    #[test]
    fn flags_traces_calls_and_types() {
        let flagged = StreamRecord { flags: ResponseFlags::of(ResponseFlag::NoRoute), ..record() };
        let only = |flag| LogFilter::ResponseFlag(ResponseFlags::of(flag));
        assert!(only(ResponseFlag::NoRoute).holds(&flagged));
        assert!(!only(ResponseFlag::NoHealthyUpstream).holds(&flagged));
        assert!(LogFilter::ResponseFlag(ResponseFlags::NONE).holds(&flagged));
        assert!(!LogFilter::ResponseFlag(ResponseFlags::NONE).holds(&record()));

        let (trace, span) = (std::num::NonZeroU128::MIN, std::num::NonZeroU64::MIN);
        let traced =
            |sampled| StreamRecord { trace: Some(TraceIds { trace, span, parent: None, sampled }), ..record() };
        assert!(LogFilter::Traceable.holds(&traced(true)));
        assert!(!LogFilter::Traceable.holds(&traced(false)) && !LogFilter::Traceable.holds(&record()));

        let call = |status| StreamRecord { grpc_status: status, ..record() };
        for (status, included) in [(Some(14), true), (Some(0), false), (Some(99), false), (None, false)] {
            for exclude in [false, true] {
                let filter = LogFilter::GrpcStatus { codes: 1 << 14 | 1 << 4, exclude };
                assert_eq!(filter.holds(&call(status)), included != exclude, "{status:?} {exclude}");
            }
        }
        let ends = LogFilter::LogType([LogType::TcpConnectionEnd].into());
        assert!(!ends.holds(&record()));
        assert!(LogFilter::Not(ends.clone().into()).holds(&record()));
        assert!(LogFilter::Or([ends.clone(), LogFilter::StatusCode(Comparison::Eq, 0)].into()).holds(&record()));
        assert!(!LogFilter::And([ends, LogFilter::StatusCode(Comparison::Eq, 0)].into()).holds(&record()));
    }

    #[test]
    fn a_share_is_a_share_and_the_same_for_one_request_id() {
        let mut needs = Needs::default();
        let request_id = Some(needs.request_header(HeaderName::from_static("x-request-id")));
        let tenth = LogFilter::Fraction(Share { of_10_000: 1_000, request_id });
        tenth.add_to(&mut needs);
        assert!(needs.has(Field::UniqueId));
        let holds = |id: Option<&str>, random: u128| {
            let captured = Captured::capture(&needs.request_headers, |_| id.map(str::as_bytes));
            tenth.holds(&StreamRecord { request_headers: &captured, unique_id: Some(random), ..record() })
        };
        let taken = (0..10_000).filter(|n| holds(Some(&format!("id-{n}")), 0)).count();
        assert!((900..1_100).contains(&taken), "{taken}");
        for n in 0..100 {
            let id = format!("id-{n}");
            assert_eq!(holds(Some(&id), 0), holds(Some(&id), 5_000), "chance has no say");
        }
        assert!(holds(None, 999) && !holds(None, 1_000));
    }

    #[test]
    fn headers_are_found_where_the_chain_captures_them() {
        let mut own = Needs::default();
        let at = own.request_header(HeaderName::from_static("x-b"));
        let mut filter = LogFilter::Not(Box::new(LogFilter::Header(at, HeaderTest(Arc::new(|value| value.is_none())))));
        let mut shared = Needs::default();
        shared.request_header(HeaderName::from_static("x-a"));
        filter.moved(&shared.merge(&own));
        let captured = Captured::capture(&shared.request_headers, |name| (name == "x-b").then_some(&b"1"[..]));
        assert!(filter.holds(&StreamRecord { request_headers: &captured, ..record() }));
        assert!(!filter.holds(&record()));
    }
}
