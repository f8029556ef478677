//! HTTP with JSON to gRPC, by a descriptor set and its `google.api.http` annotations.

mod any;
mod config;
mod fault;
mod request;
mod response;
mod status;
mod template;
mod text;
mod unique;

use std::future::poll_fn;
use std::sync::Arc;

use http::StatusCode;
use ringway_api::{
    Action, Body, FilterCx, Frame, Headers, Known, Request, RequestHead, Response, Resume, Stat, StreamCx, StreamFilter,
};

use self::config::{Binding, Rules, Streams};
pub use self::config::{GrpcJsonConfig, Streams as GrpcJsonStreams};
use self::fault::{Fault, set_content};
use self::request::Call;
use self::response::JsonStream;
use self::status::{Ended, FIELDS};
use crate::media_type::{Form, MediaType};
use crate::transcoding::{Counted, WITH_RESPONSES};

/// Makes requests that its descriptor set has methods for calls of these, and their responses JSON.
///
/// The content of a request is read whole, and so is a response of one message: both are bounded by an option. Streamed
/// responses pass message by message. Clients that stream are refused.
#[derive(Debug)]
pub struct GrpcJson {
    rules: Arc<Rules>,
    counted: Counted,
}

/// A request that became a call.
#[derive(Debug)]
pub struct Transcoded {
    binding: Arc<Binding>,
    /// What the trailers said.
    ended: Option<Ended>,
}

/// The longest text of a reply of the proxy's own that is put into JSON, in bytes.
const REPLY_LIMIT: usize = 1024;

// === impl GrpcJson ===

impl StreamFilter for GrpcJson {
    const NAME: &'static str = "grpc_json";
    const STATS: &'static [Stat] = WITH_RESPONSES;
    type Config = GrpcJsonConfig;
    type Compiled = Rules;
    type State = Option<Transcoded>;

    fn compile(config: GrpcJsonConfig) -> Result<Rules, String> {
        Rules::compile(config)
    }

    fn build(rules: Arc<Rules>, _: Option<&Self>, cx: FilterCx) -> Self {
        Self { rules, counted: Counted(cx.stats) }
    }

    fn on_request(&self, state: &mut Option<Transcoded>, request: &mut Request, _: &StreamCx) -> Action {
        let head = &request.head;
        let kind = head.headers.known(Known::ContentType).and_then(MediaType::parse);
        if !head.version.is_http() || head.tunnel.is_some() || kind.is_some() {
            return Action::Continue;
        }
        let Some((binding, bound)) = self.rules.find(&head.method, head.path()) else {
            return if self.rules.reject_unknown { self.counted.action(self.unknown(head)) } else { Action::Continue };
        };
        let binding = Arc::clone(binding);
        let call = if binding.method.is_client_streaming() {
            Err(Fault::new(
                StatusCode::NOT_IMPLEMENTED,
                "the method takes a stream of messages, which JSON here is not",
            ))
        } else if request.body.remaining().is_some_and(|len| len > self.rules.max_body as u64) {
            Err(Fault::too_large(self.rules.max_body))
        } else {
            Call::new(&self.rules, &binding, &bound, request)
        };
        let call = match call {
            Ok(call) => call,
            Err(fault) => return self.counted.action(Action::Respond(fault.response())),
        };
        *state = Some(Transcoded { binding, ended: None });
        match std::mem::take(&mut request.body) {
            Body::Empty => self.counted.action(finish(call, b"", request)),
            Body::Full(content) => self.counted.action(finish(call, &content, request)),
            body @ Body::Stream(_) => self.counted.wait(wait(body, call)),
        }
    }

    fn response_limit(&self, state: &Option<Transcoded>) -> Option<usize> {
        // What frames a message is not part of it.
        let unary = state.as_ref().is_some_and(|call| !call.binding.method.is_server_streaming());
        unary.then_some(self.rules.max_body.saturating_add(5))
    }

    fn on_trailers(&self, state: &mut Option<Transcoded>, trailers: &Headers) {
        if let Some(call) = state {
            call.ended = Ended::read(trailers);
        }
    }

