//! The operators of a format: `%NAME%`, `%NAME(ARGUMENT)%`, `%NAME(ARGUMENT):LENGTH%`. Names and meanings are Envoy's.

use http::HeaderName;

use super::calendar::TimeFormat;
use super::format::Needs;

/// A part of a [`StreamRecord`](crate::StreamRecord) that a format may need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the field of the record that has its name")]
pub enum Field {
    Start,
    Duration,
    Timings,
    Method,
    Path,
    Authority,
    Scheme,
    Protocol,
    ResponseCode,
    ResponseCodeDetails,
    ConnectionTerminationDetails,
    Flags,
    BytesReceived,
    BytesSent,
    RequestHeadersBytes,
    ResponseHeadersBytes,
    RouteName,
    UpstreamCluster,
    UpstreamHost,
    UpstreamLocal,
    UpstreamProtocol,
    UpstreamTransportFailure,
    UpstreamAttempts,
    DownstreamRemote,
    DownstreamDirectRemote,
    DownstreamLocal,
    ConnectionId,
    Hostname,
    Attempts,
    Trace,
}

/// A compiled operator.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Start(TimeFormat),
    Field(Field),
    Address(Field, Part),
    Request(Header),
    Response(Header),
    Span { from: Point, to: Point, unit_ns: u32 },
}

/// Which part of an address.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    Whole,
    WithoutPort,
    Port,
}

/// `(NAME?ALTERNATIVE):LENGTH`
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) first: Source,
    pub(super) otherwise: Option<Source>,
    /// Bytes that are shown at most.
    pub(super) limit: Option<usize>,
    /// Cut off what follows a `?`.
    pub(super) without_query: bool,
}

/// Where a header's value is.
#[derive(Clone, Debug)]
pub(super) enum Source {
    Pseudo(Field),
    /// The place in the captured headers.
    Captured(usize),
}

/// A point of time in a stream, as `COMMON_DURATION` calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Point {
    Start,
    RequestEnd,
    ConnectBegin,
    ConnectEnd,
    UpstreamTxBegin,
    UpstreamTxEnd,
    UpstreamRxBegin,
    UpstreamRxEnd,
    ResponseBegin,
    ResponseEnd,
}

/// What an operator takes.
enum Spec {
    Plain(Field),
    Address(Field, Part),
    Between(Point, Point),
    Time,
    Request { without_query: bool },
    Response,
    Span,
}

