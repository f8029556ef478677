//! gRPC-Web to gRPC: browsers, which cannot see trailers, call gRPC servers.
//!
//! After "Protocol differences vs gRPC over HTTP2" of the protocol's description (gRPC's `PROTOCOL-WEB`). Messages are
//! framed alike in both; what differs is the media type, that the status is the last frame of the content instead of
//! trailers, and that the `-text` form is base64.

mod request;
mod response;
mod status;
mod text;

use std::sync::Arc;

use http::{Method, StatusCode};
use ringway_api::{
    Action, Body, FilterCx, InvalidField, Known, Request, RequestHead, Response, StreamCx, StreamFilter,
};
use schemars::JsonSchema;
use serde::Deserialize;

use self::request::TextRequest;
use self::response::WebResponse;
use crate::media_type::{Form, MediaType};

/// Translates gRPC-Web calls (`application/grpc-web`, `application/grpc-web-text`) to gRPC and their responses back.
///
/// Nothing is buffered: a piece of content is passed on as it comes, 16 KiB at a time where it is base64. Other
/// requests pass untouched, and so do responses that are not gRPC's: their HTTP status is for the client to map.
#[derive(Debug)]
pub struct GrpcWeb;

/// There is nothing to choose.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GrpcWebConfig {}

/// What the response has to become.
#[derive(Debug)]
pub struct WebCall {
    form: Form,
    /// The message format of the request, which is the response's unless it says otherwise.
    format: Box<[u8]>,
}

// === impl GrpcWeb ===

impl StreamFilter for GrpcWeb {
    const NAME: &'static str = "grpc_web";
    type Config = GrpcWebConfig;
    type Compiled = ();
    type State = Option<WebCall>;

    fn compile(_: GrpcWebConfig) -> Result<(), String> {
        Ok(())
    }

    fn build(_: Arc<()>, _: Option<&Self>, _: FilterCx) -> Self {
        Self
    }

    fn on_request(&self, call: &mut Option<WebCall>, request: &mut Request, _: &StreamCx) -> Action {
        let Some(kind) = request.head.headers.known(Known::ContentType).and_then(MediaType::parse) else {
            return Action::Continue;
        };
        if kind.form == Form::Grpc || request.head.method != Method::POST {
            return Action::Continue;
        }
        let text = kind.form == Form::WebText;
        let format = Box::from(kind.format);
        let form = accepted(&request.head).unwrap_or(kind.form);
        let grpc = MediaType { form: Form::Grpc, format: kind.format }.to_value();
        if become_grpc(&mut request.head, &grpc).is_err() {
            // The type was valid as it came and its part is; were it not, the request would be no gRPC-Web.
            return Action::Continue;
        }
        if text {
            // Its length is another once it is decoded.
            request.head.headers.remove_known(Known::ContentLength);
            if !request.body.is_empty() {
                request.body = Body::Stream(Box::new(TextRequest::new(std::mem::take(&mut request.body))));
            }
        }
        *call = Some(WebCall { form, format });
        Action::Continue
    }

    fn on_response(&self, call: &mut Option<WebCall>, response: &mut Response, _: &StreamCx) {
        let Some(call) = call.take() else { return };
        let headers = &mut response.head.headers;
        let Some(kind) = headers.known(Known::ContentType).and_then(MediaType::parse) else { return };
        if kind.form != Form::Grpc {
            return;
        }
        let format = [kind.format, &*call.format].into_iter().find(|format| !format.is_empty());
        // A sender names the format; the one that goes without saying is `proto`.
        let web = MediaType { form: call.form, format: format.unwrap_or(b"proto") }.to_value();
        if headers.set_known(Known::ContentType, &web).is_err() {
            return;
        }
        headers.remove_known(Known::ContentLength);
        headers.remove_known(Known::Trailer);
        let early = status::take_from(headers);
        let owed = response.head.status == StatusCode::OK;
        let body = std::mem::take(&mut response.body);
        response.body = Body::Stream(Box::new(WebResponse::new(body, call.form == Form::WebText, early, owed)));
    }
}

/// The form that the client wants the response in, if it says so.
fn accepted(head: &RequestHead) -> Option<Form> {
    let ranges = head.headers.all("accept").flat_map(|value| value.split(|b| *b == b','));
    ranges.filter_map(MediaType::parse).map(|kind| kind.form).find(|form| *form != Form::Grpc)
}

/// What of the head differs, the length aside.
fn become_grpc(head: &mut RequestHead, content_type: &[u8]) -> Result<(), InvalidField> {
    head.headers.set_known(Known::ContentType, content_type)?;
    head.headers.set_known(Known::Te, b"trailers")?;
    // Both spoke to who understands gRPC-Web, and were understood here.
    head.headers.remove("x-grpc-web");
    if accepted(head).is_some() {
        head.headers.remove("accept");
    }
    Ok(())
}
