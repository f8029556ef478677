//! What a route changes on the way to a cluster and back.

use ringway_api::{RequestHead, ResponseHead, StreamCx};
use ringway_config::{Forward, Route};

use crate::attempt::Tries;
use crate::edits::{self, Facts};
use crate::view::{ClusterView, Target};
use crate::{hashing, rewrite};

/// What is left to do when the response comes. Made only where there is something.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// The request as it came, where the response's fields are made of it.
    asked: Option<RequestHead>,
    cookies: Vec<String>,
    /// The response's fields change.
    response: bool,
}

impl Changes {
    /// Changes a request as its route says: fields, then its target. Notes what the choice of a host depends on.
    pub(crate) fn make<I: 'static>(
        route: &Route,
        forward: &Forward,
        target: &Target,
        upstream: &ClusterView<I>,
        head: &mut RequestHead,
        cx: &StreamCx,
        tries: &mut Tries,
    ) -> Option<Box<Self>> {
        tries.auto_host = forward.auto_host_rewrite;
        tries.metadata = route.metadata(target.weighted).cloned();
        if let Some(original) = &upstream.cluster.params().original {
            tries.destination = original.of(&cx.conn, Some(head)).map(Box::new);
        }
        let mut changes = None;
        if route.has_edits(target.weighted) {
            let made: &mut Box<Self> = changes.get_or_insert_default();
            made.asked = edits::response_needs_request(route, target.weighted).then(|| head.clone());
            made.response = true;
            let facts = Facts { cx, route, weighted: target.weighted, cluster: Some(&upstream.name), host: None };
            edits::request(&facts, head);
        }
        if !forward.hash_policy.is_empty() {
            let env = &cx.conn.env;
            let hashed = hashing::of(&forward.hash_policy, head, &cx.conn.info.peer, || env.random());
            tries.hash = hashed.hash;
            if !hashed.cookies.is_empty() {
                changes.get_or_insert_default().cookies = hashed.cookies;
            }
        }
        if let Some(rewrite) = &forward.rewrite {
            rewrite::request(rewrite, head);
        }
        changes
    }

    /// Changes the response.
    pub(crate) fn finish<I>(
        self: Box<Self>,
        route: &Route,
        target: &Target,
        upstream: &ClusterView<I>,
        head: &mut ResponseHead,
        cx: &StreamCx,
        tries: &Tries,
    ) {
        if self.response {
            let (cluster, host) = (Some(&*upstream.name), tries.host.as_ref());
            let facts = Facts { cx, route, weighted: target.weighted, cluster, host };
            edits::response(&facts, self.asked.as_ref(), head);
        }
        for cookie in &self.cookies {
            let valid = head.headers.append("set-cookie", cookie.as_bytes());
            debug_assert!(valid.is_ok(), "checked when it was configured");
        }
    }
}
