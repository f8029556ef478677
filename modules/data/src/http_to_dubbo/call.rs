//! A request on its way to become a call.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use ringway_api::{Blame, Body, BodyError, BodyStream, Chunk, Frame, Millis, RequestHead};
use ringway_hessian2::{Value, Writer};

use super::argument::Generic;
use super::config::{Mapping, Parameter, Rules, Source};
use super::fault::Fault;
use super::json::Json;
use super::path;
use super::types::Kind;

/// The version of the protocol that calls are made in.
const DUBBO: &str = "2.0.2";

/// A call whose arguments are known as far as the request's head says them.
pub(super) struct Call {
    rules: Arc<Rules>,
    mapping: usize,
    /// `None` where the content says it.
    arguments: Vec<Option<Value>>,
    attachments: Vec<(String, String)>,
}

/// What the content of a request became, for the response to tell.
pub(super) type Told = Rc<RefCell<Option<Fault>>>;

/// The content of a call: reads all of the request's, then yields all of its own.
pub(super) struct CallBody {
    request: Body,
    call: Option<Call>,
    read: Vec<u8>,
    told: Told,
}

// === impl Call ===

impl Call {
    /// The call that a request is which fits the mapping with these segments.
    pub(super) fn new(
        rules: &Arc<Rules>,
        mapping: usize,
        segments: &[&[u8]],
        head: &RequestHead,
    ) -> Result<Self, Fault> {
        let mut call = Self { rules: Arc::clone(rules), mapping, arguments: Vec::new(), attachments: Vec::new() };
        let Some(rule) = rules.mappings.get(mapping) else { return Ok(call) };
        for parameter in &rule.parameters {
            call.arguments.push(parameter.of_head(segments, head)?);
        }
        for name in &rules.headers {
            let Some(value) = head.headers.first(name) else { continue };
            let value = std::str::from_utf8(value)
                .map_err(|_| Fault::bad_request(format!("the field {name} is no UTF-8, which attachments are")))?;
            call.attachments.push((name.clone(), value.to_owned()));
        }
        Ok(call)
    }

    /// What it was made by.
    pub(super) fn mapping(&self) -> Option<&Mapping> {
        self.rules.mappings.get(self.mapping)
    }

    /// The call's content, when this is the request's.
    pub(super) fn finish(self, content: &[u8]) -> Result<Chunk, Fault> {
        let Self { rules, mapping, arguments, attachments } = self;
        let Some(mapping) = rules.mappings.get(mapping) else { return Ok(Chunk::EMPTY) };
        let arguments = with_content(mapping, arguments, content)?;
        Ok(Chunk::from(write(mapping, &arguments, &attachments)))
    }
}

impl Parameter {
    /// The argument, if the head says it.
    fn of_head(&self, segments: &[&[u8]], head: &RequestHead) -> Result<Option<Value>, Fault> {
        let malformed = || self.fault("malformed percent-encoding");
        let mut texts = match &self.source {
            Source::Body | Source::Member(_) => return Ok(None),
            Source::Path(at) => {
                let segment = segments.get(*at).copied().unwrap_or_default();
                vec![path::decode(segment, false).ok_or_else(malformed)?]
            }
            Source::Query(name) => path::query(head.query().unwrap_or_default(), name).ok_or_else(malformed)?,
        };
        if texts.is_empty() {
            return if self.optional { Ok(Some(Value::Null)) } else { Err(self.fault("missing")) };
        }
        let value = match &self.kind.kind {
            Kind::List { element, wire } => {
                let items = texts.into_iter().map(|text| element.read_text(text));
                items.collect::<Result<_, _>>().map(|items| Value::List { type_name: wire.clone(), items })
            }
            _ if texts.len() > 1 => Err("there more than once".into()),
            _ => self.kind.read_text(texts.swap_remove(0)),
        };
        value.map(Some).map_err(|error| self.fault(error))
    }

    fn fault(&self, what: impl AsRef<str>) -> Fault {
        Fault::bad_request(format!("{}: {}", self.label, what.as_ref()))
    }
}

