//! The messages around values (`triple_wrapper.proto` of Apache Dubbo), and gRPC's frame around these.

use prost::Message;

/// `TripleRequestWrapper`
#[derive(Clone, PartialEq, Message)]
pub(super) struct RequestWrapper {
    #[prost(string, tag = "1")]
    pub(super) serialize_type: String,
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub(super) args: Vec<Vec<u8>>,
    #[prost(string, repeated, tag = "3")]
    pub(super) arg_types: Vec<String>,
}

/// `TripleResponseWrapper`
#[derive(Clone, PartialEq, Message)]
pub(super) struct ResponseWrapper {
    #[prost(string, tag = "1")]
    pub(super) serialize_type: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) data: Vec<u8>,
    #[prost(string, tag = "3")]
    pub(super) kind: String,
}

/// A message in its frame; `None` if no frame is that long.
pub(super) fn frame(message: &impl Message) -> Option<Vec<u8>> {
    let len = message.encoded_len();
    let mut out = Vec::with_capacity(5 + len);
    out.push(0);
    out.extend_from_slice(&u32::try_from(len).ok()?.to_be_bytes());
    message.encode_raw(&mut out);
    Some(out)
}

/// The only message of a content; `None` if there is none, or more, or it is compressed or none of its type.
pub(super) fn only<M: Message + Default>(content: &[u8]) -> Option<M> {
    let ([0, a, b, c, d], message) = content.split_first_chunk::<5>()? else { return None };
    let len = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
    (message.len() == len).then(|| M::decode(message).ok())?
}