    fn on_response(&self, state: &mut Option<Transcoded>, response: &mut Response, _: &StreamCx) {
        let Some(Transcoded { binding, ended }) = state.take() else { return };
        let headers = &mut response.head.headers;
        let kind = headers.known(Known::ContentType).and_then(MediaType::parse);
        if kind.is_none_or(|kind| kind.form != Form::Grpc) {
            return replied(response);
        }
        let ended = ended.or_else(|| Ended::read(headers));
        FIELDS.iter().for_each(|name| headers.remove(name));
        match &ended {
            Some(ended) if ended.code != 0 => return ended.fault(&self.rules).tell(response),
            None if response.head.status != StatusCode::OK => {
                self.counted.failed();
                return Fault::bad_gateway("the host has answered what gRPC does not").tell(response);
            }
            _ => {}
        }
        if binding.method.is_server_streaming() {
            let kind = match self.rules.streams {
                Streams::Array => "application/json",
                Streams::Lines => "application/x-ndjson",
            };
            let body = std::mem::take(&mut response.body);
            set_content(response, kind, Vec::new());
            response.body = Body::Stream(Box::new(JsonStream::new(&self.rules, &binding, body, ended)));
            return;
        }
        let content = match &response.body {
            Body::Full(content) => content.as_slice(),
            // Nothing else is left of a stream that was asked for whole.
            Body::Empty | Body::Stream(_) => &[],
        };
        let outcome = match ended {
            Some(_) => response::unary(&self.rules, &binding, content),
            None => Err(Fault::bad_gateway("the response ended without a status")),
        };
        match outcome {
            Ok((kind, document)) => set_content(response, &kind, document),
            Err(fault) => {
                self.counted.failed();
                fault.tell(response);
            }
        }
    }
}

impl GrpcJson {
    /// The answer to a request that nothing fits.
    fn unknown(&self, head: &RequestHead) -> Action {
        let allowed = self.rules.allowed(head.path());
        if allowed.is_empty() {
            return Action::Respond(Fault::new(StatusCode::NOT_FOUND, "nothing is served at this path").response());
        }
        let fault = Fault::new(StatusCode::METHOD_NOT_ALLOWED, "this path is not served by this method");
        let mut response = fault.response();
        let set = response.head.headers.append("allow", allowed.join(", ").as_bytes());
        debug_assert!(set.is_ok(), "methods are tokens");
        Action::Respond(response)
    }
}

fn finish(call: Call, content: &[u8], request: &mut Request) -> Action {
    match call.finish(content, request) {
        Ok(()) => Action::Reroute,
        Err(fault) => Action::Respond(fault.response()),
    }
}

/// Reads content to its end, then makes the call of it.
async fn wait(mut body: Body, call: Call) -> Resume {
    let limit = call.limit();
    let mut content = Vec::new();
    while let Some(frame) = poll_fn(|cx| body.poll_frame(cx)).await {
        match frame {
            Ok(Frame::Data(chunk)) if chunk.len() > limit - content.len() => {
                return Box::new(move |_| Action::Respond(Fault::too_large(limit).response()));
            }
            Ok(Frame::Data(chunk)) => content.extend_from_slice(&chunk),
            Ok(Frame::Trailers(_)) => break,
            Err(error) => {
                let status = error.status.unwrap_or(StatusCode::BAD_REQUEST);
                return Box::new(move |_| Action::Respond(Fault::new(status, "the content broke off").response()));
            }
        }
    }
    Box::new(move |request| finish(call, &content, request))
}

/// Makes a reply of the proxy's own JSON. Other responses, which come from hosts that do not speak gRPC, pass.
fn replied(response: &mut Response) {
    let status = response.head.status;
    let message = match &response.body {
        Body::Empty => status.canonical_reason().unwrap_or("error").to_owned(),
        Body::Full(content) if content.len() <= REPLY_LIMIT => String::from_utf8_lossy(content).into_owned(),
        Body::Full(_) | Body::Stream(_) => return,
    };
    let plain = response.head.headers.known(Known::ContentType).is_none_or(|kind| kind.starts_with(b"text/plain"));
    if plain && (status.is_client_error() || status.is_server_error()) {
        Fault::new(status, message).tell(response);
    }
}
