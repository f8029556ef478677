//! Requests as messages.

use std::sync::Arc;

use http::{Method, StatusCode};
use prost::Message;
use prost_reflect::{DeserializeOptions, DynamicMessage, FieldDescriptor, MessageDescriptor, Value};
use ringway_api::{Body, Chunk, InvalidField, Known, Request, RequestHead};

use super::config::{Binding, BodyRule, HTTP_BODY, Rules};
use super::fault::Fault;
use super::template::{Bound, decode};
use super::text::{resolve, set};
use super::unique::Unique;

/// A request on its way to become a call: what its head says of the message.
#[derive(Debug)]
pub(super) struct Call {
    rules: Arc<Rules>,
    binding: Arc<Binding>,
    parts: Vec<Part>,
    content_type: String,
}

/// A field that the head says.
#[derive(Debug)]
struct Part {
    fields: Vec<FieldDescriptor>,
    text: String,
    /// It comes from the path, so that it counts more than the content.
    of_path: bool,
}

/// How many parameters a query may have: each is compared with those before.
const MAX_PARAMETERS: usize = 1000;

/// The longest text of an error that is passed on, in bytes.
const ERROR_LIMIT: usize = 256;

impl Call {
    pub(super) fn new(
        rules: &Arc<Rules>,
        binding: &Arc<Binding>,
        bound: &[Bound<'_>],
        request: &Request,
    ) -> Result<Self, Fault> {
        let mut parts = Vec::new();
        for Bound { field, text, several } in bound {
            let malformed = || Fault::bad_request(format!("{field}: malformed percent-encoding in the path"));
            let text = decode(text, *several, false).ok_or_else(malformed)?;
            // `compile` has resolved it.
            let fields = resolve(&binding.input, field).unwrap_or_default();
            parts.push(Part { fields, text, of_path: true });
        }
        let head = &request.head;
        let pairs = head.query().unwrap_or_default().split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
        for (at, pair) in pairs.enumerate() {
            if at == MAX_PARAMETERS {
                return Err(Fault::bad_request(format!("the query has more than {MAX_PARAMETERS} parameters")));
            }
            parts.extend(of_query(rules, binding, &parts, pair)?);
        }
        let kind = head.headers.known(Known::ContentType).unwrap_or_default();
        let content_type = String::from_utf8_lossy(kind).into_owned();
        if binding.reads_json() && !request.body.is_empty() {
            expect_json(head)?;
        }
        Ok(Self { rules: Arc::clone(rules), binding: Arc::clone(binding), parts, content_type })
    }

    pub(super) fn limit(&self) -> usize {
        self.rules.max_body
    }

    /// Makes the request, whose content this is, the call.
    pub(super) fn finish(self, content: &[u8], request: &mut Request) -> Result<(), Fault> {
        let message = self.message(content)?;
        let len = message.encoded_len();
        let Ok(prefix) = u32::try_from(len) else { return Err(Fault::too_large(self.rules.max_body)) };
        let mut frame = Vec::with_capacity(5 + len);
        frame.push(0);
        frame.extend_from_slice(&prefix.to_be_bytes());
        message.encode_raw(&mut frame);
        if become_call(&mut request.head, &self.binding).is_err() {
            debug_assert!(false, "names in a descriptor set are identifiers");
            return Err(Fault::new(StatusCode::INTERNAL_SERVER_ERROR, "the method has a name that no path has"));
        }
        request.body = Body::Full(Chunk::from(frame));
        Ok(())
    }

    fn message(&self, content: &[u8]) -> Result<DynamicMessage, Fault> {
        let Binding { input, body, .. } = &*self.binding;
        let mut message = match body {
            _ if content.is_empty() => DynamicMessage::new(input.clone()),
            BodyRule::None if self.rules.ignore_unknown => DynamicMessage::new(input.clone()),
            BodyRule::None => return Err(Fault::bad_request("content, where the method has none")),
            BodyRule::Whole if input.full_name() == HTTP_BODY => self.raw(input, content),
            BodyRule::Whole => {
                check(content)?;
                self.parse(content)?
            }
            BodyRule::Field(field) => match field.kind().as_message() {
                Some(kind) if kind.full_name() == HTTP_BODY && !field.is_list() => {
                    let mut message = DynamicMessage::new(input.clone());
                    message.set_field(field, Value::Message(self.raw(kind, content)));
                    message
                }
                _ => {
                    // One value, so that it cannot bring fields of the message around it.
                    check(content)?;
                    let name = format!("{{\"{}\":", field.name());
                    self.parse(&[name.as_bytes(), content, b"}"].concat())?
                }
            },
        };
        for part in &self.parts {
            let set = set(&mut message, &part.fields, &part.text, part.of_path);
            set.map_err(|what| Fault::bad_request(format!("{}: {what}", name(&part.fields))))?;
        }
        Ok(message)
    }

    fn parse(&self, content: &[u8]) -> Result<DynamicMessage, Fault> {
        let options = DeserializeOptions::new().deny_unknown_fields(!self.rules.ignore_unknown);
        let mut json = serde_json::Deserializer::from_slice(content);
        let mut track = serde_path_to_error::Track::new();
        let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
        let message = DynamicMessage::deserialize_with_options(self.binding.input.clone(), tracked, &options);
        let message = message.map_err(|error| {
            let fault = fault(&error);
            match track.path().to_string().as_str() {
                "." => fault,
                path => Fault { message: format!("{path}: {}", fault.message), ..fault },
            }
        })?;
        Ok(message)
    }

    /// A `google.api.HttpBody`
    fn raw(&self, kind: &MessageDescriptor, content: &[u8]) -> DynamicMessage {
        let mut message = DynamicMessage::new(kind.clone());
        for (number, value) in
            [(1, Value::String(self.content_type.clone())), (2, Value::Bytes(content.to_vec().into()))]
        {
            if message.try_set_field_by_number(number, value).is_err() {
                debug_assert!(false, "google.api.HttpBody has them");
            }
        }
        message
    }
}

impl Binding {
    fn reads_json(&self) -> bool {
        match &self.body {
            BodyRule::None => false,
            BodyRule::Whole => self.input.full_name() != HTTP_BODY,
            BodyRule::Field(field) => field.kind().as_message().is_none_or(|kind| kind.full_name() != HTTP_BODY),
        }
    }
}

/// What a pair of the query says.
fn of_query(rules: &Rules, binding: &Binding, said: &[Part], pair: &[u8]) -> Result<Option<Part>, Fault> {
    let end = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
    let (key, value) = pair.split_at(end);
    let malformed = || Fault::bad_request("malformed percent-encoding in the query");
    let key = decode(key, false, true).ok_or_else(malformed)?;
    let shown = key.get(..key.floor_char_boundary(ERROR_LIMIT)).unwrap_or_default();
    let fields = match (&binding.body, resolve(&binding.input, &key)) {
        (BodyRule::Whole, _) | (_, None) => None,
        (BodyRule::Field(body), Some(fields)) if fields.first() == Some(body) => None,
        (_, fields) => fields,
    };
    let Some(fields) = fields else {
        return match rules.ignore_unknown {
            true => Ok(None),
            false => Err(Fault::bad_request(format!("the query has {shown:?}, which is no field that it can say"))),
        };
    };
    let single = fields.last().is_some_and(|field| !field.is_list());
    if let Some(other) = said.iter().find(|part| part.fields == fields)
        && (single || other.of_path)
    {
        return Err(Fault::bad_request(format!("{shown:?} is there more than once")));
    }
    let text = decode(value.strip_prefix(b"=").unwrap_or_default(), false, true).ok_or_else(malformed)?;
    Ok(Some(Part { fields, text, of_path: false }))
}

fn name(fields: &[FieldDescriptor]) -> String {
    fields.iter().map(FieldDescriptor::name).collect::<Vec<_>>().join(".")
}

/// Whether content is one JSON value in which no name comes twice.
fn check(content: &[u8]) -> Result<(), Fault> {
    serde_json::from_slice::<Unique>(content).map(drop).map_err(|error| fault(&error))
}

fn fault(error: &serde_json::Error) -> Fault {
    if !error.is_data() {
        return Fault::bad_request(format!("the content, line {}, column {}: no JSON", error.line(), error.column()));
    }
    let mut what = error.to_string();
    // Where it is in the text says less than the field, and not the truth where the content is a field.
    what.truncate(what.rfind(" at line ").unwrap_or(what.len()));
    if what.len() > ERROR_LIMIT {
        what.truncate(what.floor_char_boundary(ERROR_LIMIT));
        what.push_str("...");
    }
    Fault::bad_request(what)
}

fn become_call(head: &mut RequestHead, binding: &Binding) -> Result<(), InvalidField> {
    head.method = Method::POST;
    head.set_path_and_query(binding.target.as_bytes())?;
    let headers = &mut head.headers;
    headers.remove_known(Known::ContentLength);
    for name in ["grpc-encoding", "grpc-accept-encoding", "accept-encoding", "content-encoding", "accept"] {
        headers.remove(name);
    }
    headers.set_known(Known::ContentType, b"application/grpc")?;
    headers.set_known(Known::Te, b"trailers")
}

/// Whether content is JSON as its head says: without a media type it is taken for that.
fn expect_json(head: &RequestHead) -> Result<(), Fault> {
    let unsupported = |what| Err(Fault::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, what));
    if head.headers.first("content-encoding").is_some_and(|coding| !coding.eq_ignore_ascii_case(b"identity")) {
        return unsupported("the content is compressed, which is not understood here");
    }
    let Some(kind) = head.headers.known(Known::ContentType) else { return Ok(()) };
    let essence = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
    if essence == b"application/json" || essence.ends_with(b"+json") {
        return Ok(());
    }
    unsupported("the content is no application/json")
}
