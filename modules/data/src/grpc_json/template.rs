//! Templates of paths, as `google.api.http` writes them ("Path template syntax").

/// `/v1/{name=shelves/*}/books/{id}:verb`
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Template {
    /// Ordered so that of two templates which fit a path, the more special one is less.
    segments: Vec<Segment>,
    /// Without a verb is last.
    verb: Verb,
    variables: Vec<Variable>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Literal(String),
    /// `*`
    One,
    /// `**`, which is the last one.
    Rest,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verb {
    Named(String),
    None,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Variable {
    /// The path of the field, by names with dots.
    pub(super) field: String,
    from: usize,
    /// One beyond its last segment.
    to: usize,
}

/// What a variable stands for in a path, as it is written there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bound<'a> {
    pub(super) field: &'a str,
    pub(super) text: &'a [u8],
    /// It may be several segments: an escaped slash is not one that divides them.
    pub(super) several: bool,
}

impl Template {
    /// Reads a template; the error says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| Err(format!("{text:?} is no template of a path: {what}"));
        let Some(mut rest) = text.strip_prefix('/') else { return wrong("it does not start with /") };
        let mut made = Self { segments: Vec::new(), verb: Verb::None, variables: Vec::new() };
        loop {
            rest = match rest.strip_prefix('{') {
                Some(inner) => {
                    let Some((inner, after)) = inner.split_once('}') else { return wrong("a } is missing") };
                    let (field, pattern) = inner.split_once('=').unwrap_or((inner, "*"));
                    if field.is_empty() || !field.split('.').all(is_identifier) {
                        return wrong("a variable without a name of a field");
                    }
                    let from = made.segments.len();
                    for part in pattern.split('/') {
                        made.push(part)?;
                    }
                    made.variables.push(Variable { field: field.into(), from, to: made.segments.len() });
                    after
                }
                None => {
                    let end = rest.find(['/', ':', '{', '}']).unwrap_or(rest.len());
                    let (part, after) = rest.split_at(end);
                    made.push(part)?;
                    after
                }
            };
            if let Some(after) = rest.strip_prefix('/') {
                rest = after;
            } else if let Some(verb) = rest.strip_prefix(':') {
                if verb.is_empty() || verb.contains(['/', ':', '{', '}', '*']) {
                    return wrong("its verb is none");
                }
                made.verb = Verb::Named(verb.into());
                break;
            } else if rest.is_empty() {
                break;
            } else {
                return wrong("a / is missing");
            }
        }
        let open = made.segments.iter().position(|segment| *segment == Segment::Rest);
        if open.is_some_and(|at| at + 1 != made.segments.len()) {
            return wrong("** stands before the end");
        }
        Ok(made)
    }

    fn push(&mut self, part: &str) -> Result<(), String> {
        self.segments.push(match part {
            "*" => Segment::One,
            "**" => Segment::Rest,
            "" => return Err("a template of a path has an empty segment".into()),
            _ if part.contains(['*', '{', '}', '=', ':', '?', '#']) => {
                return Err(format!("{part:?} is no segment of a template"));
            }
            _ => Segment::Literal(part.into()),
        });
        Ok(())
    }

    /// What its variables name.
    pub(super) fn fields(&self) -> impl Iterator<Item = &str> {
        self.variables.iter().map(|variable| variable.field.as_str())
    }

    /// Whether the same paths fit both.
    pub(super) fn same_paths(&self, other: &Self) -> bool {
        self.segments == other.segments && self.verb == other.verb
    }

    /// What its variables stand for if the path fits. A `*` is never empty; `**` is any number of
    /// segments, also none.
    pub(super) fn fit<'a>(&'a self, path: &'a [u8]) -> Option<Vec<Bound<'a>>> {
        let path = match &self.verb {
            Verb::Named(verb) => path.strip_suffix(verb.as_bytes())?.strip_suffix(b":")?,
            Verb::None => path,
        };
        let path = path.strip_prefix(b"/")?;
        // Where each segment begins and ends.
        let mut places = Vec::with_capacity(self.segments.len());
        let mut at = 0;
        let mut left = true;
        for segment in &self.segments {
            if *segment == Segment::Rest {
                places.push((at.min(path.len()), path.len()));
                left = false;
                break;
            }
            if !left {
                return None;
            }
            let rest = path.get(at..)?;
            let len = memchr::memchr(b'/', rest);
            left = len.is_some();
            let len = len.unwrap_or(rest.len());
            let part = rest.get(..len)?;
            let fits = match segment {
                Segment::Literal(text) => text.as_bytes() == part,
                Segment::One | Segment::Rest => !part.is_empty(),
            };
            if !fits {
                return None;
            }
            places.push((at, at + len));
            at += len + 1;
        }
        if left {
            return None;
        }
        let bound = self.variables.iter().map(|variable| {
            let (from, _) = *places.get(variable.from)?;
            let (_, to) = *places.get(variable.to - 1)?;
            let several = variable.to - variable.from > 1 || self.segments.get(variable.from) == Some(&Segment::Rest);
            Some(Bound { field: &variable.field, text: path.get(from..to)?, several })
        });
        bound.collect()
    }
}

