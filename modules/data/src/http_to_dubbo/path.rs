//! Paths: templates of segments, and the text in percent-encoding (RFC 3986, section 2.1).

/// `/users/{id}`: segments that are given, and segments that are named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    segments: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Given(String),
    Named(String),
}

impl Template {
    pub(super) fn parse(path: &str) -> Result<Self, String> {
        let wrong = |why: &str| Err(format!("path: {path:?} {why}"));
        let Some(rest) = path.strip_prefix('/') else { return wrong("does not begin with `/`") };
        let mut segments = Vec::new();
        for text in rest.split('/') {
            let name = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
            segments.push(match name {
                Some(name) if name.is_empty() || name.contains(['{', '}']) => {
                    return wrong("has a segment without a proper name in `{}`");
                }
                Some(name) => Segment::Named(name.into()),
                None if text.contains(['{', '}']) => return wrong("has `{}` around a part of a segment only"),
                None if text.bytes().any(|b| b <= b' ' || b >= 0x7f || matches!(b, b'?' | b'#')) => {
                    return wrong("has a byte that a path cannot have: percent-encode it, and leave out the query");
                }
                None => Segment::Given(text.into()),
            });
        }
        let template = Self { segments };
        let names: Vec<_> = template.names().collect();
        if names.iter().enumerate().any(|(at, name)| names.iter().skip(at + 1).any(|other| other == name)) {
            return wrong("has a name twice");
        }
        Ok(template)
    }

    /// The names of its segments, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Named(name) => Some(name.as_str()),
            Segment::Given(_) => None,
        })
    }

    /// The texts of the named segments if the path fits. A named segment is never empty.
    pub(super) fn fit<'a>(&self, path: &'a [u8]) -> Option<Vec<&'a [u8]>> {
        let mut parts = path.strip_prefix(b"/")?.split(|byte| *byte == b'/');
        let mut named = Vec::new();
        for segment in &self.segments {
            let part = parts.next()?;
            match segment {
                Segment::Given(text) if text.as_bytes() == part => {}
                Segment::Named(_) if !part.is_empty() => named.push(part),
                _ => return None,
            }
        }
        parts.next().is_none().then_some(named)
    }

    /// Whether every path that fits `other` fits this one too.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let covers = |(one, two): (&Segment, &Segment)| match (one, two) {
            (Segment::Named(_), Segment::Given(text)) => !text.is_empty(),
            (Segment::Named(_), Segment::Named(_)) => true,
            (Segment::Given(_), _) => one == two,
        };
        self.segments.len() == other.segments.len() && self.segments.iter().zip(&other.segments).all(covers)
    }
}

/// The values that a query has for `name`; `None` if one of them, or a name, is malformed.
pub(super) fn query(query: &[u8], name: &str) -> Option<Vec<String>> {
    let mut values = Vec::new();
    for pair in query.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        let end = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        let (key, value) = pair.split_at(end);
        if decode(key, true)? == name {
            values.push(decode(value.strip_prefix(b"=").unwrap_or_default(), true)?);
        }
    }
    Some(values)
}

/// The text without its percent-encoding; `plus` stands for a space in forms and queries. `None` if an escape is
/// malformed, or the text is no UTF-8.
pub(super) fn decode(text: &[u8], plus: bool) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let mut digit = || char::from(*rest.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                out.push((high << 4 | low) as u8);
            }
            b'+' if plus => out.push(b' '),
            byte => out.push(*byte),
        }
    }
    String::from_utf8(out).ok()
}
