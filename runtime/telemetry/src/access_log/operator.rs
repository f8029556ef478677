//! The operators of a format: `%NAME%`, `%NAME(ARGUMENT)%`, `%NAME(ARGUMENT):LENGTH%`. Names and meanings are Envoy's.

mod table;

use http::HeaderName;

use self::table::{CONSTANTS, OPERATORS, REFUSED, Spec};
use super::attribute::{Attribute, TimePoint};
use super::calendar::TimeFormat;
use super::needs::{Field, Moved, Needs};

/// A compiled operator.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Attribute(Attribute),
    /// A time in a form of one's own.
    Time(Clock, TimeFormat),
    Header(Header),
    Span {
        from: TimePoint,
        to: TimePoint,
        unit_ns: u32,
    },
    GrpcStatus(StatusForm),
}

/// Which time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Clock {
    Of(Attribute),
    /// The end of the stream, which is when its line is made.
    Emit,
}

/// How a gRPC status is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StatusForm {
    /// `NotFound`
    Camel,
    /// `NOT_FOUND`
    Snake,
    /// `5`
    Number,
}

/// `(NAME?ALTERNATIVE):LENGTH`
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) first: Attribute,
    pub(super) otherwise: Option<Attribute>,
    /// Bytes that are shown at most.
    pub(super) limit: Option<usize>,
    /// Cut off what follows a `?`.
    pub(super) without_query: bool,
}

/// The names of all operators, for documents and tests.
pub fn names() -> impl Iterator<Item = &'static str> {
    OPERATORS.iter().map(|(name, _)| *name).chain(CONSTANTS)
}

/// The names of Envoy's operators that are refused, and why.
pub fn refused() -> impl Iterator<Item = (&'static str, &'static str)> {
    REFUSED.iter().copied()
}

const POINTS: [(&str, TimePoint); 10] = [
    ("DS_RX_BEG", TimePoint::Start),
    ("DS_RX_END", TimePoint::RequestEnd),
    ("US_CX_BEG", TimePoint::ConnectBegin),
    ("US_CX_END", TimePoint::ConnectEnd),
    ("US_TX_BEG", TimePoint::UpstreamTxBegin),
    ("US_TX_END", TimePoint::UpstreamTxEnd),
    ("US_RX_BEG", TimePoint::UpstreamRxBegin),
    ("US_RX_END", TimePoint::UpstreamRxEnd),
    ("DS_TX_BEG", TimePoint::ResponseBegin),
    ("DS_TX_END", TimePoint::ResponseEnd),
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
        let takes_limit = matches!(spec, Spec::Request { .. } | Spec::Response | Spec::Trailer | Spec::Attribute);
        if written.limit.is_some() && !takes_limit {
            return Err((None, format!("`%{name}%` takes no length")));
        }
        let takes_argument = takes_limit || matches!(spec, Spec::Time(_) | Spec::Span | Spec::GrpcStatus);
        let argument = match (written.argument, takes_argument) {
            (Some(_), false) => return Err((None, format!("`%{name}%` takes no argument"))),
            (argument, _) => argument.filter(|(_, text)| !text.is_empty()),
        };
        let wanted = |example: &str| {
            argument.map(|(_, text)| text).ok_or_else(|| (None, format!("`%{name}%` wants an argument: `{example}`")))
        };
        let here = |why| (None, why);
        let headers = |text: &str, without_query, source: &mut dyn FnMut(&str) -> Result<Attribute, String>| {
            header(text, written.limit, without_query, source).map(Self::Header).map_err(here)
        };
        Ok(match *spec {
            Spec::Plain(attribute) => {
                attribute.add_to(needs);
                Self::Attribute(attribute)
            }
            Spec::Between(from, to) => {
                needs.add(Field::Timings);
                Self::Attribute(Attribute::Between(from, to))
            }
            Spec::Time(clock) => {
                match clock {
                    Clock::Of(attribute) => attribute.add_to(needs),
                    Clock::Emit => [Field::Start, Field::Duration].into_iter().for_each(|field| needs.add(field)),
                }
                let format = match argument {
                    None => TimeFormat::rfc3339(),
                    Some((at, text)) => TimeFormat::parse(text).map_err(|(offset, why)| (Some(at + offset), why))?,
                };
                Self::Time(clock, format)
            }
            Spec::Request { without_query } => {
                let text = wanted(if without_query { "%REQ_WITHOUT_QUERY(:PATH)%" } else { "%REQ(USER-AGENT)%" })?;
                headers(text, without_query, &mut |name| request_source(name, needs))?
            }
            Spec::Response => headers(wanted("%RESP(CONTENT-TYPE)%")?, false, &mut |name| {
                Ok(Attribute::ResponseHeader(needs.response_header(header_name(name)?)))
            })?,
            Spec::Trailer => headers(wanted("%TRAILER(GRPC-MESSAGE)%")?, false, &mut |name| {
                Ok(Attribute::ResponseTrailer(needs.response_trailer(header_name(name)?)))
            })?,
            Spec::Attribute => {
                let attribute = Attribute::parse(wanted("%ATTRIBUTE(request.path)%")?, needs).map_err(here)?;
                match written.limit {
                    None if attribute.is_time() => Self::Time(Clock::Of(attribute), TimeFormat::rfc3339()),
                    None => Self::Attribute(attribute),
                    Some(_) if !attribute.is_text() => {
                        return Err((None, "only texts take a length".to_owned()));
                    }
                    limit => Self::Header(Header { first: attribute, otherwise: None, limit, without_query: false }),
                }
            }
            Spec::Span => {
                needs.add(Field::Timings);
                span(wanted("%COMMON_DURATION(DS_RX_BEG:US_TX_END:us)%")?).map_err(here)?
            }
            Spec::GrpcStatus => {
                needs.add(Field::GrpcStatus);
                Self::GrpcStatus(match argument.map(|(_, text)| text) {
                    None | Some("CAMEL_STRING") => StatusForm::Camel,
                    Some("SNAKE_STRING") => StatusForm::Snake,
                    Some("NUMBER") => StatusForm::Number,
                    Some(other) => {
                        let why = format!("`{other}` is no form; there are CAMEL_STRING SNAKE_STRING NUMBER");
                        return Err((None, why));
                    }
                })
            }
        })
    }

    /// Takes headers from their new places.
    pub(super) fn moved(&mut self, moved: &Moved) {
        match self {
            Self::Attribute(attribute) => attribute.moved(moved),
            Self::Header(header) => {
                header.first.moved(moved);
                if let Some(otherwise) = &mut header.otherwise {
                    otherwise.moved(moved);
                }
            }
            Self::Time(..) | Self::Span { .. } | Self::GrpcStatus(_) => {}
        }
    }
}

