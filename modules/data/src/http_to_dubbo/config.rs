//! The options, and what is made of them.

use http::Method;
use ringway_api::{ByteSize, Headers, Millis};
use schemars::JsonSchema;
use serde::Deserialize;

use super::path::Template;
use super::types::{Kind, Type};

/// The options of [`HttpToDubbo`](super::HttpToDubbo).
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpToDubboConfig {
    /// Which requests become which calls. Of several that fit, the first one counts.
    pub mappings: Vec<MappingConfig>,
    /// Answer requests that nothing fits with 404, or 405 if only the method differs; otherwise they pass untouched.
    #[serde(default)]
    pub strict: bool,
    /// The longest content of a request, and of a result: 413, and 502.
    #[serde(default = "one_mebibyte")]
    pub max_body: ByteSize,
    /// Header fields that become attachments where a request has them, in lower case.
    #[serde(default)]
    pub headers: Vec<String>,
}

/// One kind of request, and the call that it becomes.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MappingConfig {
    /// The path; a segment `{name}` stands for any text.
    pub path: String,
    /// The method.
    #[serde(default = "post")]
    pub http_method: String,
    /// The full name of the interface.
    pub service: String,
    /// The name of its method.
    pub method: String,
    /// The version of the service.
    #[serde(default)]
    pub version: Option<String>,
    /// The group of the service.
    #[serde(default)]
    pub group: Option<String>,
    /// What the host is told of how long the caller waits.
    #[serde(default)]
    pub timeout: Option<Millis>,
    /// Call by `$invoke`, for which the host converts objects itself.
    #[serde(default)]
    pub generic: bool,
    /// The parameters, in order.
    #[serde(default)]
    pub parameters: Vec<ParameterConfig>,
}

/// A parameter of a method.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ParameterConfig {
    /// Its type as in Java, with full names: `int`, `java.lang.String[]`, `java.util.List<java.lang.Long>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where its argument is: `body` (all of it), `body:MEMBER`, `path:NAME` or `query:NAME`.
    pub from: String,
    /// A missing argument is null; otherwise it is an error.
    #[serde(default)]
    pub optional: bool,
}

/// The options, made fit for use.
#[derive(Debug)]
pub struct Rules {
    pub(super) mappings: Vec<Mapping>,
    pub(super) strict: bool,
    pub(super) max_body: usize,
    pub(super) headers: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Mapping {
    pub(super) template: Template,
    pub(super) http_method: Method,
    /// `/service/method`
    pub(super) target: String,
    pub(super) service: String,
    pub(super) method: String,
    pub(super) version: Option<String>,
    pub(super) group: Option<String>,
    pub(super) timeout: Option<Millis>,
    pub(super) generic: bool,
    pub(super) parameters: Vec<Parameter>,
}

#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) kind: Type,
    pub(super) source: Source,
    pub(super) optional: bool,
    /// How errors name it.
    pub(super) label: String,
}

/// Where an argument comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Body,
    Member(String),
    /// The named segment of this number.
    Path(usize),
    Query(String),
}

fn post() -> String {
    "POST".into()
}

fn one_mebibyte() -> ByteSize {
    ByteSize(1 << 20)
}

impl Rules {
    pub(super) fn compile(config: HttpToDubboConfig) -> Result<Self, String> {
        if config.mappings.is_empty() {
            return Err("`mappings` is empty, so that no request becomes a call: list some".into());
        }
        if config.max_body.0 == 0 {
            return Err("max_body: 0 leaves room for no content at all: 1MiB, say".into());
        }
        for name in &config.headers {
            let reserved = ["path", "interface", "version", "group", "timeout", "generic"];
            if Headers::new().append(name, b"").is_err() || name.bytes().any(|b| b.is_ascii_uppercase()) {
                return Err(format!("headers: {name:?} is no name of a header field in lower case"));
            }
            if reserved.contains(&name.as_str()) {
                return Err(format!("headers: {name:?} is an attachment that a mapping says"));
            }
        }
        let mut mappings: Vec<Mapping> = Vec::with_capacity(config.mappings.len());
        for (at, raw) in config.mappings.into_iter().enumerate() {
            let mapping = Mapping::compile(raw).map_err(|error| format!("mappings[{at}].{error}"))?;
            let covers =
                |other: &Mapping| other.http_method == mapping.http_method && other.template.covers(&mapping.template);
            if let Some(before) = mappings.iter().position(covers) {
                return Err(format!("mappings[{at}].path: every request for it is one for mappings[{before}]"));
            }
            mappings.push(mapping);
        }
        Ok(Self { mappings, strict: config.strict, max_body: config.max_body.bytes(), headers: config.headers })
    }
}

