//! Formats: parsed once, rendered for each stream.

use std::fmt;

use super::escape::push_json_string;
use super::needs::Needs;
use super::operator::{Op, Written};

/// The default format of text logs: Envoy's.
pub const DEFAULT_TEXT: &str = concat!(
    "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% ",
    "%RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% ",
    "\"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" ",
    "\"%UPSTREAM_HOST%\"\n",
);

/// The default members of JSON logs, under the names that meshes commonly use.
pub const DEFAULT_JSON: &[(&str, &str)] = &[
    ("start_time", "%START_TIME%"),
    ("method", "%REQ(:METHOD)%"),
    ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
    ("protocol", "%PROTOCOL%"),
    ("authority", "%REQ(:AUTHORITY)%"),
    ("response_code", "%RESPONSE_CODE%"),
    ("response_code_details", "%RESPONSE_CODE_DETAILS%"),
    ("response_flags", "%RESPONSE_FLAGS%"),
    ("connection_termination_details", "%CONNECTION_TERMINATION_DETAILS%"),
    ("bytes_received", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%"),
    ("duration", "%DURATION%"),
    ("route_name", "%ROUTE_NAME%"),
    ("upstream_cluster", "%UPSTREAM_CLUSTER%"),
    ("upstream_host", "%UPSTREAM_HOST%"),
    ("upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%"),
    ("upstream_transport_failure_reason", "%UPSTREAM_TRANSPORT_FAILURE_REASON%"),
    ("upstream_request_attempt_count", "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"),
    ("downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"),
    ("downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"),
    ("connection_id", "%CONNECTION_ID%"),
    ("request_id", "%REQ(X-REQUEST-ID)%"),
    ("user_agent", "%REQ(USER-AGENT)%"),
    ("x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"),
];

/// A compiled format of one line.
#[derive(Clone, Debug)]
pub struct Format {
    pub(super) segments: Vec<Segment>,
    needs: Needs,
}

/// Why a format is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatError {
    /// The member of a JSON format; `None` in a text format.
    pub member: Option<String>,
    /// The byte of the text at which it stops making sense, from 0.
    pub position: usize,
    /// What is wrong and what to do.
    pub reason: String,
}

/// A value of a JSON format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JsonValue {
    /// A text format. One that is an operator alone keeps its type: numbers are numbers, unset is `null`.
    Text(String),
    /// A JSON value that is written as it is, such as `5` or `null`.
    Literal(String),
    /// Members, in order.
    Object(Vec<(String, Self)>),
    /// Elements.
    Array(Vec<Self>),
}

#[derive(Clone, Debug)]
pub(super) enum Segment {
    Literal(Box<[u8]>),
    Op(Op, Style),
    /// The key of a member, with what separates it from the one before; where members may be missing.
    Key(Box<[u8]>),
    /// A member that is missing when it is unset, by its key.
    Member(Box<[u8]>, Op),
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// In text; unset is `-`.
    Text,
    /// In text; unset is nothing.
    TextOmit,
    /// As the value of a header field; unset is nothing.
    Value,
    /// As a JSON value of its own; unset is `null`.
    Json,
    /// Inside a JSON string; unset is `-`.
    JsonInner,
    /// Inside a JSON string; unset is nothing.
    JsonInnerOmit,
}

impl Format {
    const EMPTY: Self = Self { segments: Vec::new(), needs: Needs::NOTHING };

