//! Responses of calls as JSON.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use prost_reflect::{DynamicMessage, FieldDescriptor, Value};
use ringway_api::{Blame, Body, BodyError, BodyStream, Chunk, Frame, Headers};

use super::any::too_deep;
use super::config::{Binding, HTTP_BODY, Rules, Streams};
use super::fault::Fault;
use super::status::Ended;

/// The media type and the content of a response whose content is one message.
pub(super) fn unary(rules: &Rules, binding: &Binding, content: &[u8]) -> Result<(String, Vec<u8>), Fault> {
    let (message, rest) = match frame(content, content.len()) {
        Ok(Some((message, len))) => (message, content.get(len..).unwrap_or_default()),
        Ok(None) => return Err(Fault::bad_gateway("the response has no whole message")),
        Err(what) => return Err(Fault::bad_gateway(what)),
    };
    if !rest.is_empty() {
        return Err(Fault::bad_gateway("the response has more than one message"));
    }
    let message = decode(rules, binding, message).map_err(Fault::bad_gateway)?;
    let raw = match &binding.response_body {
        None => raw(&message),
        Some(field) => message.get_field(field).as_message().and_then(raw),
    };
    if let Some((kind, content)) = raw {
        return Ok((kind, content));
    }
    let mut document = Vec::new();
    write(rules, &message, binding.response_body.as_ref(), &mut document).map_err(Fault::bad_gateway)?;
    Ok(("application/json".into(), document))
}

/// The content of a response of many messages.
pub(super) struct JsonStream {
    rules: Arc<Rules>,
    binding: Arc<Binding>,
    inner: Body,
    /// Received, and less than a message.
    waiting: Vec<u8>,
    /// What the header fields said.
    early: Option<Ended>,
    begun: bool,
    ended: bool,
}

const MALFORMED: BodyError = BodyError::new(Blame::Upstream, "grpc_json_malformed_response");
const FAILED: BodyError = BodyError::new(Blame::Upstream, "grpc_json_call_failed");

impl JsonStream {
    pub(super) fn new(rules: &Arc<Rules>, binding: &Arc<Binding>, inner: Body, early: Option<Ended>) -> Self {
        let (rules, binding) = (Arc::clone(rules), Arc::clone(binding));
        Self { rules, binding, inner, waiting: Vec::new(), early, begun: false, ended: false }
    }

    /// The JSON of all messages that have arrived whole.
    fn arrived(&mut self, chunk: &[u8]) -> Result<Vec<u8>, BodyError> {
        self.waiting.extend_from_slice(chunk);
        let mut out = Vec::new();
        let mut rest = self.waiting.as_slice();
        while let Some((message, len)) = frame(rest, self.rules.max_body).map_err(|_| MALFORMED)? {
            match (self.rules.streams, self.begun) {
                (Streams::Array, false) => out.push(b'['),
                (Streams::Array, true) => out.push(b','),
                (Streams::Lines, _) => {}
            }
            self.begun = true;
            let message = decode(&self.rules, &self.binding, message).map_err(|_| MALFORMED)?;
            write(&self.rules, &message, self.binding.response_body.as_ref(), &mut out).map_err(|_| MALFORMED)?;
            if self.rules.streams == Streams::Lines {
                out.push(b'\n');
            }
            rest = rest.get(len..).unwrap_or_default();
        }
        let done = self.waiting.len() - rest.len();
        self.waiting.drain(..done);
        Ok(out)
    }

    /// The last of the content, if the call ended well.
    fn end(&mut self, trailers: Option<&Headers>) -> Option<Result<Frame, BodyError>> {
        self.ended = true;
        let ended = trailers.and_then(Ended::read).or_else(|| self.early.take());
        if ended.is_none_or(|ended| ended.code != 0) {
            return Some(Err(FAILED));
        }
        if !self.waiting.is_empty() {
            return Some(Err(MALFORMED));
        }
        match (self.rules.streams, self.begun) {
            (Streams::Array, false) => Some(Ok(Frame::Data(Chunk::from_static(b"[]")))),
            (Streams::Array, true) => Some(Ok(Frame::Data(Chunk::from_static(b"]")))),
            (Streams::Lines, _) => None,
        }
    }
}

