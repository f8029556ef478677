//! Dubbo2 to Triple: calls of Dubbo's old protocol go to hosts that speak its new one, which is gRPC.
//!
//! Triple has a mode for interfaces that are no protobuf services: each argument, and the result, is a value in
//! hessian2 in a protobuf message around it (`triple_wrapper.proto` of Apache Dubbo).

mod attachments;
mod call;
mod result;
mod status;
mod wrapper;

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;

use http::StatusCode;
use ringway_api::{
    Action, Body, ByteSize, Chunk, FilterCx, Frame, Headers, Request, Response, ResponseHead, Resume, Stat, StreamCx,
    StreamFilter, Version,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::transcoding::{Counted, REQUESTS};

/// Makes calls that came as Dubbo2 calls of Triple, and their responses Dubbo2's results.
///
/// Calls and results are read whole, bounded by an option. Requests of other protocols pass untouched.
#[derive(Debug)]
pub struct DubboToTriple {
    rules: Arc<DubboToTripleConfig>,
    counted: Counted,
}

/// The options of [`DubboToTriple`].
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DubboToTripleConfig {
    /// The interfaces whose calls are translated; a `*` at the end stands for any end. All calls if there is none here.
    #[serde(default)]
    pub services: Vec<String>,
    /// What hosts are told of who calls (`tri-consumer-appname`), where the call itself does not say it.
    #[serde(default)]
    pub app_name: Option<String>,
    /// What the serialization of arguments is called.
    #[serde(default)]
    pub serialize_type: SerializeType,
    /// The authority of requests; the interface's name if there is none.
    #[serde(default)]
    pub authority: Option<String>,
    /// The longest call, and the longest result.
    #[serde(default = "four_mebibytes")]
    pub max_body: ByteSize,
}

/// What hessian2 is called. It is the same serialization.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum SerializeType {
    /// As Apache Dubbo calls it within Triple.
    #[default]
    Hessian4,
    /// As it is called elsewhere.
    Hessian2,
}

/// A call on its way.
#[derive(Debug)]
pub struct Asked {
    became: Rc<Cell<Became>>,
    trailers: Option<Headers>,
}

/// What has become of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Became {
    /// Nothing yet; what is answered is for its caller as it is.
    #[default]
    Nothing,
    Triple {
        /// The caller reads attachments of results.
        attachments: bool,
    },
}

/// Why a call is refused, or a result is none. Codecs put it in the caller's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fault(StatusCode, &'static str);

const TOO_LARGE: Fault = Fault(StatusCode::PAYLOAD_TOO_LARGE, "the call is longer than max_body");

const fn four_mebibytes() -> ByteSize {
    ByteSize(4 << 20)
}

// === impl DubboToTriple ===

impl StreamFilter for DubboToTriple {
    const NAME: &'static str = "dubbo_to_triple";
    const STATS: &'static [Stat] = REQUESTS;
    type Config = DubboToTripleConfig;
    type Compiled = DubboToTripleConfig;
    type State = Option<Asked>;

    fn compile(config: DubboToTripleConfig) -> Result<DubboToTripleConfig, String> {
        for (at, service) in config.services.iter().enumerate() {
            if service.is_empty() || service.find('*').is_some_and(|star| star + 1 != service.len()) {
                return Err(format!(
                    "services[{at}]: {service:?} is no name of an interface, nor its beginning and a *"
                ));
            }
        }
        if config.app_name.as_ref().is_some_and(|name| !Headers::can_hold(b"x", name.as_bytes())) {
            return Err("app_name: no text that a header field can have".into());
        }
        if let Some(authority) = &config.authority
            && (authority.is_empty() || Request::default().head.set_authority(authority).is_err())
        {
            return Err(format!("authority: {authority:?} is none"));
        }
        Ok(config)
    }

    fn build(rules: Arc<DubboToTripleConfig>, _: Option<&Self>, cx: FilterCx) -> Self {
        Self { rules, counted: Counted(cx.stats) }
    }

