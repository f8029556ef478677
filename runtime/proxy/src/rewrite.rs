//! What a route changes in the target of a request.

use std::borrow::Cow;

use ringway_api::RequestHead;
use ringway_config::{HostRewrite, PathRewrite, Rewrite};

/// Envoy's: what path and host were before they were rewritten.
const ORIGINAL_PATH: &str = "x-envoy-original-path";
const ORIGINAL_HOST: &str = "x-envoy-original-host";

/// Rewrites the target of a request. What would make it invalid is left as it was: values of fields may be anything.
pub(crate) fn request(rewrite: &Rewrite, head: &mut RequestHead) {
    let renamed = match &rewrite.host {
        Some(HostRewrite::Literal(host)) => Some(host.clone()),
        Some(HostRewrite::Header(name)) => {
            let host = head.headers.first(name).and_then(|host| std::str::from_utf8(host).ok());
            host.filter(|host| !host.is_empty()).map(Into::into)
        }
        None => None,
    };
    if let Some(host) = renamed {
        let before = head.authority().to_vec();
        if head.set_authority(&host).is_ok() {
            note(head, ORIGINAL_HOST, &before);
        }
    }
    let target = target(rewrite.path.as_ref(), head);
    let target = query(rewrite, target);
    let (target, before) = (target.into_owned(), head.path_and_query().to_vec());
    if (target == before || head.set_path_and_query(&target).is_ok()) && rewrite.path.is_some() {
        note(head, ORIGINAL_PATH, &before);
    }
}

fn note(head: &mut RequestHead, name: &str, before: &[u8]) {
    let valid = head.headers.set(name, before);
    debug_assert!(valid.is_ok(), "what was received in a request line is a valid value");
}

/// The rewritten path with the query as it was.
pub(crate) fn target<'h>(rewrite: Option<&PathRewrite>, head: &'h RequestHead) -> Cow<'h, [u8]> {
    let Some(rewrite) = rewrite else { return Cow::Borrowed(head.path_and_query()) };
    let mut target = path(rewrite, head.path()).into_owned();
    if target.is_empty() {
        target.push(b'/');
    }
    if let Some(query) = head.query() {
        target.push(b'?');
        target.extend_from_slice(query);
    }
    Cow::Owned(target)
}

/// A rewritten path.
pub(crate) fn path<'h>(rewrite: &PathRewrite, path: &'h [u8]) -> Cow<'h, [u8]> {
    match rewrite {
        PathRewrite::Prefix(len, text) => {
            let rest = path.get(*len..).unwrap_or_default();
            Cow::Owned([text.as_bytes(), rest].concat())
        }
        PathRewrite::Whole(text) => Cow::Owned(text.as_bytes().to_vec()),
        PathRewrite::Regex(regex, text) => regex.replace_all(path, text.as_bytes()),
        PathRewrite::Template(regex, text) => regex.replace(path, text.as_bytes()),
    }
}

/// The target with the query's parameters as the route wants them, in the order they had, new ones at the end.
fn query<'t>(rewrite: &Rewrite, target: Cow<'t, [u8]>) -> Cow<'t, [u8]> {
    if rewrite.set_query.is_empty() && rewrite.remove_query.is_empty() {
        return target;
    }
    let end = target.iter().position(|b| *b == b'?').unwrap_or(target.len());
    let (path, query) = target.split_at(end);
    let name = |pair: &[u8]| pair.split(|b| *b == b'=').next().unwrap_or_default().to_vec();
    let dropped = |name: &[u8]| {
        rewrite.remove_query.iter().any(|removed| removed.as_bytes() == name)
            || rewrite.set_query.iter().any(|(set, _)| set.as_bytes() == name)
    };
    let kept = query.get(1..).unwrap_or_default().split(|b| *b == b'&').filter(|pair| !pair.is_empty());
    let mut pairs: Vec<Vec<u8>> = kept.filter(|pair| !dropped(&name(pair))).map(<[u8]>::to_vec).collect();
    pairs.extend(rewrite.set_query.iter().map(|(name, value)| format!("{name}={value}").into_bytes()));
    let mut out = path.to_vec();
    if !pairs.is_empty() {
        out.push(b'?');
        out.extend_from_slice(&pairs.join(&b'&'));
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use http::Method;
    use regex::bytes::Regex;

    use super::*;

    fn rewritten(rewrite: Rewrite, target: &str) -> String {
        let mut head = RequestHead::new(Method::GET, "a", target);
        request(&rewrite, &mut head);
        String::from_utf8(head.path_and_query().to_vec()).unwrap()
    }

    #[test]
    fn paths_are_rewritten_and_queries_stay() {
        let prefix = |len, text: &str| PathRewrite::Prefix(len, text.into());
        let regex = |pattern, text: &str| PathRewrite::Regex(Regex::new(pattern).unwrap(), text.into());
        for (path, target, expected) in [
            (prefix(4, "/"), "/api/x?q=/api", "//x?q=/api"),
            (prefix(4, ""), "/api/x?q", "/x?q"),
            (prefix(4, ""), "/api?q", "/?q"),
            (prefix(4, "/v2"), "/api", "/v2"),
            (PathRewrite::Whole("/y".into()), "/api?q", "/y?q"),
            (regex("/v([0-9]+)/", "/$1/v/"), "/v1/a/v2/b?x=/v3/", "/1/v/a/2/v/b?x=/v3/"),
            (regex("none", "x"), "/a?b", "/a?b"),
            // What cannot stand in a path leaves it alone.
            (regex("a", " "), "/a", "/a"),
        ] {
            let shown = format!("{path:?} on {target}");
            assert_eq!(rewritten(Rewrite { path: Some(path), ..Rewrite::default() }, target), expected, "{shown}");
        }
    }

    #[test]
    fn queries_are_edited() {
        for (target, expected) in [
            ("/a", "/a?n=1"),
            ("/a?x=1&n=7&gone=2&y", "/a?x=1&y&n=1"),
            ("/a?gone&n=2&n=3", "/a?n=1"),
            ("/a?&&x", "/a?x&n=1"),
        ] {
            let rewrite = Rewrite {
                set_query: [("n".into(), "1".into())].into(),
                remove_query: ["gone".into()].into(),
                ..Rewrite::default()
            };
            assert_eq!(rewritten(rewrite, target), expected, "{target}");
        }
    }
}
