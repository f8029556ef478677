//! What the control plane does with reports: the seam between what is collected and where it goes.

use std::sync::Arc;

use crate::{Span, StreamReport};

/// Takes spans away. Called on the control plane's thread, once per batch; must not block and bounds what it keeps.
pub trait SpanExporter: Send + Sync {
    /// Some spans, each at most once, in no order.
    fn export(&self, spans: &[Span]);
}

/// Takes finished streams away as log records. As [`SpanExporter`].
pub trait LogExporter: Send + Sync {
    /// A finished stream.
    fn export(&self, report: &Arc<StreamReport>);
}
