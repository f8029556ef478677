//! How calls end: gRPC's status as HTTP's, and as JSON.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::StatusCode;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};
use ringway_api::Headers;
use serde_json::{Value, json};

use super::any::too_deep;
use super::config::Rules;
use super::fault::Fault;
use crate::grpc_message::unescape;

/// The status of a call, as trailers or header fields say it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) code: u32,
    message: String,
    /// A `google.rpc.Status` in base64.
    details: Vec<u8>,
}

/// The fields that are gRPC's own, and nothing to HTTP clients.
pub(super) const FIELDS: [&str; 5] =
    ["grpc-status", "grpc-message", "grpc-status-details-bin", "grpc-encoding", "grpc-accept-encoding"];

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// `UNKNOWN`, which a status that is none counts as ("Status codes and their use in gRPC").
const UNKNOWN: u32 = 2;

/// `google.rpc.Status`
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

impl Ended {
    /// What the fields say, if they say how a call ended.
    pub(super) fn read(fields: &Headers) -> Option<Self> {
        let code = fields.first("grpc-status")?;
        let code = str::from_utf8(code).ok().and_then(|code| code.trim().parse().ok()).unwrap_or(UNKNOWN);
        let message = unescape(fields.first("grpc-message").unwrap_or_default());
        let details = fields.first("grpc-status-details-bin").unwrap_or_default().to_vec();
        Some(Self { code, message, details })
    }

    /// As clients are told of it.
    pub(super) fn fault(&self, rules: &Rules) -> Fault {
        let status = BASE64.decode(&self.details).ok().and_then(|bytes| Status::decode(bytes.as_slice()).ok());
        let details = status.unwrap_or_default().details.iter().map(|any| any.json(rules)).collect();
        Fault { status: http_status(self.code), code: self.code, message: self.message.clone(), details }
    }
}

impl Any {
    /// As JSON has it ("ProtoJSON Format"), where the descriptor set has the type; otherwise with its bytes in base64.
    fn json(&self, rules: &Rules) -> Value {
        let name = self.type_url.rsplit('/').next().unwrap_or_default();
        match self
            .message(&rules.pool, name)
            .map(|message| message.serialize_with_options(serde_json::value::Serializer, &rules.print))
        {
            Some(Ok(Value::Object(mut object))) if !name.starts_with("google.protobuf.") => {
                object.insert("@type".into(), Value::String(self.type_url.clone()));
                Value::Object(object)
            }
            Some(Ok(value)) => json!({ "@type": self.type_url, "value": value }),
            Some(Err(_)) | None => json!({ "@type": self.type_url, "value": BASE64.encode(&self.value) }),
        }
    }

    fn message(&self, pool: &DescriptorPool, name: &str) -> Option<DynamicMessage> {
        let message = DynamicMessage::decode(pool.get_message_by_name(name)?, self.value.as_slice()).ok()?;
        (!too_deep(pool, &message)).then_some(message)
    }
}

/// The mapping that `google.rpc.Code` describes.
fn http_status(code: u32) -> StatusCode {
    let status = match code {
        0 => 200,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        _ => 500,
    };
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
