//! Texts with operators such as `%REQ(x-user)%`, in the words of access logs.

use std::borrow::Cow;
use std::fmt::Write;

use ringway_api::{ConnInfo, Headers, RequestHead, Response, ResponseFlags};

/// A text with operators, checked.
#[derive(Debug, Default)]
pub(crate) struct Template(Box<[Part]>);

#[derive(Debug)]
enum Part {
    Literal(Box<[u8]>),
    /// Something of the request or its connection: known before there is a response.
    Early(Early),
    Late(Late),
}

#[derive(Debug)]
enum Early {
    Field(Field),
    Protocol,
    Method,
    Path,
    Authority,
    Scheme,
    Remote { port: bool },
    Local { port: bool },
}

#[derive(Debug)]
enum Late {
    Field(Field),
    Code,
    Flags,
    Details,
    Content,
}

/// `NAME`, `NAME?OTHER`, and `:LENGTH` after the parenthesis.
#[derive(Debug)]
struct Field {
    names: Vec<String>,
    most: usize,
}

/// What the operators of a template that are about the request stood for: kept while the response is awaited.
pub(crate) type Captured = Vec<Option<Box<[u8]>>>;

/// The most of an operator's value that is used, in bytes.
const VALUE_LIMIT: usize = 8 << 10;

impl Template {
    /// # Errors
    /// Which operator is unknown or not closed.
    pub(crate) fn compile(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut literal = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            literal.extend_from_slice(before.as_bytes());
            let (operator, after) =
                after.split_once('%').ok_or_else(|| format!("%{after}: no `%` at the operator's end"))?;
            rest = after;
            if operator.is_empty() {
                literal.push(b'%');
                continue;
            }
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal).into()));
            }
            parts.push(Part::compile(operator)?);
        }
        literal.extend_from_slice(rest.as_bytes());
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.into()));
        }
        Ok(Self(parts.into()))
    }

    /// Whether it says something of the response.
    pub(crate) fn is_late(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Late(_)))
    }

    /// Whether it says something of the request.
    pub(crate) fn is_early(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Early(_)))
    }

    /// Whether it is nothing but this one number: JSON needs no quotes around it.
    pub(crate) fn is_number(&self) -> bool {
        matches!(&*self.0, [Part::Late(Late::Code)])
    }

    /// What its operators about the request stand for, in their order.
    pub(crate) fn capture(&self, head: &RequestHead, conn: &ConnInfo, into: &mut Captured) {
        into.extend(self.0.iter().filter_map(|part| match part {
            Part::Early(early) => Some(early.value(head, conn).map(|value| Box::from(&*value))),
            _ => None,
        }));
    }

    /// Whether it is nothing but one operator.
    pub(crate) fn is_operator(&self) -> bool {
        matches!(&*self.0, [Part::Early(_) | Part::Late(_)])
    }

    /// The text. Takes its own values from `captured`; `missing` stands for what is not there. Without operators it is
    /// borrowed.
    pub(crate) fn render<'a>(
        &'a self,
        captured: &mut impl Iterator<Item = &'a Option<Box<[u8]>>>,
        response: Option<&Response>,
        missing: &[u8],
    ) -> Cow<'a, [u8]> {
        self.render_with(captured, response, missing, |text, value| text.extend_from_slice(value))
    }

    /// The same with what operators stand for escaped, for HTML and XML.
    pub(crate) fn render_escaped<'a>(
        &'a self,
        captured: &mut impl Iterator<Item = &'a Option<Box<[u8]>>>,
        response: Option<&Response>,
        missing: &[u8],
    ) -> Cow<'a, [u8]> {
        self.render_with(captured, response, missing, |text, value| {
            for byte in value {
                match byte {
                    b'<' => text.extend_from_slice(b"&lt;"),
                    b'>' => text.extend_from_slice(b"&gt;"),
                    b'&' => text.extend_from_slice(b"&amp;"),
                    b'"' => text.extend_from_slice(b"&quot;"),
                    b'\'' => text.extend_from_slice(b"&#39;"),
                    other => text.push(*other),
                }
            }
        })
    }

    fn render_with<'a>(
        &'a self,
        captured: &mut impl Iterator<Item = &'a Option<Box<[u8]>>>,
        response: Option<&Response>,
        missing: &[u8],
        add: impl Fn(&mut Vec<u8>, &[u8]),
    ) -> Cow<'a, [u8]> {
        match &*self.0 {
            [] => return Cow::Borrowed(&[]),
            [Part::Literal(text)] => return Cow::Borrowed(text),
            _ => {}
        }
        let mut text = Vec::new();
        for part in &self.0 {
            match part {
                Part::Literal(literal) => text.extend_from_slice(literal),
                Part::Early(_) => add(&mut text, captured.next().and_then(Option::as_deref).unwrap_or(missing)),
                Part::Late(late) => {
                    let value = response.and_then(|response| late.value(response));
                    add(&mut text, value.as_deref().unwrap_or(missing));
                }
            }
        }
        Cow::Owned(text)
    }
}

