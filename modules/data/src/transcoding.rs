//! What filters that translate between protocols count.

use std::future::Future;

use ringway_api::{Action, FilterStats, Request, Resume, Stat};

/// Requests, and what became of them.
pub(crate) const REQUESTS: &[Stat] = &[
    Stat::counter("transcoded", "Requests that became calls of the other protocol."),
    Stat::counter("refused", "Requests that the other protocol cannot say, or that are too long."),
];

/// The same, and responses that were none of the other protocol.
pub(crate) const WITH_RESPONSES: &[Stat] =
    &[REQUESTS[0], REQUESTS[1], Stat::counter("failed", "Responses that could not be translated back.")];

const TRANSCODED: usize = 0;
const REFUSED: usize = 1;
const FAILED: usize = 2;

/// The counters of such a filter.
#[derive(Clone, Debug)]
pub(crate) struct Counted(pub(crate) FilterStats);

impl Counted {
    /// Counts what a filter does with a request that it has begun to translate.
    pub(crate) fn action(&self, action: Action) -> Action {
        match action {
            Action::Reroute => self.0.inc(TRANSCODED),
            Action::Respond(_) | Action::Reply(_) => self.0.inc(REFUSED),
            _ => {}
        }
        action
    }

    /// The same of one that waits for content.
    pub(crate) fn wait(&self, waiting: impl Future<Output = Resume> + 'static) -> Action {
        let counted = self.clone();
        Action::Wait(Box::pin(async move {
            let resume = waiting.await;
            Box::new(move |request: &mut Request| counted.action(resume(request))) as Resume
        }))
    }

    /// A request was refused after its translation had begun.
    pub(crate) fn refused(&self) {
        self.0.inc(REFUSED);
    }

    /// A response could not be translated back.
    pub(crate) fn failed(&self) {
        self.0.inc(FAILED);
    }
}
