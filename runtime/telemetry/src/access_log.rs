//! Access logs: what a finished stream leaves behind, and the line it becomes.

mod calendar;
mod escape;
mod format;
mod operator;
mod record;
mod render;
mod report;
#[cfg(test)]
mod tests;

pub(crate) use escape::push_json_string;
pub use format::{DEFAULT_JSON, DEFAULT_TEXT, Format, FormatError, Needs};
pub use operator::Field;
pub use record::{Attempt, Captured, SpanId, StreamRecord, Timings, TraceIds};
pub use report::StreamReport;
