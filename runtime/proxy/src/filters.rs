//! The stream filters of one request.

use std::rc::Rc;

use ringway_api::{Action, DynStreamFilter, Request, Response, StreamCx};

use crate::view::NamedFilter;

/// The filters that have seen a request, in order.
pub(crate) struct Filters {
    seen: Vec<Box<dyn DynStreamFilter>>,
}

impl Filters {
    /// Shows a request to each filter, until one answers it.
    pub(crate) fn on_request(filters: &[NamedFilter], request: &mut Request, cx: &StreamCx) -> (Self, Action) {
        let mut seen = Vec::with_capacity(filters.len());
        for named in filters {
            let mut filter = Rc::clone(&named.filter).stream();
            let action = filter.on_request(request, cx);
            seen.push(filter);
            if !matches!(action, Action::Continue) {
                return (Self { seen }, action);
            }
        }
        (Self { seen }, Action::Continue)
    }

    /// Shows the response to those that have seen the request, the last one first.
    pub(crate) fn on_response(mut self, response: &mut Response, cx: &StreamCx) {
        for filter in self.seen.iter_mut().rev() {
            filter.on_response(response, cx);
        }
    }
}