impl Mapping {
    fn compile(raw: MappingConfig) -> Result<Self, String> {
        let template = Template::parse(&raw.path)?;
        let http_method = Method::from_bytes(raw.http_method.as_bytes())
            .ok()
            .filter(|method| method.as_str().bytes().all(|b| !b.is_ascii_lowercase()) && *method != Method::CONNECT)
            .ok_or_else(|| format!("http_method: {:?} is no method in capitals, such as GET", raw.http_method))?;
        for (key, name) in [("service", &raw.service), ("method", &raw.method)] {
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'$' | b'-');
            if name.is_empty() || !name.bytes().all(plain) || name.bytes().all(|b| b == b'.') {
                return Err(format!("{key}: {name:?} is no name"));
            }
        }
        for (key, text) in [("version", &raw.version), ("group", &raw.group)] {
            if let Some(text) = text
                && (text.is_empty() || Headers::new().append(key, text.as_bytes()).is_err())
            {
                return Err(format!("{key}: {text:?} is none: leave it out if there is none"));
            }
        }
        if raw.timeout == Some(Millis(0)) {
            return Err("timeout: 0 is no time: leave it out to tell none".into());
        }
        let mut parameters = Vec::with_capacity(raw.parameters.len());
        for (at, parameter) in raw.parameters.into_iter().enumerate() {
            let compiled = Parameter::compile(parameter, at, &template, &http_method);
            parameters.push(compiled.map_err(|error| format!("parameters[{at}].{error}"))?);
        }
        let sources = || parameters.iter().map(|parameter: &Parameter| &parameter.source);
        let taken = |(at, source): (usize, &Source)| sources().take(at).any(|before| before == source);
        if let Some(at) = sources().enumerate().position(taken) {
            return Err(format!("parameters[{at}].from: another one takes that"));
        }
        let whole = parameters.iter().filter(|parameter| parameter.source == Source::Body).count();
        let members = parameters.iter().any(|parameter| matches!(parameter.source, Source::Member(_)));
        if whole > 0 && members {
            return Err("parameters: one takes the whole body, so that nothing of it is left for another".into());
        }
        Ok(Self {
            target: format!("/{}/{}", raw.service, raw.method),
            template,
            http_method,
            service: raw.service,
            method: raw.method,
            version: raw.version,
            group: raw.group,
            timeout: raw.timeout,
            generic: raw.generic,
            parameters,
        })
    }

    /// Whether an argument is read from the content.
    pub(super) fn reads_body(&self) -> bool {
        self.parameters.iter().any(|parameter| matches!(parameter.source, Source::Body | Source::Member(_)))
    }
}

impl Parameter {
    fn compile(raw: ParameterConfig, at: usize, template: &Template, http_method: &Method) -> Result<Self, String> {
        let kind = Type::parse(&raw.kind).map_err(|error| format!("type: {error}"))?;
        let from = raw.from.as_str();
        let source = match from.split_once(':') {
            None if from == "body" => Source::Body,
            Some(("body", name)) if !name.is_empty() => Source::Member(name.into()),
            Some(("query", name)) if !name.is_empty() => Source::Query(name.into()),
            Some(("path", name)) => match template.names().position(|other| other == name) {
                Some(place) => Source::Path(place),
                None => return Err(format!("from: the path has no segment {{{name}}}")),
            },
            _ => {
                return Err(format!("from: {from:?} is not one of `body`, `body:MEMBER`, `path:NAME`, `query:NAME`"));
            }
        };
        let text = match (&source, &kind.kind) {
            (Source::Body | Source::Member(_), _) => true,
            // Several values of one name.
            (Source::Query(_), Kind::List { element, .. }) => element.has_text(),
            _ => kind.has_text(),
        };
        if !text {
            return Err(format!("from: {from}: a {} cannot be made from text, only from the body", kind.name));
        }
        let safe = [Method::GET, Method::HEAD].contains(http_method);
        if safe && matches!(source, Source::Body | Source::Member(_)) {
            return Err(format!("from: {from}: the content of {http_method} has no meaning (RFC 9110, section 9.3.1)"));
        }
        if raw.optional && (kind.primitive || matches!(source, Source::Path(_))) {
            let why = if kind.primitive { "a primitive type is never null" } else { "a path always has its segments" };
            return Err(format!("optional: {why}"));
        }
        let label = format!("parameter {} ({}, from {from})", at + 1, kind.name);
        Ok(Self { kind, source, optional: raw.optional, label })
    }
}