    /// Reads a text format. The line ends with one newline whether the format has it or not.
    ///
    /// # Errors
    /// The position of what is not an operator or not one of ours, with the nearest name.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        Self::text(text, false)
    }

    /// The same; what is unset is left out instead of `-` if `omit_empty` is.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn text(text: &str, omit_empty: bool) -> Result<Self, FormatError> {
        let mut format = Self::EMPTY;
        let text = text.strip_suffix('\n').unwrap_or(text);
        let style = if omit_empty { Style::TextOmit } else { Style::Text };
        format.add(text, style).map_err(|(position, reason)| FormatError { member: None, position, reason })?;
        format.literal(b"\n");
        Ok(format)
    }

    /// Reads a text that becomes the value of a header field: as [`parse`](Self::parse), without a newline.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn value(text: &str) -> Result<Self, FormatError> {
        let mut format = Self::EMPTY;
        format.add(text, Style::Value).map_err(|(position, reason)| FormatError { member: None, position, reason })?;
        Ok(format)
    }

    /// Reads a JSON format: the names of an object's members, in order, with a text format each. A member that is one
    /// operator alone keeps its type: numbers are numbers, unset is `null`.
    ///
    /// # Errors
    /// As [`parse`](Self::parse) of each member; a name that comes twice.
    pub fn json<N: AsRef<str>, T: AsRef<str>>(members: &[(N, T)]) -> Result<Self, FormatError> {
        let text = |(name, text): &(N, T)| (name.as_ref().to_owned(), JsonValue::Text(text.as_ref().to_owned()));
        Self::object(&members.iter().map(text).collect::<Vec<_>>(), false)
    }

    /// Reads a JSON format: the members of an object, which may hold others. Members that are unset are left out instead
    /// of `null` if `omit_empty` is.
    ///
    /// # Errors
    /// As [`parse`](Self::parse) of each member; a name that comes twice; the member's path is told with dots.
    pub fn object(members: &[(String, JsonValue)], omit_empty: bool) -> Result<Self, FormatError> {
        let mut format = Self::EMPTY;
        format.members(members, omit_empty, "")?;
        format.literal(b"\n");
        Ok(format)
    }

    /// Envoy's default text format.
    pub fn default_text() -> Self {
        // A constant, which a test parses.
        Self::parse(DEFAULT_TEXT).unwrap_or(Self::EMPTY)
    }

    /// The default JSON format, [`DEFAULT_JSON`].
    pub fn default_json() -> Self {
        // A constant, which a test parses.
        Self::json(DEFAULT_JSON).unwrap_or(Self::EMPTY)
    }

    /// What a caller must capture to render this format.
    pub fn needs(&self) -> &Needs {
        &self.needs
    }

    /// Adds what this format needs to `shared`, and from now on takes captured headers from the places that they
    /// have there: so that a stream that is logged in several formats is captured once.
    pub fn share(&mut self, shared: &mut Needs) {
        let moved = shared.merge(&self.needs);
        for segment in &mut self.segments {
            if let Segment::Op(op, _) | Segment::Member(_, op) = segment {
                op.moved(&moved);
            }
        }
        self.needs = shared.clone();
    }

    /// Adds an object.
    fn members(&mut self, members: &[(String, JsonValue)], omit: bool, path: &str) -> Result<(), FormatError> {
        self.literal(b"{");
        for (at, (name, value)) in members.iter().enumerate() {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            if members.iter().take(at).any(|(earlier, _)| earlier == name) {
                let reason = "the name comes twice; remove one".to_owned();
                return Err(FormatError { member: Some(path), position: 0, reason });
            }
            let mut key = Vec::new();
            push_json_string(&mut key, name.as_bytes());
            key.push(b':');
            self.json_value(value, key, at == 0, omit, &path)?;
        }
        self.literal(b"}");
        Ok(())
    }

    /// Adds a value with its key.
    fn json_value(
        &mut self,
        value: &JsonValue,
        mut key: Vec<u8>,
        first: bool,
        omit: bool,
        path: &str,
    ) -> Result<(), FormatError> {
        if let JsonValue::Text(text) = value {
            let refuse = |(position, reason)| FormatError { member: Some(path.to_owned()), position, reason };
            return self.member(text, key, first, omit).map_err(refuse);
        }
        self.key(&mut key, first, omit);
        match value {
            // Above.
            JsonValue::Text(_) => {}
            JsonValue::Literal(text) => self.literal(text.as_bytes()),
            JsonValue::Object(members) => self.members(members, omit, path)?,
            JsonValue::Array(elements) => {
                self.literal(b"[");
                for (at, element) in elements.iter().enumerate() {
                    self.json_value(element, Vec::new(), at == 0, omit, &format!("{path}[{at}]"))?;
                }
                self.literal(b"]");
            }
        }
        Ok(())
    }

    /// Adds a key; where members may be missing, only the line itself shows whether another is before it.
    fn key(&mut self, key: &mut Vec<u8>, first: bool, omit: bool) {
        if omit {
            self.segments.push(Segment::Key(std::mem::take(key).into()));
        } else {
            if !first {
                key.insert(0, b',');
            }
            self.literal(key);
        }
    }

    /// Adds a JSON member of text.
    fn member(&mut self, text: &str, mut key: Vec<u8>, first: bool, omit: bool) -> Result<(), (usize, String)> {
        let mut alone = Self { segments: Vec::new(), needs: std::mem::take(&mut self.needs) };
        let parsed = alone.add(text, if omit { Style::JsonInnerOmit } else { Style::JsonInner });
        self.needs = std::mem::take(&mut alone.needs);
        parsed?;
        match alone.segments.as_mut_slice() {
            [Segment::Op(..)] if omit => {
                if let Some(Segment::Op(op, _)) = alone.segments.pop() {
                    self.segments.push(Segment::Member(key.into(), op));
                }
                return Ok(());
            }
            [Segment::Op(_, style)] => *style = Style::Json,
            _ => {
                alone.segments.insert(0, Segment::Literal(b"\"".as_slice().into()));
                alone.segments.push(Segment::Literal(b"\"".as_slice().into()));
            }
        }
        self.key(&mut key, first, omit);
        for segment in alone.segments {
            match segment {
                Segment::Literal(bytes) => self.literal(&bytes),
                segment => self.segments.push(segment),
            }
        }
        Ok(())
    }

    /// Adds text with operators. The error is a byte of `text` and a reason.
    fn add(&mut self, text: &str, style: Style) -> Result<(), (usize, String)> {
        let mut at = 0;
        while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
            let literal = rest.find('%').unwrap_or(rest.len());
            self.literal_in(style, rest.get(..literal).unwrap_or(rest));
            at += literal;
            let Some(operator) = rest.get(literal..).and_then(|rest| rest.strip_prefix('%')) else { break };
            if operator.starts_with('%') {
                self.literal(b"%");
                at += 2;
                continue;
            }
            let (written, len) = cut(operator, at + 1).map_err(|why| (at, why))?;
            // Neither the environment nor the name of the machine changes: they are literals from here on.
            match constant(&written).map_err(|why| (at, why))? {
                Some(value) => self.outside_literal(style, value.as_deref()),
                None => {
                    let op =
                        Op::compile(&written, &mut self.needs).map_err(|(place, why)| (place.unwrap_or(at), why))?;
                    self.segments.push(Segment::Op(op, style));
                }
            }
            at += 1 + len;
        }
        Ok(())
    }

    fn literal_in(&mut self, style: Style, text: &str) {
        if matches!(style, Style::Text | Style::TextOmit | Style::Value) {
            self.literal(text.as_bytes());
        } else {
            let mut escaped = Vec::new();
            super::escape::push_json_inner(&mut escaped, text.as_bytes());
            self.literal(&escaped);
        }
    }

    /// Adds a literal that the format's author did not write.
    fn outside_literal(&mut self, style: Style, text: Option<&str>) {
        let mut escaped = Vec::new();
        match (text, style) {
            (None, Style::Value | Style::TextOmit | Style::JsonInnerOmit) => {}
            (None, _) => escaped.push(b'-'),
            (Some(text), Style::Value) => escaped.extend_from_slice(text.as_bytes()),
            (Some(text), Style::Text | Style::TextOmit) => super::escape::push_text(&mut escaped, text.as_bytes()),
            (Some(text), _) => super::escape::push_json_inner(&mut escaped, text.as_bytes()),
        }
        self.literal(&escaped);
    }

    fn literal(&mut self, bytes: &[u8]) {
        match self.segments.last_mut() {
            _ if bytes.is_empty() => {}
            Some(Segment::Literal(last)) => *last = [last, bytes].concat().into(),
            _ => self.segments.push(Segment::Literal(bytes.into())),
        }
    }
}

