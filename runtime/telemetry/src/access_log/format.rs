//! Formats: parsed once, rendered for each stream.

use std::fmt;

use http::HeaderName;

use super::escape::push_json_string;
use super::operator::{Field, Op, Source, Written, place};

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

/// What a caller must capture of a stream for a format, and nothing else.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// Request headers, in the order in which [`Captured`](crate::Captured) must hold their values.
    pub request_headers: Vec<HeaderName>,
    /// Response headers, likewise.
    pub response_headers: Vec<HeaderName>,
    fields: u64,
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

#[derive(Clone, Debug)]
pub(super) enum Segment {
    Literal(Box<[u8]>),
    Op(Op, Style),
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// In text; unset is `-`.
    Text,
    /// As the value of a header field; unset is nothing.
    Value,
    /// As a JSON value of its own; unset is `null`.
    Json,
    /// Inside a JSON string; unset is `-`.
    JsonInner,
}

impl Format {
    /// Reads a text format. The line ends with one newline whether the format has it or not.
    ///
    /// # Errors
    /// The position of what is not an operator or not one of ours, with the nearest name.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let mut format = Self { segments: Vec::new(), needs: Needs::default() };
        let text = text.strip_suffix('\n').unwrap_or(text);
        format.add(text, Style::Text).map_err(|(position, reason)| FormatError { member: None, position, reason })?;
        format.literal(b"\n");
        Ok(format)
    }

    /// Reads a text that becomes the value of a header field: as [`parse`](Self::parse), without a newline.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn value(text: &str) -> Result<Self, FormatError> {
        let mut format = Self { segments: Vec::new(), needs: Needs::default() };
        format.add(text, Style::Value).map_err(|(position, reason)| FormatError { member: None, position, reason })?;
        Ok(format)
    }

    /// Reads a JSON format: the names of an object's members, in order, with a text format each. A member that is one
    /// operator alone keeps its type: numbers are numbers, unset is `null`.
    ///
    /// # Errors
    /// As [`parse`](Self::parse) of each member; a name that comes twice.
    pub fn json<N: AsRef<str>, T: AsRef<str>>(members: &[(N, T)]) -> Result<Self, FormatError> {
        let mut format = Self { segments: Vec::new(), needs: Needs::default() };
        format.literal(b"{");
        for (at, (name, text)) in members.iter().enumerate() {
            let (name, text) = (name.as_ref(), text.as_ref());
            let refuse = |(position, reason)| FormatError { member: Some(name.to_owned()), position, reason };
            if members.iter().take(at).any(|(earlier, _)| earlier.as_ref() == name) {
                return Err(refuse((0, "the name comes twice; remove one".to_owned())));
            }
            let mut key = if at > 0 { b",".to_vec() } else { Vec::new() };
            push_json_string(&mut key, name.as_bytes());
            key.push(b':');
            format.literal(&key);
            format.member(text).map_err(refuse)?;
        }
        format.literal(b"}\n");
        Ok(format)
    }

    /// Envoy's default text format.
    pub fn default_text() -> Self {
        // A constant, which a test parses.
        Self::parse(DEFAULT_TEXT).unwrap_or(Self { segments: Vec::new(), needs: Needs::default() })
    }

    /// The default JSON format, [`DEFAULT_JSON`].
    pub fn default_json() -> Self {
        // A constant, which a test parses.
        Self::json(DEFAULT_JSON).unwrap_or(Self { segments: Vec::new(), needs: Needs::default() })
    }

    /// What a caller must capture to render this format.
    pub fn needs(&self) -> &Needs {
        &self.needs
    }

    /// Adds what this format needs to `shared`, and from now on takes captured headers from the places that they
    /// have there: so that a stream that is logged in several formats is captured once.
    pub fn share(&mut self, shared: &mut Needs) {
        shared.fields |= self.needs.fields;
        let moved = |from: &[HeaderName], to: &mut Vec<HeaderName>| -> Vec<usize> {
            from.iter().map(|name| place(to, name.clone())).collect()
        };
        let request = moved(&self.needs.request_headers, &mut shared.request_headers);
        let response = moved(&self.needs.response_headers, &mut shared.response_headers);
        for segment in &mut self.segments {
            let (header, places) = match segment {
                Segment::Op(Op::Request(header), _) => (header, &request),
                Segment::Op(Op::Response(header), _) => (header, &response),
                _ => continue,
            };
            for source in std::iter::once(&mut header.first).chain(&mut header.otherwise) {
                if let Source::Captured(at) = source {
                    *at = places.get(*at).copied().unwrap_or(*at);
                }
            }
        }
        self.needs = shared.clone();
    }

    /// Adds the value of a JSON member.
    fn member(&mut self, text: &str) -> Result<(), (usize, String)> {
        let mut alone = Self { segments: Vec::new(), needs: std::mem::take(&mut self.needs) };
        let parsed = alone.add(text, Style::JsonInner);
        self.needs = std::mem::take(&mut alone.needs);
        parsed?;
        match alone.segments.as_mut_slice() {
            [Segment::Op(_, style)] => *style = Style::Json,
            _ => {
                alone.segments.insert(0, Segment::Literal(b"\"".as_slice().into()));
                alone.segments.push(Segment::Literal(b"\"".as_slice().into()));
            }
        }
        for segment in alone.segments {
            match segment {
                Segment::Literal(bytes) => self.literal(&bytes),
                segment @ Segment::Op(..) => self.segments.push(segment),
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
            // The environment does not change, so its values are literals from here on.
            if written.name == "ENVIRONMENT" {
                let value = environment(&written).map_err(|why| (at, why))?;
                self.outside_literal(style, value.as_deref());
            } else {
                let op = Op::compile(&written, &mut self.needs).map_err(|(place, why)| (place.unwrap_or(at), why))?;
                self.segments.push(Segment::Op(op, style));
            }
            at += 1 + len;
        }
        Ok(())
    }

    fn literal_in(&mut self, style: Style, text: &str) {
        if matches!(style, Style::Text | Style::Value) {
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
            (None, Style::Value) => {}
            (None, _) => escaped.push(b'-'),
            (Some(text), Style::Value) => escaped.extend_from_slice(text.as_bytes()),
            (Some(text), Style::Text) => super::escape::push_text(&mut escaped, text.as_bytes()),
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

impl Needs {
    /// Whether a part of the record is shown.
    pub fn has(&self, field: Field) -> bool {
        self.fields & (1 << field as u32) != 0
    }

    /// The place at which a header of requests is found in the record; it is asked for if it is not yet.
    pub fn request_header(&mut self, name: HeaderName) -> usize {
        place(&mut self.request_headers, name)
    }

    /// The place at which a header of responses is found in the record; it is asked for if it is not yet.
    pub fn response_header(&mut self, name: HeaderName) -> usize {
        place(&mut self.response_headers, name)
    }

    /// Asks for a part of the record.
    pub fn add(&mut self, field: Field) {
        self.fields |= 1 << field as u32;
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

fn environment(written: &Written<'_>) -> Result<Option<String>, String> {
    let Some((_, name)) = written.argument.filter(|(_, name)| !name.is_empty() && !name.contains(['=', '\0'])) else {
        return Err("`%ENVIRONMENT%` wants the name of a variable: `%ENVIRONMENT(POD_NAME)%`".to_owned());
    };
    if written.limit.is_some() {
        return Err("`%ENVIRONMENT%` takes no length".to_owned());
    }
    Ok(std::env::var(name).ok())
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