const OPERATORS: &[(&str, Spec)] = &[
    ("START_TIME", Spec::Time),
    ("REQ", Spec::Request { without_query: false }),
    ("REQ_WITHOUT_QUERY", Spec::Request { without_query: true }),
    ("RESP", Spec::Response),
    ("PROTOCOL", Spec::Plain(Field::Protocol)),
    ("RESPONSE_CODE", Spec::Plain(Field::ResponseCode)),
    ("RESPONSE_CODE_DETAILS", Spec::Plain(Field::ResponseCodeDetails)),
    ("CONNECTION_TERMINATION_DETAILS", Spec::Plain(Field::ConnectionTerminationDetails)),
    ("RESPONSE_FLAGS", Spec::Plain(Field::Flags)),
    ("BYTES_RECEIVED", Spec::Plain(Field::BytesReceived)),
    ("BYTES_SENT", Spec::Plain(Field::BytesSent)),
    ("REQUEST_HEADERS_BYTES", Spec::Plain(Field::RequestHeadersBytes)),
    ("RESPONSE_HEADERS_BYTES", Spec::Plain(Field::ResponseHeadersBytes)),
    ("DURATION", Spec::Plain(Field::Duration)),
    ("REQUEST_DURATION", Spec::Between(Point::Start, Point::RequestEnd)),
    ("REQUEST_TX_DURATION", Spec::Between(Point::Start, Point::UpstreamTxEnd)),
    ("RESPONSE_DURATION", Spec::Between(Point::Start, Point::UpstreamRxBegin)),
    ("RESPONSE_TX_DURATION", Spec::Between(Point::UpstreamRxBegin, Point::ResponseEnd)),
    ("COMMON_DURATION", Spec::Span),
    ("ROUTE_NAME", Spec::Plain(Field::RouteName)),
    ("UPSTREAM_HOST", Spec::Address(Field::UpstreamHost, Part::Whole)),
    ("UPSTREAM_REMOTE_ADDRESS", Spec::Address(Field::UpstreamHost, Part::Whole)),
    ("UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", Spec::Address(Field::UpstreamHost, Part::WithoutPort)),
    ("UPSTREAM_REMOTE_PORT", Spec::Address(Field::UpstreamHost, Part::Port)),
    ("UPSTREAM_LOCAL_ADDRESS", Spec::Address(Field::UpstreamLocal, Part::Whole)),
    ("UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", Spec::Address(Field::UpstreamLocal, Part::WithoutPort)),
    ("UPSTREAM_LOCAL_PORT", Spec::Address(Field::UpstreamLocal, Part::Port)),
    ("UPSTREAM_CLUSTER", Spec::Plain(Field::UpstreamCluster)),
    ("UPSTREAM_CLUSTER_RAW", Spec::Plain(Field::UpstreamCluster)),
    ("UPSTREAM_PROTOCOL", Spec::Plain(Field::UpstreamProtocol)),
    ("UPSTREAM_TRANSPORT_FAILURE_REASON", Spec::Plain(Field::UpstreamTransportFailure)),
    ("UPSTREAM_REQUEST_ATTEMPT_COUNT", Spec::Plain(Field::UpstreamAttempts)),
    ("DOWNSTREAM_REMOTE_ADDRESS", Spec::Address(Field::DownstreamRemote, Part::Whole)),
    ("DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", Spec::Address(Field::DownstreamRemote, Part::WithoutPort)),
    ("DOWNSTREAM_REMOTE_PORT", Spec::Address(Field::DownstreamRemote, Part::Port)),
    ("DOWNSTREAM_DIRECT_REMOTE_ADDRESS", Spec::Address(Field::DownstreamDirectRemote, Part::Whole)),
    ("DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT", Spec::Address(Field::DownstreamDirectRemote, Part::WithoutPort)),
    ("DOWNSTREAM_DIRECT_REMOTE_PORT", Spec::Address(Field::DownstreamDirectRemote, Part::Port)),
    ("DOWNSTREAM_LOCAL_ADDRESS", Spec::Address(Field::DownstreamLocal, Part::Whole)),
    ("DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", Spec::Address(Field::DownstreamLocal, Part::WithoutPort)),
    ("DOWNSTREAM_LOCAL_PORT", Spec::Address(Field::DownstreamLocal, Part::Port)),
    ("CONNECTION_ID", Spec::Plain(Field::ConnectionId)),
    ("HOSTNAME", Spec::Plain(Field::Hostname)),
];

const POINTS: [(&str, Point); 10] = [
    ("DS_RX_BEG", Point::Start),
    ("DS_RX_END", Point::RequestEnd),
    ("US_CX_BEG", Point::ConnectBegin),
    ("US_CX_END", Point::ConnectEnd),
    ("US_TX_BEG", Point::UpstreamTxBegin),
    ("US_TX_END", Point::UpstreamTxEnd),
    ("US_RX_BEG", Point::UpstreamRxBegin),
    ("US_RX_END", Point::UpstreamRxEnd),
    ("DS_TX_BEG", Point::ResponseBegin),
    ("DS_TX_END", Point::ResponseEnd),
];

/// An operator as it is written, cut out of a format.
pub(super) struct Written<'t> {
    pub(super) name: &'t str,
    /// What is between the parentheses, and the byte of the format at which it begins.
    pub(super) argument: Option<(usize, &'t str)>,
    pub(super) limit: Option<usize>,
}

/// Why an operator is refused: the byte, when it is not the operator's first, and a sentence.
type Refusal = (Option<usize>, String);

impl Op {
    /// Compiles an operator and notes what it needs.
    pub(super) fn compile(written: &Written<'_>, needs: &mut Needs) -> Result<Self, Refusal> {
        let name = written.name;
        let Some((_, spec)) = OPERATORS.iter().find(|(known, _)| *known == name) else {
            return Err((None, unknown(name)));
        };
        let takes_limit = matches!(spec, Spec::Request { .. } | Spec::Response);
        if written.limit.is_some() && !takes_limit {
            return Err((None, format!("`%{name}%` takes no length")));
        }
        let takes_argument = takes_limit || matches!(spec, Spec::Time | Spec::Span);
        let argument = match (written.argument, takes_argument) {
            (Some(_), false) => return Err((None, format!("`%{name}%` takes no argument"))),
            (argument, _) => argument.filter(|(_, text)| !text.is_empty()),
        };
        let wanted = |example| argument.ok_or_else(|| (None, format!("`%{name}%` wants an argument: `{example}`")));
        Ok(match *spec {
            Spec::Plain(field) => {
                needs.add(field);
                Self::Field(field)
            }
            Spec::Address(field, part) => {
                needs.add(field);
                Self::Address(field, part)
            }
            Spec::Between(from, to) => {
                needs.add(Field::Timings);
                Self::Span { from, to, unit_ns: 1_000_000 }
            }
            Spec::Time => {
                needs.add(Field::Start);
                match argument {
                    None => Self::Start(TimeFormat::rfc3339()),
                    Some((at, text)) => {
                        Self::Start(TimeFormat::parse(text).map_err(|(offset, why)| (Some(at + offset), why))?)
                    }
                }
            }
            Spec::Request { without_query } => {
                let (_, text) = wanted(if without_query { "%REQ_WITHOUT_QUERY(:PATH)%" } else { "%REQ(USER-AGENT)%" })?;
                let header = header(text, written.limit, without_query, |name| request_source(name, needs));
                Self::Request(header.map_err(|why| (None, why))?)
            }
            Spec::Response => {
                let (_, text) = wanted("%RESP(CONTENT-TYPE)%")?;
                let header = header(text, written.limit, false, |name| {
                    header_name(name).map(|name| Source::Captured(place(&mut needs.response_headers, name)))
                });
                Self::Response(header.map_err(|why| (None, why))?)
            }
            Spec::Span => {
                let (_, text) = wanted("%COMMON_DURATION(DS_RX_BEG:US_TX_END:us)%")?;
                needs.add(Field::Timings);
                span(text).map_err(|why| (None, why))?
            }
        })
    }
}

