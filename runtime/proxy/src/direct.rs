//! What routes answer themselves.

use ringway_api::{Body, Chunk, Known, RequestHead, Response, ResponseHead, Scheme};
use ringway_config::{DirectResponse, Redirect};

use crate::rewrite;

/// The answer that is written down.
pub(crate) fn response(direct: &DirectResponse) -> Response {
    let mut head = ResponseHead::new(direct.status);
    if direct.body.is_empty() {
        return Response { head, body: Body::Empty };
    }
    head = head.with_content_type("text/plain");
    Response { head, body: Body::Full(Chunk::copy_from(&direct.body)) }
}

/// The answer that sends the client somewhere else (RFC 9110, section 15.4).
pub(crate) fn redirect(redirect: &Redirect, asked: &RequestHead) -> Response {
    let mut location = Vec::new();
    let scheme = redirect.scheme.as_deref().unwrap_or(asked.scheme.as_str());
    location.extend_from_slice(scheme.as_bytes());
    location.extend_from_slice(b"://");
    match (&redirect.host, redirect.port) {
        (Some(host), None) => location.extend_from_slice(host.as_bytes()),
        (host, port) => {
            let host = host.as_deref().map_or(asked.authority(), str::as_bytes);
            let bare = without_port(host);
            // The port that the other scheme goes without is not told to it.
            let usual = port.is_none() && redirect.scheme.is_some() && has_usual_port(host, bare, asked.scheme);
            location.extend_from_slice(if port.is_some() || usual { bare } else { host });
            if let Some(port) = port {
                location.extend_from_slice(format!(":{port}").as_bytes());
            }
        }
    }
    let target = rewrite::target(redirect.path.as_ref(), asked);
    let own_query = matches!(&redirect.path, Some(ringway_config::PathRewrite::Whole(path)) if path.contains('?'));
    let (path, query) = match target.iter().position(|b| *b == b'?') {
        Some(at) => target.split_at(at),
        None => (&*target, &[][..]),
    };
    if own_query {
        // A query of its own takes the place of the request's.
        location.extend_from_slice(match &redirect.path {
            Some(ringway_config::PathRewrite::Whole(path)) => path.as_bytes(),
            _ => path,
        });
    } else {
        location.extend_from_slice(path);
        if !redirect.strip_query {
            location.extend_from_slice(query);
        }
    }
    let mut head = ResponseHead::new(redirect.status);
    let valid = head.headers.append_known(Known::Location, &location);
    debug_assert!(valid.is_ok(), "made of a request's target and what was checked");
    Response { head, body: Body::Empty }
}

/// `host` of `host:port`, whose address may be in brackets.
fn without_port(authority: &[u8]) -> &[u8] {
    let from = authority.iter().position(|b| *b == b']').unwrap_or(0);
    let colon = authority.iter().skip(from).position(|b| *b == b':');
    colon.and_then(|at| authority.get(..from + at)).unwrap_or(authority)
}

fn has_usual_port(authority: &[u8], bare: &[u8], scheme: Scheme) -> bool {
    let usual: &[u8] = match scheme {
        Scheme::Http => b":80",
        Scheme::Https => b":443",
    };
    authority.get(bare.len()..) == Some(usual)
}

#[cfg(test)]
mod tests {
    use http::{Method, StatusCode};
    use ringway_config::PathRewrite;

    use super::*;

    fn location(to: &Redirect, authority: &str, target: &str) -> String {
        let response = redirect(to, &RequestHead::new(Method::GET, authority, target));
        String::from_utf8(response.head.headers.first("location").unwrap().to_vec()).unwrap()
    }

    #[test]
    fn what_is_not_given_stays() {
        let plain = || Redirect {
            scheme: None,
            host: None,
            port: None,
            path: None,
            status: StatusCode::FOUND,
            strip_query: false,
        };
        let https = Redirect { scheme: Some("https".into()), ..plain() };
        assert_eq!(location(&https, "a.com:80", "/x?y"), "https://a.com/x?y");
        assert_eq!(location(&https, "a.com:8080", "/x?y"), "https://a.com:8080/x?y");
        let host = Redirect { host: Some("b.com:1".into()), strip_query: true, ..plain() };
        assert_eq!(location(&host, "a.com", "/x?y"), "http://b.com:1/x");
        let port = Redirect { port: Some(8443), ..plain() };
        assert_eq!(location(&port, "[::1]:80", "/"), "http://[::1]:8443/");
        let path = Redirect { path: Some(PathRewrite::Whole("/new?z".into())), ..plain() };
        assert_eq!(location(&path, "a.com", "/x?y"), "http://a.com/new?z");
        let path = Redirect { path: Some(PathRewrite::Whole("/new".into())), ..plain() };
        assert_eq!(location(&path, "a.com", "/x?y"), "http://a.com/new?y");
    }
}
