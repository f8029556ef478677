//! Heads, from and to the types of the http crate that h2 speaks (RFC 9113, section 8.3).

use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use ringway_api::{
    Chunk, Headers, Known, LocalReply, RequestHead, ResponseFlag, ResponseHead, Scheme, Span, Tunnel, Version,
};

use crate::options::Http2Options;

/// A request's head and what its fields say of its content.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) head: RequestHead,
    pub(crate) content_length: Option<u64>,
    /// The client waits for 100 before it sends content (RFC 9110, section 10.1.1).
    pub(crate) expects_continue: bool,
}

/// A request's head as the proxy sees it. What breaks RFC 9113, section 8 as a whole has been refused by h2; what is
/// left breaks RFC 9110 or a limit, and is answered.
pub(crate) fn request(parts: &http::request::Parts, options: &Http2Options) -> Result<Received, LocalReply> {
    if parts.headers.len() > usize::from(options.max_headers) {
        return Err(too_large("too_many_headers"));
    }
    if has_ragged_value(&parts.headers) {
        return Err(malformed("invalid_field_value"));
    }
    let method = parts.method.clone();
    let protocol = parts.extensions.get::<h2::ext::Protocol>();
    let path = parts.uri.path_and_query().map_or("", PathAndQuery::as_str);
    let given = parts.uri.authority().map(Authority::as_str);
    let host = match single_host(&parts.headers) {
        Ok(host) => host,
        Err(()) => return Err(malformed("invalid_host")),
    };
    // RFC 9113, section 8.3.1: they must not differ, and either may be missing.
    let authority = match (given, host) {
        (Some(given), Some(host)) if !given.as_bytes().eq_ignore_ascii_case(host) => {
            return Err(malformed("authority_and_host_differ"));
        }
        (Some(given), _) => given.as_bytes(),
        (None, Some(host)) => host,
        (None, None) => return Err(malformed("missing_authority")),
    };
    if authority.contains(&b'@') {
        // RFC 9113, section 8.3.1: no userinfo.
        return Err(malformed("userinfo_in_authority"));
    }
    let tunnel = method == Method::CONNECT;
    let path = if tunnel && protocol.is_none() { "" } else { path };
    match path.as_bytes() {
        // RFC 9113, section 8.5: where a tunnel goes is said by its authority alone.
        b"" if given.is_none() => return Err(malformed("missing_authority")),
        b"" | [b'/', ..] => {}
        b"*" if method == Method::OPTIONS => {}
        _ => return Err(malformed("invalid_target")),
    }

    let mut block = Block::with_room(&parts.headers, authority.len() + path.len());
    let authority = block.text(authority);
    let target = block.text(path.as_bytes());
    let fields = block.fields(&parts.headers, |known| match known {
        // In the authority already; a connection's own matters; answered here.
        Some(Known::Host | Known::Te | Known::Expect) => false,
        _ => true,
    });
    let headers = block.finish(&fields);
    let method = if protocol.is_some() { Method::GET } else { method };
    let mut head = RequestHead::received(method, Version::Http2, headers, authority, target);
    if parts.uri.scheme_str() == Some("https") {
        head.scheme = Scheme::Https;
    }
    match protocol {
        Some(protocol) => head.set_upgrade(protocol.as_str().as_bytes()),
        None if tunnel => head.tunnel = Some(Tunnel::Connect),
        None => {}
    }
    let expects_continue = parts
        .headers
        .get(http::header::EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    Ok(Received { content_length: content_length(&parts.headers), head, expects_continue })
}

/// A response's head as the proxy sees it.
pub(crate) fn response(parts: &http::response::Parts, options: &Http2Options) -> Result<ResponseHead, &'static str> {
    if parts.headers.len() > usize::from(options.max_headers) {
        return Err("too_many_headers");
    }
    if has_ragged_value(&parts.headers) {
        return Err("invalid_field_value");
    }
    let mut block = Block::with_room(&parts.headers, 0);
    let fields = block.fields(&parts.headers, |_| true);
    let mut head = ResponseHead::new(parts.status);
    head.version = Version::Http2;
    head.headers = block.finish(&fields);
    Ok(head)
}

/// Received trailers.
pub(crate) fn trailers(fields: &HeaderMap) -> Result<Headers, &'static str> {
    if has_ragged_value(fields) {
        return Err("invalid_field_value");
    }
    let mut block = Block::with_room(fields, 0);
    let ranges = block.fields(fields, |_| true);
    Ok(block.finish(&ranges))
}

/// What `content-length` says; h2 has made sure that it is one number.
pub(crate) fn content_length(fields: &HeaderMap) -> Option<u64> {
    fields.get(http::header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Fields to send, hop-by-hop ones left out (RFC 9113, section 8.2.2).
pub(crate) fn fields(headers: &Headers) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(headers.len() + 4);
    for (known, name, value) in headers.fields() {
        if known.is_some_and(is_connection_specific) {
            continue;
        }
        // What one version of HTTP may carry, the other may too; a field that cannot be sent is left out.
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            map.append(name, value);
        }
    }
    map
}

