//! Who may ask: no web page of another site, not even one whose name leads here (DNS rebinding).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::control::Actor;

/// Pages that say nothing that a stranger may not know, for whoever scrapes or probes by a name.
const OPEN: [&str; 2] = ["/ready", "/stats/prometheus"];

tokio::task_local! {
    /// Who makes the request that is being answered.
    pub(super) static ACTOR: Actor;
}

/// Lets a request through that a person or a program has made, and not another site's page.
pub(super) async fn guard(
    State(hosts): State<Arc<[String]>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let refuse = |why: String| (StatusCode::FORBIDDEN, why).into_response();
    let headers = request.headers();
    let changes = ![Method::GET, Method::HEAD].contains(request.method());
    if changes && !is_of_ours(headers) {
        return refuse("a page of another site may not do this\n".into());
    }
    if !OPEN.contains(&request.uri().path())
        && let Some(host) = headers.get(header::HOST)
    {
        let host = String::from_utf8_lossy(host.as_bytes()).into_owned();
        if !is_known(&host, &hosts) {
            return refuse(format!(
                "`{host}` is not a name of this process: ask by IP address or as localhost, or add it to `admin.hosts`\n"
            ));
        }
    }
    let agent = request.headers().get(header::USER_AGENT).map(|agent| String::from_utf8_lossy(agent.as_bytes()).into());
    ACTOR.scope(Actor { peer, agent }, next.run(request)).await
}

/// Browsers say where a request that changes something comes from (Fetch, section 3.1; Fetch Metadata).
fn is_of_ours(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if text("sec-fetch-site").is_some_and(|site| !["same-origin", "none"].contains(&site)) {
        return false;
    }
    match headers.get(header::ORIGIN) {
        None => true,
        Some(origin) => {
            let origin = origin.to_str().unwrap_or_default();
            let authority = origin.split_once("://").map(|(_, authority)| authority);
            authority.is_some() && authority == text("host")
        }
    }
}

/// An address or `localhost`, which no stranger can make lead here, or a name that the configuration has.
fn is_known(host: &str, names: &[String]) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host().trim_matches(['[', ']']).trim_end_matches('.');
    name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || names.iter().any(|known| known.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_localhost_and_configured_names_are_ours() {
        let names = ["ringway.internal".to_owned()];
        for host in ["127.0.0.1:9901", "[::1]:9901", "10.0.0.7", "LOCALHOST:1", "Ringway.Internal:80", "localhost."] {
            assert!(is_known(host, &names), "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example:9901", "localhost.evil.example", "", "a b"] {
            assert!(!is_known(host, &names), "{host}");
        }
    }

    #[test]
    fn pages_of_other_sites_are_told_by_what_browsers_say() {
        let headers = |fields: &[(&'static str, &'static str)]| {
            fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect::<HeaderMap>()
        };
        let host = ("host", "127.0.0.1:9901");
        assert!(is_of_ours(&headers(&[host])), "no browser");
        assert!(is_of_ours(&headers(&[host, ("origin", "http://127.0.0.1:9901"), ("sec-fetch-site", "same-origin")])));
        for fields in [
            &[host, ("origin", "http://evil.example")][..],
            &[host, ("origin", "null")],
            &[host, ("origin", "http://127.0.0.1:8080")],
            &[host, ("sec-fetch-site", "cross-site")],
            &[host, ("sec-fetch-site", "same-site")],
        ] {
            assert!(!is_of_ours(&headers(fields)), "{fields:?}");
        }
    }
}
