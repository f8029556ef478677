//! HTTP with JSON to Dubbo2: requests become calls of Dubbo services, their results become responses.
//!
//! What is made is the body of a call in hessian2; a cluster of `protocol: dubbo` puts it in a frame.

mod argument;
mod call;
mod config;
mod date;
mod fault;
mod json;
mod path;
mod result;
mod types;

use std::rc::Rc;
use std::sync::Arc;

use http::{Method, StatusCode};
use ringway_api::{
    Action, Body, FilterCx, InvalidField, Known, Request, RequestHead, Response, Stat, StreamCx, StreamFilter, rpc,
};

use self::call::{Call, CallBody, Told};
pub use self::config::{HttpToDubboConfig, MappingConfig, ParameterConfig};
use self::config::{Mapping, Rules};
use self::fault::{Fault, set_json};
use crate::transcoding::{Counted, WITH_RESPONSES};

/// Makes requests that its mappings fit calls of Dubbo services, and results responses in JSON.
///
/// What a request says and the call cannot is an error of the client's, in JSON as well. The content of the request is
/// read whole, and so is the result: both are bounded by an option.
#[derive(Debug)]
pub struct HttpToDubbo {
    rules: Arc<Rules>,
    counted: Counted,
}

/// A request that became a call.
#[derive(Debug)]
pub struct Transcoded {
    told: Told,
}

/// Dubbo's "OK".
const OK: i64 = 20;

/// The longest text of a reply of the proxy's own that is put into JSON, in bytes.
const REPLY_LIMIT: usize = 1024;

// === impl HttpToDubbo ===

impl StreamFilter for HttpToDubbo {
    const NAME: &'static str = "http_to_dubbo";
    const STATS: &'static [Stat] = WITH_RESPONSES;
    type Config = HttpToDubboConfig;
    type Compiled = Rules;
    type State = Option<Transcoded>;

    fn compile(config: HttpToDubboConfig) -> Result<Rules, String> {
        Rules::compile(config)
    }

    fn build(rules: Arc<Rules>, _: Option<&Self>, cx: FilterCx) -> Self {
        Self { rules, counted: Counted(cx.stats) }
    }

    fn on_request(&self, state: &mut Option<Transcoded>, request: &mut Request, _: &StreamCx) -> Action {
        if !request.head.version.is_http() || request.head.tunnel.is_some() {
            return Action::Continue;
        }
        let outcome = match self.call(request) {
            Ok(Some(call)) => transcode(call, request),
            Ok(None) if self.rules.strict => return self.counted.action(self.unknown(&request.head)),
            Ok(None) => return Action::Continue,
            Err(fault) => Err(fault),
        };
        self.counted.action(match outcome {
            Ok(told) => {
                *state = Some(Transcoded { told });
                Action::Reroute
            }
            Err(fault) => Action::Respond(Box::new(fault.response())),
        })
    }

    fn response_limit(&self, state: &Option<Transcoded>) -> Option<usize> {
        state.as_ref().map(|_| self.rules.max_body)
    }

    fn on_response(&self, state: &mut Option<Transcoded>, response: &mut Response, _: &StreamCx) {
        let Some(Transcoded { told }) = state.take() else { return };
        if let Some(fault) = told.take() {
            self.counted.refused();
            return fault.tell(response);
        }
        let status = response.head.headers.first(rpc::STATUS);
        match status.and_then(|status| std::str::from_utf8(status).ok()?.parse().ok()) {
            Some(status) if answered(status, response).is_err() => self.counted.failed(),
            Some(_) => {}
            None => replied(response),
        }
    }
}