/// All the arguments.
fn with_content(mapping: &Mapping, arguments: Vec<Option<Value>>, content: &[u8]) -> Result<Vec<Value>, Fault> {
    let mut whole = None;
    let mut members = Vec::new();
    if mapping.reads_body() && !content.is_empty() {
        let json = serde_json::from_slice(content).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let what = if error.is_data() { "a name comes twice in one object" } else { "no JSON" };
            Fault::bad_request(format!("the content, line {line}, column {column}: {what}"))
        })?;
        let by_member = mapping.parameters.iter().any(|parameter| matches!(parameter.source, Source::Member(_)));
        match json {
            Json::Object(object) if by_member => members = object,
            _ if by_member => return Err(Fault::bad_request("the content is no JSON object")),
            json => whole = Some(json),
        }
    }
    let mut values = Vec::with_capacity(arguments.len());
    for (parameter, argument) in mapping.parameters.iter().zip(arguments) {
        if let Some(value) = argument {
            values.push(value);
            continue;
        }
        let json = match &parameter.source {
            Source::Member(name) => {
                let place = members.iter().position(|(member, _)| member == name);
                place.map(|place| members.swap_remove(place).1)
            }
            _ => whole.take(),
        };
        values.push(match json {
            Some(json) => {
                let value = parameter.kind.read_json(json, Generic(mapping.generic));
                value.map_err(|error| parameter.fault(error))?
            }
            None if parameter.optional => Value::Null,
            None => return Err(parameter.fault("missing")),
        });
    }
    Ok(values)
}

/// The body of a call: Dubbo's version, path, version, method, types of the arguments; these; the attachments
/// (`DubboCodec` of Apache Dubbo).
fn write(mapping: &Mapping, arguments: &[Value], more: &[(String, String)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out);
    writer.string(DUBBO);
    writer.string(&mapping.service);
    match &mapping.version {
        Some(version) => writer.string(version),
        None => writer.null(),
    }
    if mapping.generic {
        writer.string("$invoke");
        writer.string("Ljava/lang/String;[Ljava/lang/String;[Ljava/lang/Object;");
        writer.string(&mapping.method);
        writer.list(Some(&"[string".into()), arguments.len());
        mapping.parameters.iter().for_each(|parameter| writer.string(&parameter.kind.erased));
        writer.list(Some(&"[object".into()), arguments.len());
    } else {
        writer.string(&mapping.method);
        let types: String = mapping.parameters.iter().map(|parameter| parameter.kind.descriptor.as_str()).collect();
        writer.string(&types);
    }
    arguments.iter().for_each(|argument| writer.value(argument));
    let timeout = mapping.timeout.map(|Millis(millis)| millis.to_string());
    let said = [
        ("path", Some(mapping.service.as_str())),
        ("interface", Some(&mapping.service)),
        ("version", mapping.version.as_deref()),
        ("group", mapping.group.as_deref()),
        ("timeout", timeout.as_deref()),
        ("generic", mapping.generic.then_some("true")),
    ];
    let more = more.iter().map(|(name, value)| (name.as_str(), Some(value.as_str())));
    writer.map(None);
    for (name, value) in said.into_iter().chain(more) {
        let Some(value) = value else { continue };
        writer.string(name);
        writer.string(value);
    }
    writer.end();
    out
}

// === impl CallBody ===

impl CallBody {
    pub(super) fn new(request: Body, call: Call, told: Told) -> Self {
        Self { request, call: Some(call), read: Vec::new(), told }
    }

    fn poll_request(&mut self, limit: usize, cx: &mut Context<'_>) -> Poll<Result<Result<(), Fault>, BodyError>> {
        loop {
            match ready!(self.request.poll_frame(cx)) {
                Some(Ok(Frame::Data(chunk))) => {
                    if chunk.len() > limit - self.read.len() {
                        return Poll::Ready(Ok(Err(Fault::too_large(limit))));
                    }
                    self.read.extend_from_slice(&chunk);
                }
                Some(Err(error)) => return Poll::Ready(Err(error)),
                Some(Ok(Frame::Trailers(_))) | None => return Poll::Ready(Ok(Ok(()))),
            }
        }
    }
}

impl BodyStream for CallBody {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let Some(limit) = self.call.as_ref().map(|call| call.rules.max_body) else { return Poll::Ready(None) };
        let read = ready!(self.poll_request(limit, cx));
        let Some(call) = self.call.take() else { return Poll::Ready(None) };
        let content = std::mem::take(&mut self.read);
        let outcome = match read {
            Ok(read) => read.and_then(|()| call.finish(&content)),
            Err(error) => return Poll::Ready(Some(Err(error))),
        };
        Poll::Ready(Some(outcome.map(Frame::Data).map_err(|fault| {
            let error = BodyError::new(Blame::Downstream, "http_to_dubbo_bad_request").with_status(fault.status);
            *self.told.borrow_mut() = Some(fault);
            error
        })))
    }

    fn remaining(&self) -> Option<u64> {
        None
    }
}
