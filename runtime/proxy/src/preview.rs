//! What becomes of a request, for people who ask before they send it.

use ringway_api::{RequestHead, StreamCx};
use ringway_config::Route;

use crate::edits::{self, Facts};
use crate::rewrite;

/// Changes a request as its route says, for a cluster and for which of those that have weights it is: fields, path, host.
pub fn sent(route: &Route, cluster: Option<&str>, weighted: Option<u16>, head: &mut RequestHead, cx: &StreamCx) {
    edits::request(&Facts { cx, route, weighted, cluster, host: None }, head);
    if let Some(rewrite) = route.forward().and_then(|forward| forward.rewrite.as_ref()) {
        rewrite::request(rewrite, head);
    }
}