/// A request to send.
///
/// # Errors
/// The request cannot be said in HTTP/2.
pub(crate) fn outgoing_request(head: &RequestHead, scheme: Scheme) -> Result<http::Request<()>, &'static str> {
    let mut uri = http::uri::Parts::default();
    if !head.authority().is_empty() {
        uri.authority = Some(Authority::try_from(head.authority()).map_err(|_| "invalid_authority")?);
    }
    let tunnel = head.tunnel == Some(Tunnel::Connect);
    if !tunnel {
        uri.scheme = Some(match scheme {
            Scheme::Http => http::uri::Scheme::HTTP,
            Scheme::Https => http::uri::Scheme::HTTPS,
        });
        let path = head.path_and_query();
        uri.path_and_query = Some(match path {
            b"/" => PathAndQuery::from_static("/"),
            path => PathAndQuery::try_from(path).map_err(|_| "invalid_path")?,
        });
        if uri.authority.is_none() {
            return Err("missing_authority");
        }
    }
    let mut request = http::Request::new(());
    *request.uri_mut() = Uri::from_parts(uri).map_err(|_| "invalid_target")?;
    *request.method_mut() = head.method.clone();
    *request.version_mut() = http::Version::HTTP_2;
    *request.headers_mut() = fields(&head.headers);
    if let Some(token) = head.upgrade() {
        let token = std::str::from_utf8(token).map_err(|_| "invalid_protocol")?;
        *request.method_mut() = Method::CONNECT;
        request.extensions_mut().insert(h2::ext::Protocol::from(token));
    }
    // gRPC asks for it, to find out proxies that lose trailers.
    let grpc = head.headers.known(Known::ContentType).is_some_and(|kind| kind.starts_with(b"application/grpc"));
    if grpc {
        request.headers_mut().insert(http::header::TE, HeaderValue::from_static("trailers"));
    }
    Ok(request)
}

/// A response to send.
pub(crate) fn outgoing_response(head: &ResponseHead) -> http::Response<()> {
    let mut response = http::Response::new(());
    *response.status_mut() = match head.status {
        // RFC 8441, section 5: an accepted upgrade is a success.
        StatusCode::SWITCHING_PROTOCOLS => StatusCode::OK,
        status => status,
    };
    *response.version_mut() = http::Version::HTTP_2;
    *response.headers_mut() = fields(&head.headers);
    response
}

fn is_connection_specific(known: Known) -> bool {
    matches!(
        known,
        Known::Host
            | Known::Connection
            | Known::TransferEncoding
            | Known::KeepAlive
            | Known::ProxyConnection
            | Known::Te
            | Known::Upgrade
            | Known::Http2Settings
    )
}

fn single_host(fields: &HeaderMap) -> Result<Option<&[u8]>, ()> {
    let mut hosts = fields.get_all(http::header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (host, None) => Ok(host.map(HeaderValue::as_bytes)),
        _ => Err(()),
    }
}

/// Whether a value begins or ends with whitespace, which makes a message malformed (RFC 9113, section 8.2.1). h2 looks
/// at what is within values, not at their ends.
fn has_ragged_value(fields: &HeaderMap) -> bool {
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    fields.values().any(|value| blank(value.as_bytes().first()) || blank(value.as_bytes().last()))
}

fn malformed(details: &'static str) -> LocalReply {
    LocalReply::new(StatusCode::BAD_REQUEST, "malformed request", details).flag(ResponseFlag::DownstreamProtocolError)
}

fn too_large(details: &'static str) -> LocalReply {
    LocalReply::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "request header fields too large", details)
        .flag(ResponseFlag::DownstreamProtocolError)
}

/// The bytes of a head, laid out as `Headers` has them: one block, and where the fields lie in it.
struct Block(Vec<u8>);

/// Where a name and its value lie.
type Place = (std::ops::Range<usize>, std::ops::Range<usize>);

impl Block {
    fn with_room(fields: &HeaderMap, more: usize) -> Self {
        let room: usize = fields.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        Self(Vec::with_capacity(room + more))
    }

    fn text(&mut self, text: &[u8]) -> Span {
        Span::block(self.add(text))
    }

    fn add(&mut self, text: &[u8]) -> std::ops::Range<usize> {
        let start = self.0.len();
        self.0.extend_from_slice(text);
        start..self.0.len()
    }

