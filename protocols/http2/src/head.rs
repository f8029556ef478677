//! Heads, from and to the types of the http crate that h2 speaks (RFC 9113, section 8.3).

mod check;

use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use ringway_api::{
    Chunk, Headers, Known, LocalReply, RequestHead, ResponseFlag, ResponseHead, Scheme, Span, Tunnel, Version,
};

use crate::options::Http2Options;

/// More fields than allowed.
pub(crate) const TOO_MANY: &str = "too_many_headers";

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
        return Err(too_large(TOO_MANY));
    }
    let content_length = check::fields(&parts.headers).map_err(malformed)?;
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
    // RFC 9113, section 8.5: where a tunnel goes is said by its authority alone.
    if !check::is_authority(authority) || (path.is_empty() && given.is_none()) {
        return Err(malformed("invalid_host"));
    }
    let target = match path.as_bytes() {
        b"" => check::has_port(authority),
        b"*" => method == Method::OPTIONS,
        path => path.starts_with(b"/"),
    };
    // A scheme that is no text at all is lost on the way.
    let scheme = path.is_empty() || given.is_none() || parts.uri.scheme_str().is_some_and(|scheme| !scheme.is_empty());
    if !target || !scheme {
        return Err(malformed("invalid_target"));
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
    Ok(Received { content_length, head, expects_continue })
}

/// A response's head as the proxy sees it, and what it says of the length of its content.
pub(crate) fn response(
    parts: &http::response::Parts,
    options: &Http2Options,
) -> Result<(ResponseHead, Option<u64>), &'static str> {
    if parts.headers.len() > usize::from(options.max_headers) {
        return Err(TOO_MANY);
    }
    let content_length = check::fields(&parts.headers)?;
    let mut block = Block::with_room(&parts.headers, 0);
    let fields = block.fields(&parts.headers, |_| true);
    let mut head = ResponseHead::new(parts.status);
    head.version = Version::Http2;
    head.headers = block.finish(&fields);
    Ok((head, content_length))
}

/// Received trailers.
pub(crate) fn trailers(fields: &HeaderMap) -> Result<Headers, &'static str> {
    check::fields(fields)?;
    let mut block = Block::with_room(fields, 0);
    let ranges = block.fields(fields, |_| true);
    Ok(block.finish(&ranges))
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
mod tests;
