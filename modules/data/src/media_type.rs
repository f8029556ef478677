//! The media types of gRPC and gRPC-Web.

use ringway_api::{Known, RequestHead};

/// Whether a request is a call, of gRPC or of a protocol of framed calls: its client understands no other response than
/// that of its protocol.
pub(crate) fn is_call(head: &RequestHead) -> bool {
    let kind = || head.headers.known(Known::ContentType);
    let triple = || kind().is_some_and(|kind| kind.starts_with(b"application/triple"));
    !head.version.is_http() || kind().and_then(MediaType::parse).is_some() || triple()
}

/// A media type of the gRPC family, such as `application/grpc-web-text+proto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MediaType<'a> {
    pub(crate) form: Form,
    /// The message format after the `+`, such as `proto`; empty when it is not named.
    pub(crate) format: &'a [u8],
}

/// How messages and status travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `application/grpc`: status in the trailers.
    Grpc,
    /// `application/grpc-web`: status at the end of the content.
    Web,
    /// `application/grpc-web-text`: the same in base64.
    WebText,
}

impl Form {
    /// The media type without a format.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Grpc => "application/grpc",
            Self::Web => "application/grpc-web",
            Self::WebText => "application/grpc-web-text",
        }
    }
}

impl<'a> MediaType<'a> {
    /// Reads a field value, parameters aside; `None` when it is of another family. Media types have no case (RFC 9110,
    /// section 8.3.1).
    pub(crate) fn parse(value: &'a [u8]) -> Option<Self> {
        let end = value.iter().position(|b| *b == b';').unwrap_or(value.len());
        let essence = value.get(..end)?.trim_ascii();
        [Form::WebText, Form::Web, Form::Grpc].into_iter().find_map(|form| {
            let (name, rest) = essence.split_at_checked(form.as_str().len())?;
            if !name.eq_ignore_ascii_case(form.as_str().as_bytes()) {
                return None;
            }
            match rest.split_first() {
                None => Some(Self { form, format: &[] }),
                Some((b'+', format)) => Some(Self { form, format }),
                Some(_) => None,
            }
        })
    }

    /// As a field value.
    pub(crate) fn to_value(self) -> Vec<u8> {
        let plus: &[u8] = if self.format.is_empty() { b"" } else { b"+" };
        [self.form.as_str().as_bytes(), plus, self.format].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_family_is_read() {
        for (value, known) in [
            ("application/grpc", Some((Form::Grpc, ""))),
            ("Application/gRPC+proto ; x=y", Some((Form::Grpc, "proto"))),
            ("application/grpc-web", Some((Form::Web, ""))),
            ("application/grpc-web+json", Some((Form::Web, "json"))),
            ("application/grpc-web-text+proto; charset=utf-8", Some((Form::WebText, "proto"))),
            ("application/grpc-web-texts", None),
            ("application/grpcx", None),
            ("application/json", None),
            ("", None),
        ] {
            let expected = known.map(|(form, format): (_, &str)| MediaType { form, format: format.as_bytes() });
            assert_eq!(MediaType::parse(value.as_bytes()), expected, "{value}");
        }
        let value = |form, format| MediaType { form, format }.to_value();
        assert_eq!(value(Form::WebText, b"proto"), b"application/grpc-web-text+proto");
        assert_eq!(value(Form::Grpc, b""), b"application/grpc");
    }
}
