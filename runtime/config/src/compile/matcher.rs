//! What routes match.

use http::Method;
use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::hir::literal::Extractor;

use super::chain::networks;
use crate::error::Fault;
use crate::raw;
use crate::route::{Condition, FieldMatcher, Label, More, PathMatch, PathTemplate, RouteMatcher, TextKind};

/// Bytes a compiled regular expression may take.
const REGEX_SIZE: usize = 1 << 20;

/// A key below the route, and what is wrong with it.
pub(super) type Keyed = (String, Fault);

pub(super) fn fault(key: impl Into<String>, message: impl Into<String>) -> Keyed {
    (key.into(), Fault::new("", message))
}

pub(super) fn matcher(raw: &raw::Match) -> Result<RouteMatcher, Keyed> {
    let case_sensitive = raw.case_sensitive.unwrap_or(true);
    let method = |(at, name): (usize, &String)| {
        Method::from_bytes(name.as_bytes())
            .map_err(|_| fault(format!("match.methods[{at}]"), format!("`{name}` is no method")))
    };
    let labels = [(Label::VERSION, &raw.version), (Label::GROUP, &raw.group)];
    let labels = labels.into_iter().filter_map(|(names, wanted)| Some(Label { names, wanted: wanted.clone()? }));
    Ok(RouteMatcher {
        path: path(raw, case_sensitive)?,
        case_sensitive,
        methods: raw.methods.iter().enumerate().map(method).collect::<Result<_, _>>()?,
        headers: fields(&raw.headers, "match.headers", true)?,
        labels: labels.collect(),
        query: fields(&raw.query_parameters, "match.query_parameters", false)?,
        more: more(raw)?,
    })
}

fn path(raw: &raw::Match, case_sensitive: bool) -> Result<PathMatch, Keyed> {
    let absolute = |path: &str, key: &str| {
        if path.starts_with('/') {
            Ok(path.to_owned())
        } else {
            Err(fault(key, format!("`{path}` must begin with `/`")))
        }
    };
    let given = [&raw.prefix, &raw.path, &raw.path_separated_prefix, &raw.safe_regex, &raw.path_template];
    let called = raw.service.is_some() || raw.method.is_some();
    match (given.into_iter().flatten().count() + usize::from(raw.connect), called) {
        (0, true) => return call(raw.service.as_deref().unwrap_or("*"), raw.method.as_deref().unwrap_or("*")),
        (_, true) => return Err(fault("match", "`service` and `method` exclude the path matches and `connect`")),
        (1, false) => {}
        (0, false) => {
            let message = "exactly one of `prefix`, `path`, `path_separated_prefix`, `safe_regex` and `path_template` is \
                           needed, or a `service` or `method`";
            return Err(fault("match", message));
        }
        (_, false) if raw.connect => return Err(fault("match", "`connect` excludes the path matches")),
        _ => {
            let message =
                "exactly one of `prefix`, `path`, `path_separated_prefix`, `safe_regex` and `path_template` is allowed";
            return Err(fault("match", message));
        }
    }
    if let Some(prefix) = &raw.prefix {
        return Ok(PathMatch::Prefix(absolute(prefix, "match.prefix")?));
    }
    if let Some(path) = &raw.path {
        return Ok(PathMatch::Exact(absolute(path, "match.path")?));
    }
    if let Some(prefix) = &raw.path_separated_prefix {
        let prefix = absolute(prefix, "match.path_separated_prefix")?;
        if prefix.ends_with('/') {
            return Err(fault("match.path_separated_prefix", format!("`{prefix}` must not end with `/`")));
        }
        return Ok(PathMatch::Segments(prefix));
    }
    if let Some(pattern) = &raw.safe_regex {
        let regex = whole(pattern, case_sensitive, "match.safe_regex")?;
        return Ok(PathMatch::Regex(regex, literal(pattern)));
    }
    if let Some(template) = &raw.path_template {
        if !case_sensitive {
            return Err(fault("match.case_sensitive", "the case of a `path_template` always matters"));
        }
        let template = PathTemplate::parse(template).map_err(|error| fault("match.path_template", error))?;
        return Ok(PathMatch::Template(template));
    }
    Ok(PathMatch::Connect)
}

/// Calls are `POST /service/method`.
fn call(service: &str, method: &str) -> Result<PathMatch, Keyed> {
    for (key, name) in [("match.service", service), ("match.method", method)] {
        let plain = name.strip_suffix('*').unwrap_or(name);
        if name.is_empty() || plain.bytes().any(|b| !b.is_ascii_graphic() || b"/*?#%".contains(&b)) {
            let message = format!("`{name}` is no name; `*` may stand for its end, or for all of it");
            return Err(fault(key, message));
        }
    }
    Ok(match (service.strip_suffix('*'), method.strip_suffix('*')) {
        (None, None) => PathMatch::Exact(format!("/{service}/{method}")),
        (None, Some(begin)) => PathMatch::Prefix(format!("/{service}/{begin}")),
        (Some(begin), Some("")) => PathMatch::Prefix(format!("/{begin}")),
        (Some(begin), plain) => {
            let (end, plain) = (if plain.is_some() { ".*" } else { "" }, plain.unwrap_or(method));
            let pattern = format!("/{}[^/]*/{}{end}", regex::escape(begin), regex::escape(plain));
            PathMatch::Regex(whole(&pattern, true, "match.service")?, format!("/{begin}"))
        }
    })
}

