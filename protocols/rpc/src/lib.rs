//! Protocols of framed calls for Ringway.
//!
//! A protocol is one file: an [`RpcCodec`], which says where frames end and what they mean. [`Framed`] makes it a
//! [`Protocol`](ringway_api::Protocol): connections, multiplexing, heartbeats, deadlines, limits, drain and errors are
//! written once, there.
//!
//! A call is a request like any other: `POST /service/method`, its attachments are header fields, its frame's content
//! is the body. What nobody edits is sent on as the bytes it came in, under another id.

#![forbid(unsafe_code)]

pub mod bolt;
mod client;
mod codec;
pub mod dubbo;
mod feed;
mod fields;
mod framed;
mod heartbeat;
mod message;
mod options;
mod outbox;
mod pairs;
mod pulse;
mod reader;
mod serve;
mod status;
mod target;
pub mod tars;
pub mod thrift;
mod wire;

pub use codec::{Asked, Call, Carries, CodecError, Decoded, FrameHead, Kind, Mode, Origin, Outcome, RpcCodec};
pub use fields::{
    EXCEPTION, EXCEPTION_CLASS, EXCEPTION_MESSAGE, EXCEPTION_STACK, Fields, GROUP, STATUS, VERSION, own_status, rewrite,
};
pub use framed::Framed;
pub use message::{request_head, response_head};
pub use options::RpcOptions;
pub use pairs::{edited_pairs, read_pairs, write_pair};
pub use reader::{Event, Limits, Reader, Received};
pub use status::Statuses;
pub use target::Target;