/// Cuts the operator off the text that follows its first `%`, which begins at byte `start` of the format. Returns its
/// length with the closing `%`.
fn cut(text: &str, start: usize) -> Result<(Written<'_>, usize), String> {
    let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let end = text.find(|c| !is_name(c)).unwrap_or(text.len());
    let (name, mut rest) = text.split_at(end);
    if name.is_empty() {
        return Err("a `%` begins an operator such as %RESPONSE_CODE%; write `%%` for the character".to_owned());
    }
    let mut argument = None;
    if let Some(inner) = rest.strip_prefix('(') {
        let Some((inside, after)) = inner.split_once(')') else {
            return Err(format!("the argument of `%{name}(` has no closing `)`"));
        };
        argument = Some((start + end + 1, inside));
        rest = after;
    }
    let mut limit = None;
    if let Some(after) = rest.strip_prefix(':') {
        let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        let (number, after) = after.split_at(digits);
        limit = Some(number.parse().map_err(|_| format!("`%{name}` wants a length after `:`, such as `:20`"))?);
        rest = after;
    }
    let Some(after) = rest.strip_prefix('%') else {
        return Err(format!("`%{name}` has no closing `%`"));
    };
    Ok((Written { name, argument, limit }, text.len() - after.len()))
}

/// The value of an operator that needs nothing of a stream, if it is one.
#[expect(clippy::option_option, reason = "not such an operator, or one whose value is unset")]
fn constant(written: &Written<'_>) -> Result<Option<Option<String>>, String> {
    match (written.name, written.argument.filter(|(_, name)| !name.is_empty() && !name.contains(['=', '\0']))) {
        ("HOSTNAME" | "ENVIRONMENT", _) if written.limit.is_some() => {
            Err(format!("`%{}%` takes no length", written.name))
        }
        ("HOSTNAME", None) if written.argument.is_none() => Ok(Some(hostname())),
        ("HOSTNAME", _) => Err("`%HOSTNAME%` takes no argument".to_owned()),
        ("ENVIRONMENT", Some((_, name))) => Ok(Some(std::env::var(name).ok())),
        ("ENVIRONMENT", None) => {
            Err("`%ENVIRONMENT%` wants the name of a variable: `%ENVIRONMENT(POD_NAME)%`".to_owned())
        }
        _ => Ok(None),
    }
}

/// This machine's name, as the kernel tells it.
fn hostname() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim_end().to_owned()).filter(|name| !name.is_empty())
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(member) = &self.member {
            write!(f, "in member `{member}`, ")?;
        }
        write!(f, "at byte {}: {}", self.position, self.reason)
    }
}

impl std::error::Error for FormatError {}