impl Part {
    fn compile(operator: &str) -> Result<Self, String> {
        if let Some(field) = operator.strip_prefix("REQ(") {
            let field = Field::compile(operator, field)?;
            return Ok(Self::Early(match field.names.first().map(String::as_str) {
                Some(":method") => Early::Method,
                Some(":path") => Early::Path,
                Some(":authority") => Early::Authority,
                Some(":scheme") => Early::Scheme,
                _ => Early::Field(field),
            }));
        }
        if let Some(field) = operator.strip_prefix("RESP(") {
            return Ok(Self::Late(Late::Field(Field::compile(operator, field)?)));
        }
        Ok(match operator {
            "PROTOCOL" => Self::Early(Early::Protocol),
            "DOWNSTREAM_REMOTE_ADDRESS" => Self::Early(Early::Remote { port: true }),
            "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" => Self::Early(Early::Remote { port: false }),
            "DOWNSTREAM_LOCAL_ADDRESS" => Self::Early(Early::Local { port: true }),
            "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT" => Self::Early(Early::Local { port: false }),
            "RESPONSE_CODE" => Self::Late(Late::Code),
            "RESPONSE_FLAGS" => Self::Late(Late::Flags),
            "RESPONSE_CODE_DETAILS" => Self::Late(Late::Details),
            "LOCAL_REPLY_BODY" => Self::Late(Late::Content),
            other => return Err(format!("%{other}%: there is no such operator here")),
        })
    }
}

impl Field {
    fn compile(operator: &str, field: &str) -> Result<Self, String> {
        let wrong = || format!("%{operator}%: not of the form NAME(field), NAME(field?other) or NAME(field):LENGTH");
        let (names, most) = field.split_once(')').ok_or_else(wrong)?;
        let most = match most.strip_prefix(':') {
            Some(digits) => digits.parse().map_err(|_| wrong())?,
            None if most.is_empty() => VALUE_LIMIT,
            None => return Err(wrong()),
        };
        let names: Vec<String> = names.split('?').map(str::to_ascii_lowercase).collect();
        let pseudo = |name: &str| [":method", ":path", ":authority", ":scheme"].contains(&name);
        let single = names.len() == 1;
        if !names.iter().all(|name| Headers::can_hold(name.as_bytes(), b"") || (single && pseudo(name))) {
            return Err(wrong());
        }
        Ok(Self { names, most })
    }

    fn value<'a>(&self, headers: &'a Headers) -> Option<&'a [u8]> {
        let value = self.names.iter().find_map(|name| headers.first(name))?;
        value.get(..value.len().min(self.most))
    }
}

impl Early {
    fn value<'a>(&self, head: &'a RequestHead, conn: &ConnInfo) -> Option<Cow<'a, [u8]>> {
        let text = |text: String| Cow::Owned(text.into_bytes());
        let address = |address: &ringway_api::Address, port: bool| match address.ip() {
            Some(ip) if !port => text(ip.ip().to_string()),
            _ => text(address.to_string()),
        };
        Some(match self {
            Self::Field(field) => Cow::Borrowed(field.value(&head.headers)?),
            Self::Protocol => text(head.version.to_string()),
            Self::Method => text(head.method.as_str().to_owned()),
            Self::Path => Cow::Borrowed(head.path_and_query()),
            Self::Authority => Cow::Borrowed(head.authority()),
            Self::Scheme => Cow::Borrowed(head.scheme.as_str().as_bytes()),
            Self::Remote { port } => address(&conn.peer, *port),
            Self::Local { port } => address(&conn.local, *port),
        })
    }
}

impl Late {
    fn value<'a>(&self, response: &'a Response) -> Option<Cow<'a, [u8]>> {
        let origin = response.head.local.as_deref();
        Some(match self {
            Self::Field(field) => Cow::Borrowed(field.value(&response.head.headers)?),
            Self::Code => Cow::Owned(response.head.status.as_str().as_bytes().to_vec()),
            Self::Flags => {
                let mut text = String::new();
                let flags = origin.map_or(ResponseFlags::NONE, |origin| origin.flags);
                write!(text, "{flags}").ok()?;
                Cow::Owned(text.into_bytes())
            }
            Self::Details => Cow::Borrowed(origin?.details.as_bytes()),
            Self::Content => match &response.body {
                ringway_api::Body::Full(chunk) => Cow::Borrowed(&**chunk),
                _ => return None,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_operator_is_an_error() {
        for good in ["", "a", "100%%", "%PROTOCOL%", "a%REQ(x?y):3%b%RESP(z)%", "%REQ(:path)%"] {
            assert!(Template::compile(good).is_ok(), "{good}");
        }
        for bad in ["%", "a%b", "%NOPE%", "%REQ(%", "%REQ(a b)%", "%REQ(a)x%", "%REQ(a):x%", "%RESP(:path?x)%"] {
            assert!(Template::compile(bad).is_err(), "{bad}");
        }
        assert!(Template::compile("%RESPONSE_CODE%").unwrap().is_number());
        assert!(!Template::compile("%RESPONSE_CODE% ").unwrap().is_number());
    }
}