/// Reads `NAME?ALTERNATIVE`.
fn header(
    text: &str,
    limit: Option<usize>,
    without_query: bool,
    mut source: impl FnMut(&str) -> Result<Source, String>,
) -> Result<Header, String> {
    let (first, otherwise) = text.split_once('?').map_or((text, None), |(first, otherwise)| (first, Some(otherwise)));
    Ok(Header { first: source(first)?, otherwise: otherwise.map(source).transpose()?, limit, without_query })
}

fn request_source(name: &str, needs: &mut Needs) -> Result<Source, String> {
    let pseudo = [
        (":METHOD", Field::Method),
        (":PATH", Field::Path),
        (":AUTHORITY", Field::Authority),
        ("HOST", Field::Authority),
        (":SCHEME", Field::Scheme),
    ];
    if let Some((_, field)) = pseudo.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
        needs.add(field);
        return Ok(Source::Pseudo(field));
    }
    Ok(Source::Captured(place(&mut needs.request_headers, header_name(name)?)))
}

fn header_name(name: &str) -> Result<HeaderName, String> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("`{name}` is not a header's name"))
}

/// Where a header is in the list of those to capture; it is added if it is not there.
pub(super) fn place(names: &mut Vec<HeaderName>, name: HeaderName) -> usize {
    names.iter().position(|known| *known == name).unwrap_or_else(|| {
        names.push(name);
        names.len() - 1
    })
}

/// Reads `START:END:UNIT`.
fn span(text: &str) -> Result<Op, String> {
    let mut parts = text.split(':');
    let (Some(from), Some(to), Some(unit), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(format!("`{text}` is not START:END:UNIT, such as DS_RX_BEG:US_TX_END:us"));
    };
    let point = |name: &str| {
        let found = POINTS.iter().find(|(known, _)| *known == name).map(|(_, point)| *point);
        found.ok_or_else(|| {
            let known: Vec<&str> = POINTS.iter().map(|(known, _)| *known).collect();
            format!("`{name}` is not a point of time; there are {}", known.join(" "))
        })
    };
    let unit_ns = match unit {
        "ms" => 1_000_000,
        "us" => 1_000,
        "ns" => 1,
        _ => return Err(format!("`{unit}` is not a unit; there are ms us ns")),
    };
    Ok(Op::Span { from: point(from)?, to: point(to)?, unit_ns })
}

fn unknown(name: &str) -> String {
    let (distance, nearest) = OPERATORS
        .iter()
        .map(|(known, _)| (distance(name, known), *known))
        .min_by_key(|(distance, _)| *distance)
        .unwrap_or_default();
    if distance <= name.len() / 3 + 1 {
        format!("there is no operator `%{name}%`; did you mean `%{nearest}%`?")
    } else {
        let known: Vec<&str> = OPERATORS.iter().map(|(known, _)| *known).collect();
        format!("there is no operator `%{name}%`; there are {}", known.join(" "))
    }
}

/// How many letters must be changed, added or removed to make one word the other (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (at, a) in from.bytes().enumerate() {
        let mut diagonal = at;
        let mut left = at + 1;
        for (b, cell) in to.bytes().zip(row.iter_mut().skip(1)) {
            let changed = diagonal + usize::from(!a.eq_ignore_ascii_case(&b));
            diagonal = *cell;
            left = changed.min(left + 1).min(diagonal + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = at + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}
