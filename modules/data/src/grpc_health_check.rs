//! Answers gRPC health checks (`grpc.health.v1.Health`, gRPC's "Health Checking Protocol").

mod check;
mod message;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use http::{Method, StatusCode};
use ringway_api::{Action, Body, FilterCx, Known, Request, Response, ResponseHead, StreamCx, StreamFilter};
use schemars::JsonSchema;
use serde::Deserialize;

use self::check::{CheckReply, Status};
use crate::media_type::{Form, MediaType};

/// Answers `grpc.health.v1.Health/Check` with what the configuration says; no upstream sees it.
///
/// Other methods of the service are answered with UNIMPLEMENTED, `Watch` among them: what this filter says changes
/// with the configuration alone, and clients take that answer as "do not ask again". Requests for other services, and
/// those that are not gRPC with protobuf messages, pass untouched.
#[derive(Debug)]
pub struct GrpcHealthCheck {
    services: Services,
}

/// The options of [`GrpcHealthCheck`].
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GrpcHealthCheckConfig {
    /// The services' health by full name, such as `package.Service`; the empty name is the server as a whole. What is
    /// not listed is answered with NOT_FOUND.
    #[serde(default = "whole_server")]
    pub services: BTreeMap<String, Serving>,
}

/// The health of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Serving {
    /// It takes calls.
    Serving,
    /// It takes no calls.
    NotServing,
}

/// The services that are known, by name.
type Services = Arc<HashMap<Box<str>, Serving>>;

const SERVICE: &[u8] = b"/grpc.health.v1.Health/";

fn whole_server() -> BTreeMap<String, Serving> {
    BTreeMap::from([(String::new(), Serving::Serving)])
}

// === impl GrpcHealthCheck ===

impl StreamFilter for GrpcHealthCheck {
    const NAME: &'static str = "grpc_health_check";
    type Config = GrpcHealthCheckConfig;
    type Compiled = HashMap<Box<str>, Serving>;
    type State = ();

    fn compile(config: GrpcHealthCheckConfig) -> Result<Self::Compiled, String> {
        if config.services.is_empty() {
            return Err(
                "`services` is empty, so that every check would fail: list what is served, or leave it out to \
                        say that the server is serving"
                    .into(),
            );
        }
        for name in config.services.keys() {
            if name.bytes().any(|b| b == b'/' || b <= b' ' || b >= 0x7f) {
                return Err(format!("services: {name:?} is no service: write its full name, `package.Service`"));
            }
        }
        Ok(config.services.into_iter().map(|(name, health)| (name.into_boxed_str(), health)).collect())
    }

    fn build(config: Arc<Self::Compiled>, _: Option<&Self>, _: FilterCx) -> Self {
        Self { services: config }
    }

    fn on_request(&self, (): &mut (), request: &mut Request, _: &StreamCx) -> Action {
        let Some(method) = request.head.path().strip_prefix(SERVICE) else { return Action::Continue };
        let kind = request.head.headers.known(Known::ContentType).and_then(MediaType::parse);
        let protobuf = kind.is_some_and(|kind| kind.form == Form::Grpc && matches!(kind.format, b"" | b"proto"));
        if !protobuf || request.head.method != Method::POST {
            return Action::Continue;
        }
        let mut head = ResponseHead::new(StatusCode::OK).with_content_type("application/grpc");
        let body = if method == b"Check" {
            let asked = std::mem::take(&mut request.body);
            Body::Stream(Box::new(CheckReply::new(asked, Arc::clone(&self.services))))
        } else {
            Status::NO_METHOD.add_to(&mut head.headers);
            Body::Empty
        };
        Action::Respond(Box::new(Response { head, body }))
    }
}