    /// Lays out the fields that are wanted. Several `cookie` fields become one (RFC 9113, section 8.2.3).
    fn fields(&mut self, fields: &HeaderMap, wanted: impl Fn(Option<Known>) -> bool) -> Vec<Place> {
        let mut places = Vec::with_capacity(fields.len());
        for name in fields.keys() {
            if !wanted(Known::lookup(name.as_str().as_bytes())) {
                continue;
            }
            if name == http::header::COOKIE {
                let at = self.add(name.as_str().as_bytes());
                let start = self.0.len();
                for (index, crumb) in fields.get_all(name).iter().enumerate() {
                    self.0.extend_from_slice(if index > 0 { b"; " } else { b"" });
                    self.0.extend_from_slice(crumb.as_bytes());
                }
                places.push((at, start..self.0.len()));
                continue;
            }
            for value in fields.get_all(name) {
                let at = self.add(name.as_str().as_bytes());
                let value = self.add(value.as_bytes());
                places.push((at, value));
            }
        }
        places
    }

    fn finish(self, places: &[Place]) -> Headers {
        let mut headers = Headers::over(Chunk::from(self.0), places.len());
        for (name, value) in places {
            headers.push_received(name.clone(), value.clone());
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(build: impl FnOnce(http::request::Builder) -> http::request::Builder) -> http::request::Parts {
        build(http::Request::builder().uri("https://a.example/x?y")).body(()).unwrap().into_parts().0
    }

    fn read(build: impl FnOnce(http::request::Builder) -> http::request::Builder) -> Result<Received, &'static str> {
        request(&parts(build), &Http2Options::default()).map_err(|reply| reply.details)
    }

    #[test]
    fn a_request_is_read_and_written_back() {
        let received = read(|request| {
            request.header("host", "a.example").header("x-a", "1").header("x-a", "2").header("te", "trailers")
        });
        let head = received.unwrap().head;
        assert_eq!((head.authority(), head.path_and_query()), (&b"a.example"[..], &b"/x?y"[..]));
        assert_eq!(head.headers.all("x-a").collect::<Vec<_>>(), [b"1", b"2"]);
        assert_eq!((head.headers.len(), head.scheme), (2, Scheme::Https));
        let again = outgoing_request(&head, Scheme::Http).unwrap();
        assert_eq!(again.uri().to_string(), "http://a.example/x?y");
        assert_eq!(again.headers().get_all("x-a").iter().count(), 2);
    }

    #[test]
    fn cookies_are_one_field() {
        let head = read(|request| request.header("cookie", "a=1").header("cookie", "b=2")).unwrap().head;
        assert_eq!(head.headers.all("cookie").collect::<Vec<_>>(), [b"a=1; b=2"]);
    }

    #[test]
    fn what_rfc_9110_forbids_is_refused() {
        let refused = |build: fn(http::request::Builder) -> http::request::Builder| read(build).unwrap_err();
        assert_eq!(refused(|request| request.header("host", "b.example")), "authority_and_host_differ");
        assert_eq!(refused(|request| request.header("host", "a.example").header("host", "a.example")), "invalid_host");
        assert_eq!(refused(|request| request.uri("/x")), "missing_authority");
        assert_eq!(refused(|request| request.uri("https://user@a.example/")), "userinfo_in_authority");
        assert_eq!(
            refused(|request| (0..101).fold(request, |request, _| request.header("x", "y"))),
            "too_many_headers"
        );
        assert!(read(|request| request.uri("/x").header("host", "a.example")).is_ok());
    }

    #[test]
    fn hop_by_hop_fields_are_not_sent() {
        let mut head = ResponseHead::new(StatusCode::OK);
        for name in ["connection", "keep-alive", "transfer-encoding", "upgrade", "x"] {
            head.headers.append(name, b"1").unwrap();
        }
        let response = outgoing_response(&head);
        assert_eq!(response.headers().keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x"]);
    }

    #[test]
    fn tunnels_are_translated_both_ways() {
        let received = read(|request| request.method("CONNECT").extension(h2::ext::Protocol::from_static("websocket")));
        let head = received.unwrap().head;
        assert_eq!((&head.method, head.upgrade()), (&Method::GET, Some(&b"websocket"[..])));
        let again = outgoing_request(&head, Scheme::Https).unwrap();
        assert_eq!(again.method(), Method::CONNECT);
        assert_eq!(again.extensions().get::<h2::ext::Protocol>().unwrap().as_str(), "websocket");

        let received = read(|request| request.method("CONNECT").uri("a.example:443"));
        let head = received.unwrap().head;
        assert_eq!(
            (head.tunnel, head.authority(), head.path_and_query()),
            (Some(Tunnel::Connect), &b"a.example:443"[..], &b""[..])
        );
        assert_eq!(outgoing_request(&head, Scheme::Https).unwrap().uri().to_string(), "a.example:443");
        assert_eq!(outgoing_response(&ResponseHead::new(StatusCode::SWITCHING_PROTOCOLS)).status(), StatusCode::OK);
    }
}