    fn on_request(&self, state: &mut Option<Asked>, request: &mut Request, _: &StreamCx) -> Action {
        if request.head.version != Version::Rpc("dubbo") || !self.rules.serves(request.head.path()) {
            return Action::Continue;
        }
        let limit = self.rules.limit();
        if request.body.remaining().is_some_and(|len| len > limit as u64) {
            return self.counted.action(refuse(TOO_LARGE));
        }
        let became = Rc::default();
        *state = Some(Asked { became: Rc::clone(&became), trailers: None });
        match std::mem::take(&mut request.body) {
            Body::Empty => self.counted.action(finish(&self.rules, &became, b"", true, request)),
            Body::Full(content) => self.counted.action(finish(&self.rules, &became, &content, true, request)),
            body @ Body::Stream(_) => self.counted.wait(wait(Arc::clone(&self.rules), became, body)),
        }
    }

    fn response_limit(&self, state: &Option<Asked>) -> Option<usize> {
        // What frames and wraps a result is not part of it.
        state.as_ref().filter(|asked| asked.is_triple()).map(|_| self.rules.limit().saturating_add(1024))
    }

    fn on_trailers(&self, state: &mut Option<Asked>, trailers: &Headers) {
        if let Some(asked) = state {
            asked.trailers = Some(trailers.clone());
        }
    }

    fn on_response(&self, state: &mut Option<Asked>, response: &mut Response, _: &StreamCx) {
        let Some(Asked { became, trailers }) = state.take() else { return };
        if let Became::Triple { attachments } = became.get() {
            *response = result::translate(response, trailers.as_ref(), attachments);
        }
    }
}

impl DubboToTripleConfig {
    fn limit(&self) -> usize {
        usize::try_from(self.max_body.0).unwrap_or(usize::MAX)
    }

    /// Whether this path's service is one of those that are translated.
    fn serves(&self, path: &[u8]) -> bool {
        let path = path.strip_prefix(b"/").unwrap_or(path);
        let service = memchr::memrchr(b'/', path).and_then(|at| path.get(..at)).unwrap_or_default();
        let fits = |pattern: &String| match pattern.strip_suffix('*') {
            Some(start) => service.starts_with(start.as_bytes()),
            None => service == pattern.as_bytes(),
        };
        self.services.is_empty() || self.services.iter().any(fits)
    }
}

impl Asked {
    fn is_triple(&self) -> bool {
        self.became.get() != Became::Nothing
    }
}

/// Makes the request, whose content this is, a call of Triple. `whole`: its attachments are among the fields already.
fn finish(
    rules: &DubboToTripleConfig,
    became: &Cell<Became>,
    content: &[u8],
    whole: bool,
    request: &mut Request,
) -> Action {
    match call::translate(rules, content, whole, request) {
        Ok(attachments) => {
            became.set(Became::Triple { attachments });
            Action::Reroute
        }
        Err(fault) => refuse(fault),
    }
}

/// Reads content to its end, then makes the call of it.
async fn wait(rules: Arc<DubboToTripleConfig>, became: Rc<Cell<Became>>, mut body: Body) -> Resume {
    const BROKEN: Fault = Fault(StatusCode::BAD_REQUEST, "the call broke off");
    let mut content = Vec::new();
    while let Some(frame) = poll_fn(|cx| body.poll_frame(cx)).await {
        match frame {
            Ok(Frame::Data(chunk)) if chunk.len() > rules.limit() - content.len() => {
                return Box::new(|_| refuse(TOO_LARGE));
            }
            Ok(Frame::Data(chunk)) => content.extend_from_slice(&chunk),
            Ok(Frame::Trailers(_)) => break,
            Err(_) => return Box::new(|_| refuse(BROKEN)),
        }
    }
    Box::new(move |request| finish(&rules, &became, &content, false, request))
}

fn refuse(Fault(status, message): Fault) -> Action {
    let head = ResponseHead::new(status).with_content_type("text/plain");
    Action::Respond(Box::new(Response { head, body: Body::Full(Chunk::from(message)) }))
}