/// The text without its percent-encoding, as UTF-8. An escaped slash stays escaped in what may be `several` segments
/// ("the variable ... multi-segment" of `google.api.http`); `plus` stands for a space in queries.
pub(super) fn decode(text: &[u8], several: bool, plus: bool) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let (high, low) = (*rest.next()?, *rest.next()?);
                let digit = |byte: u8| char::from(byte).to_digit(16);
                match (digit(high)? << 4 | digit(low)?) as u8 {
                    b'/' if several => out.extend([b'%', high, low]),
                    byte => out.push(byte),
                }
            }
            b'+' if plus => out.push(b' '),
            byte => out.push(*byte),
        }
    }
    String::from_utf8(out).ok()
}

fn is_identifier(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_fit_paths() {
        for (template, path, bound) in [
            ("/v1/books", "/v1/books", Some("")),
            ("/v1/books", "/v1/books/", None),
            ("/v1/books", "/v1", None),
            ("/v1/{id}", "/v1/7", Some("id=7")),
            ("/v1/{id}", "/v1/", None),
            ("/v1/{name=shelves/*}/books/{book.id}", "/v1/shelves/a/books/b", Some("name=shelves/a,book.id=b")),
            ("/v1/{name=shelves/*}", "/v1/shelves/a/b", None),
            ("/v1/{name=**}", "/v1/a/b/c", Some("name=a/b/c")),
            ("/v1/{name=a/**}", "/v1/a/b%2Fc", Some("name=a/b%2Fc")),
            ("/v1/**", "/v1", Some("")),
            ("/v1/**", "/v1/", Some("")),
            ("/v1/{id}:merge", "/v1/7:merge", Some("id=7")),
            ("/v1/{id}:merge", "/v1/7", None),
            ("/v1/{id}:merge", "/v1/:merge", None),
            ("/v1/{id}", "/v1/7:merge", Some("id=7:merge")),
            ("/*/x", "/a/x", Some("")),
        ] {
            let template = Template::parse(template).unwrap();
            let fit = template.fit(path.as_bytes()).map(|bound| {
                let text = |bound: &Bound<'_>| format!("{}={}", bound.field, str::from_utf8(bound.text).unwrap());
                bound.iter().map(text).collect::<Vec<_>>().join(",")
            });
            assert_eq!(fit.as_deref(), bound, "{template:?} {path}");
        }
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for text in [
            "",
            "v1",
            "/",
            "/v1//x",
            "/{",
            "/{}",
            "/{=a}",
            "/{a=}",
            "/{a}{b}",
            "/a*",
            "/**/x",
            "/{a=**}/b",
            "/a:",
            "/a:b:c",
        ] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_more_special_template_comes_first() {
        let order = ["/a/b:v", "/a/b", "/a/{x}:v", "/a/{x}", "/a/{x=**}:v", "/a/{x=**}", "/{x}/b", "/{x}/{y}"];
        let mut sorted: Vec<_> = order.iter().rev().map(|text| Template::parse(text).unwrap()).collect();
        sorted.sort();
        let expected: Vec<_> = order.iter().map(|text| Template::parse(text).unwrap()).collect();
        assert_eq!(sorted, expected);
    }

    #[test]
    fn percent_encoding_is_undone() {
        for (text, several, plus, expected) in [
            ("a%20b+c", false, false, Some("a b+c")),
            ("a%20b+c", false, true, Some("a b c")),
            ("a%2fb", false, false, Some("a/b")),
            ("a%2fb%41", true, false, Some("a%2fbA")),
            ("%", false, false, None),
            ("%4", false, false, None),
            ("%zz", false, false, None),
            ("%ff", false, false, None),
        ] {
            assert_eq!(decode(text.as_bytes(), several, plus).as_deref(), expected, "{text}");
        }
    }
}