/// Reads `NAME?ALTERNATIVE`.
fn header(
    text: &str,
    limit: Option<usize>,
    without_query: bool,
    source: &mut dyn FnMut(&str) -> Result<Attribute, String>,
) -> Result<Header, String> {
    let (first, otherwise) = text.split_once('?').map_or((text, None), |(first, otherwise)| (first, Some(otherwise)));
    Ok(Header { first: source(first)?, otherwise: otherwise.map(source).transpose()?, limit, without_query })
}

fn request_source(name: &str, needs: &mut Needs) -> Result<Attribute, String> {
    let pseudo = [
        (":METHOD", Attribute::RequestMethod),
        (":PATH", Attribute::RequestPath),
        (":AUTHORITY", Attribute::RequestHost),
        ("HOST", Attribute::RequestHost),
        (":SCHEME", Attribute::RequestScheme),
    ];
    if let Some((_, attribute)) = pseudo.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
        attribute.add_to(needs);
        return Ok(attribute);
    }
    Ok(Attribute::RequestHeader(needs.request_header(header_name(name)?)))
}

fn header_name(name: &str) -> Result<HeaderName, String> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("`{name}` is not a header's name"))
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
    if let Some((_, why)) = REFUSED.iter().find(|(known, _)| *known == name) {
        return format!("there is no `%{name}%` here: {why}");
    }
    match nearest(name, names()) {
        Some(nearest) => format!("there is no operator `%{name}%`; did you mean `%{nearest}%`?"),
        None => {
            let known: Vec<&str> = names().collect();
            format!("there is no operator `%{name}%`; there are {}", known.join(" "))
        }
    }
}

/// The name that somebody may have meant.
pub(super) fn nearest(name: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let (distance, nearest) =
        known.map(|known| (distance(name, known), known)).min_by_key(|(distance, _)| *distance)?;
    (distance <= name.len() / 3 + 1).then_some(nearest)
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