fn more(raw: &raw::Match) -> Result<Option<Box<More>>, Keyed> {
    let fraction = match raw.runtime_fraction {
        None => None,
        Some(percent) if (0.0..=100.0).contains(&percent) => Some((percent / 100.0 * (1_u64 << 32) as f64) as u64),
        Some(percent) => {
            return Err(fault("match.runtime_fraction", format!("{percent} is not between 0 and 100 percent")));
        }
    };
    let more = More {
        cookies: fields(&raw.cookies, "match.cookies", true)?,
        grpc: raw.grpc,
        sources: networks(&raw.source, "match.source").map_err(|fault| (fault.path.clone(), fault))?,
        fraction,
    };
    let any = !more.cookies.is_empty() || more.grpc || !more.sources.is_empty() || more.fraction.is_some();
    Ok(any.then(|| Box::new(more)))
}

pub(super) fn fields(raw: &[raw::FieldMatch], key: &str, token: bool) -> Result<Vec<FieldMatcher>, Keyed> {
    raw.iter().enumerate().map(|(at, field)| field_matcher(field, &format!("{key}[{at}]"), token)).collect()
}

/// Compiles a condition on a header, for those who find its value themselves.
///
/// # Errors
/// The key below the condition, and what is wrong with it.
pub fn header_matcher(raw: &raw::FieldMatch) -> Result<FieldMatcher, (String, String)> {
    field_matcher(raw, "", true).map_err(|(key, fault)| (key.trim_start_matches('.').to_owned(), fault.message))
}

fn field_matcher(raw: &raw::FieldMatch, key: &str, token: bool) -> Result<FieldMatcher, Keyed> {
    if raw.name.is_empty() || (token && http::HeaderName::from_bytes(raw.name.as_bytes()).is_err()) {
        return Err(fault(format!("{key}.name"), format!("`{}` is no name", raw.name)));
    }
    let texts = [
        (TextKind::Exact, &raw.exact),
        (TextKind::Prefix, &raw.prefix),
        (TextKind::Suffix, &raw.suffix),
        (TextKind::Contains, &raw.contains),
    ];
    let ignore_case = raw.ignore_case;
    let texts = texts
        .into_iter()
        .filter_map(|(kind, wanted)| Some(Condition::Text { kind, wanted: wanted.clone()?, ignore_case }));
    let mut conditions: Vec<Condition> = texts.collect();
    if ignore_case && conditions.is_empty() {
        return Err(fault(format!("{key}.ignore_case"), "is for `exact`, `prefix`, `suffix` and `contains`"));
    }
    if let Some(pattern) = &raw.safe_regex {
        conditions.push(Condition::Regex(whole(pattern, true, &format!("{key}.safe_regex"))?));
    }
    if let Some(raw::IntegerRange { start, end }) = raw.range {
        if start >= end {
            return Err(fault(format!("{key}.range"), "`end` must be more than `start`"));
        }
        conditions.push(Condition::Range(start, end));
    }
    if raw.present.is_some() {
        conditions.push(Condition::Present);
    }
    if conditions.len() > 1 {
        let message =
            "only one of `exact`, `prefix`, `suffix`, `contains`, `safe_regex`, `range` and `present` is allowed";
        return Err(fault(key, message));
    }
    Ok(FieldMatcher {
        name: raw.name.clone(),
        condition: conditions.pop().unwrap_or(Condition::Present),
        invert: raw.invert != (raw.present == Some(false)),
        missing_is_empty: raw.treat_missing_as_empty,
    })
}

/// A regular expression for a whole text. The crate's take time linear in the text; their size is bounded here.
fn whole(pattern: &str, case_sensitive: bool, key: &str) -> Result<Regex, Keyed> {
    compiled(&format!("^(?:{pattern})$"), case_sensitive, key)
}

/// A regular expression for parts of a text.
pub(super) fn part(pattern: &str, key: &str) -> Result<Regex, Keyed> {
    compiled(pattern, true, key)
}

fn compiled(pattern: &str, case_sensitive: bool, key: &str) -> Result<Regex, Keyed> {
    RegexBuilder::new(pattern).case_insensitive(!case_sensitive).size_limit(REGEX_SIZE).build().map_err(|error| {
        let text = error.to_string();
        let last = text.lines().last().unwrap_or("not a regular expression");
        fault(key, last.trim_start_matches("error: ").to_owned())
    })
}

/// What every text that matches begins with; nothing where that cannot be said.
fn literal(pattern: &str) -> String {
    let Ok(hir) = regex_syntax::parse(pattern) else { return String::new() };
    let prefixes = Extractor::new().extract(&hir);
    let common = prefixes.longest_common_prefix().unwrap_or_default();
    std::str::from_utf8(common).unwrap_or_default().to_owned()
}