impl HttpToDubbo {
    /// The first mapping that fits, and the texts of its named segments.
    fn find<'a>(&self, head: &'a RequestHead) -> Option<(usize, Vec<&'a [u8]>)> {
        let path = head.path();
        let mappings = self.rules.mappings.iter().enumerate();
        mappings.filter(|(_, mapping)| mapping.http_method == head.method).find_map(|(at, mapping)| {
            let segments = mapping.template.fit(path)?;
            Some((at, segments))
        })
    }

    /// The answer to a request that no mapping fits.
    fn unknown(&self, head: &RequestHead) -> Action {
        let fits = self.rules.mappings.iter().filter(|mapping| mapping.template.fit(head.path()).is_some());
        let methods: Vec<&str> = fits.map(|mapping| mapping.http_method.as_str()).collect();
        if methods.is_empty() {
            let fault = Fault::new(StatusCode::NOT_FOUND, "nothing is served at this path");
            return Action::Respond(Box::new(fault.response()));
        }
        let fault = Fault::new(StatusCode::METHOD_NOT_ALLOWED, "this path is not served by this method");
        let mut response = fault.response();
        let set = response.head.headers.append("allow", methods.join(", ").as_bytes());
        debug_assert!(set.is_ok(), "methods are tokens");
        Action::Respond(Box::new(response))
    }

    /// The call that a request is, its content aside, if a mapping fits it.
    fn call(&self, request: &Request) -> Result<Option<Call>, Fault> {
        let Some((at, segments)) = self.find(&request.head) else { return Ok(None) };
        let limit = self.rules.max_body;
        if request.body.remaining().is_some_and(|len| len > limit as u64) {
            return Err(Fault::too_large(limit));
        }
        let call = Call::new(&self.rules, at, &segments, &request.head)?;
        if call.mapping().is_some_and(Mapping::reads_body) && !request.body.is_empty() {
            expect_json(&request.head)?;
        }
        Ok(Some(call))
    }
}

/// Makes a request its call.
fn transcode(call: Call, request: &mut Request) -> Result<Told, Fault> {
    if let Some(mapping) = call.mapping()
        && become_call(&mut request.head, mapping).is_err()
    {
        debug_assert!(false, "`compile` has made sure of it");
        return Err(Fault::new(StatusCode::INTERNAL_SERVER_ERROR, "the call has a name that a head cannot have"));
    }
    let told = Told::default();
    request.body = match std::mem::take(&mut request.body) {
        Body::Empty => Body::Full(call.finish(b"")?),
        Body::Full(content) => Body::Full(call.finish(&content)?),
        body @ Body::Stream(_) => Body::Stream(Box::new(CallBody::new(body, call, Rc::clone(&told)))),
    };
    Ok(told)
}

fn become_call(head: &mut RequestHead, mapping: &Mapping) -> Result<(), InvalidField> {
    head.method = Method::POST;
    head.set_path_and_query(mapping.target.as_bytes())?;
    for (name, value) in [(rpc::VERSION, &mapping.version), (rpc::GROUP, &mapping.group)] {
        head.headers.remove(name);
        if let Some(value) = value {
            head.headers.append(name, value.as_bytes())?;
        }
    }
    head.headers.remove_known(Known::ContentLength);
    head.headers.set_known(Known::ContentType, ringway_hessian2::MEDIA_TYPE.as_bytes())
}

/// Whether content is JSON as its head says: without a media type it is taken for that.
fn expect_json(head: &RequestHead) -> Result<(), Fault> {
    let unsupported = |what| Err(Fault::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, what));
    if head.headers.first("content-encoding").is_some_and(|coding| !coding.eq_ignore_ascii_case(b"identity")) {
        return unsupported("the content is compressed, which is not understood here");
    }
    let Some(kind) = head.headers.known(Known::ContentType) else { return Ok(()) };
    let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
    if kind == b"application/json" || kind.starts_with(b"application/") && kind.ends_with(b"+json") {
        return Ok(());
    }
    unsupported("the content is not application/json")
}

/// Makes a response of Dubbo's JSON. An error if it is none that can be translated: what says so is the response then.
fn answered(status: i64, response: &mut Response) -> Result<(), ()> {
    response.head.headers.remove(rpc::STATUS);
    [rpc::EXCEPTION, rpc::EXCEPTION_CLASS, rpc::EXCEPTION_MESSAGE, rpc::EXCEPTION_STACK]
        .iter()
        .for_each(|name| response.head.headers.remove(name));
    let content = match &response.body {
        Body::Full(content) => content.as_slice(),
        // Nothing else is left of a stream that was asked for whole.
        Body::Empty | Body::Stream(_) => &[],
    };
    if status != OK {
        let document = result::error(content, status);
        set_json(response, document);
        return Ok(());
    }
    match result::answer(content) {
        Ok((status, document)) => {
            response.head.status = status;
            set_json(response, document);
            Ok(())
        }
        Err(fault) => {
            fault.tell(response);
            Err(())
        }
    }
}

/// Makes a reply of the proxy's own JSON. Other responses, which come from hosts that do not speak Dubbo, pass.
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
