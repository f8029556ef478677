//! Access logs: what a finished stream leaves behind, and the line it becomes.

mod attribute;
mod calendar;
mod escape;
mod filter;
mod format;
mod needs;
mod operator;
mod record;
mod render;
mod report;
#[cfg(test)]
mod table_tests;
#[cfg(test)]
mod tests;

pub use attribute::{
    AddressOf, AddressPart, Attribute, AttributeValue, CertificateDetail, NAMES as ATTRIBUTES, Side, TimePoint,
};
pub(crate) use escape::push_json_string;
pub use filter::{Comparison, HeaderTest, LogFilter, Share, TestFn};
pub use format::{DEFAULT_JSON, DEFAULT_TEXT, Format, FormatError, JsonValue};
pub use needs::{Field, Needs};
pub use operator::{names as operators, refused as refused_operators};
pub use record::{Attempt, Captured, FieldPair, LogType, SpanId, StreamRecord, Timings, TraceIds};
pub use report::StreamReport;