impl BodyStream for JsonStream {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        loop {
            match ready!(self.inner.poll_frame(cx)) {
                Some(Ok(Frame::Data(chunk))) => match self.arrived(&chunk) {
                    Ok(out) if out.is_empty() => {}
                    Ok(out) => return Poll::Ready(Some(Ok(Frame::Data(Chunk::from(out))))),
                    Err(error) => return Poll::Ready(Some(Err(error))),
                },
                Some(Ok(Frame::Trailers(trailers))) => return Poll::Ready(self.end(Some(&trailers))),
                None => return Poll::Ready(self.end(None)),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            }
        }
    }

    fn remaining(&self) -> Option<u64> {
        None
    }
}

/// The first message of gRPC's framing and the length of its frame; `None` if it has not arrived whole.
fn frame(bytes: &[u8], limit: usize) -> Result<Option<(&[u8], usize)>, &'static str> {
    let Some((prefix, rest)) = bytes.split_first_chunk::<5>() else { return Ok(None) };
    let [compressed, a, b, c, d] = *prefix;
    if compressed != 0 {
        return Err("the response is compressed, which was not asked for");
    }
    let len = u32::from_be_bytes([a, b, c, d]) as usize;
    if len > limit {
        return Err("the response has a message that is too long");
    }
    Ok(rest.get(..len).map(|message| (message, len + 5)))
}

fn decode(rules: &Rules, binding: &Binding, bytes: &[u8]) -> Result<DynamicMessage, &'static str> {
    let message = DynamicMessage::decode(binding.output.clone(), bytes);
    let message = message.map_err(|_| "the response is no message of its type")?;
    if binding.any && too_deep(&rules.pool, &message) {
        return Err("the response has too many messages of any type within each other");
    }
    Ok(message)
}

/// A `google.api.HttpBody`
fn raw(message: &DynamicMessage) -> Option<(String, Vec<u8>)> {
    use prost_reflect::ReflectMessage;
    if message.descriptor().full_name() != HTTP_BODY {
        return None;
    }
    let kind = message.get_field_by_number(1)?.as_str()?.to_owned();
    let data = message.get_field_by_number(2)?.as_bytes()?.to_vec();
    Some((kind, data))
}

/// Writes a message, or this field of it.
fn write(
    rules: &Rules,
    message: &DynamicMessage,
    field: Option<&FieldDescriptor>,
    out: &mut Vec<u8>,
) -> Result<(), &'static str> {
    const UNSAYABLE: &str = "the response has what JSON cannot say";
    let mut json = serde_json::Serializer::new(&mut *out);
    let Some(field) = field else {
        return message.serialize_with_options(&mut json, &rules.print).map_err(|_| UNSAYABLE);
    };
    let value = message.get_field(field);
    if let Value::Message(inner) = value.as_ref() {
        return inner.serialize_with_options(&mut json, &rules.print).map_err(|_| UNSAYABLE);
    }
    // Only within a message do values know how they are written: it is taken out of one that has nothing else.
    let mut around = DynamicMessage::new(field.parent_message().clone());
    around.set_field(field, value.into_owned());
    let mut document = Vec::new();
    let mut json = serde_json::Serializer::new(&mut document);
    around.serialize_with_options(&mut json, &rules.print.clone().skip_default_fields(true)).map_err(|_| UNSAYABLE)?;
    for name in [field.json_name(), field.name()] {
        let before = format!("{{{}:", serde_json::Value::from(name));
        if let Some(value) = document.strip_prefix(before.as_bytes()).and_then(|rest| rest.strip_suffix(b"}")) {
            out.extend_from_slice(value);
            return Ok(());
        }
    }
    let print = rules.print.clone().skip_default_fields(false);
    let document = around.serialize_with_options(serde_json::value::Serializer, &print).map_err(|_| UNSAYABLE)?;
    let member = document.get(field.json_name()).or_else(|| document.get(field.name()));
    serde_json::to_writer(out, member.unwrap_or(&serde_json::Value::Null)).map_err(|_| UNSAYABLE)
}
