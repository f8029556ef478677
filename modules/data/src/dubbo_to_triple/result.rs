//! Results.

use http::StatusCode;
use ringway_api::{Body, Chunk, Headers, Known, Response, ResponseHead, rpc};
use ringway_hessian2::{MEDIA_TYPE, Reader, Writer};

use super::attachments;
use super::status::Ended;
use super::wrapper::{ResponseWrapper, only};
use crate::media_type::{Form, MediaType};

/// Dubbo's statuses.
const OK: u8 = 20;
const BAD_RESPONSE: u8 = 50;

/// The kinds of results without attachments; with them they are three more.
const EXCEPTION: i32 = 0;
const VALUE: i32 = 1;
const NULL: i32 = 2;
const WITH_ATTACHMENTS: i32 = 3;

/// The response to a Dubbo2 call of which this is Triple's. `attachments`: the caller reads them.
pub(super) fn translate(response: &Response, trailers: Option<&Headers>, attachments: bool) -> Response {
    let headers = &response.head.headers;
    let kind = headers.known(Known::ContentType).and_then(MediaType::parse);
    if kind.is_none_or(|kind| kind.form != Form::Grpc) {
        let status = response.head.status;
        let status = if status.is_success() { StatusCode::BAD_GATEWAY } else { status };
        return error(BAD_RESPONSE, status, "the host has answered what Triple does not");
    }
    let Some(ended) = trailers.and_then(Ended::read).or_else(|| Ended::read(headers)) else {
        return bad("the result ended without a status");
    };
    if ended.code != 0 {
        let (status, http) = ended.dubbo();
        return error(status, http, &ended.message);
    }
    let content = match &response.body {
        Body::Full(content) => content.as_slice(),
        // Nothing else is left of a stream that was asked for whole.
        Body::Empty | Body::Stream(_) => &[],
    };
    let Some(wrapper) = only::<ResponseWrapper>(content) else {
        return bad("the result is no wrapper of Triple");
    };
    if !wrapper.data.is_empty() && !matches!(wrapper.serialize_type.as_str(), "hessian4" | "hessian2") {
        return bad("the result is not in hessian2");
    }
    let threw = [Some(headers), trailers].into_iter().flatten().find_map(|fields| fields.first("tri-exception-code"));
    let threw = threw.is_some_and(|code| code != b"0");
    // One value and nothing more: what follows would be read as attachments.
    let mut reader = Reader::skipping(&wrapper.data, 0);
    let is_null = matches!(wrapper.data.as_slice(), [] | [b'N']);
    if !is_null && (reader.skip().is_err() || reader.position() != wrapper.data.len()) {
        return bad("the result is not one value in hessian2");
    }
    let kind = match (threw, is_null) {
        (true, true) => return bad("the service threw, and nothing says what"),
        (true, false) => EXCEPTION,
        (false, true) => NULL,
        (false, false) => VALUE,
    };
    let mut out = Vec::with_capacity(wrapper.data.len() + 64);
    Writer::new(&mut out).int(if attachments { kind + WITH_ATTACHMENTS } else { kind });
    if kind != NULL {
        out.extend_from_slice(&wrapper.data);
    }
    if attachments {
        attachments::write([Some(headers), trailers], &mut Writer::new(&mut out));
    }
    let mut made = made(OK, StatusCode::OK, out);
    if threw {
        let set = made.head.headers.append(rpc::EXCEPTION, b"true");
        debug_assert!(set.is_ok(), "a constant that is valid");
    }
    made
}

fn bad(message: &str) -> Response {
    error(BAD_RESPONSE, StatusCode::BAD_GATEWAY, message)
}

/// What went wrong, in words.
fn error(status: u8, http: StatusCode, message: &str) -> Response {
    let mut out = Vec::new();
    Writer::new(&mut out).string(message);
    made(status, http, out)
}

fn made(status: u8, http: StatusCode, content: Vec<u8>) -> Response {
    let mut head = ResponseHead::new(http).with_content_type(MEDIA_TYPE);
    let set = head.headers.append(rpc::STATUS, status.to_string().as_bytes());
    debug_assert!(set.is_ok(), "digits");
    Response { head, body: Body::Full(Chunk::from(content)) }
}
