//! hessian2, the serialization of Dubbo ("Hessian 2.0 Serialization Protocol"; where Java's implementation differs from
//! the text, as in doubles of thousandths and in strings, Java's is followed).
//!
//! - [`Reader`] reads values, or skips them without building anything.
//! - [`Writer`] writes values in the shortest form that Java's `Hessian2Output` has for them.
//!
//! What is read came from outside: values are nested at most [`MAX_DEPTH`] deep, nothing is reserved for a length that is
//! only claimed, and what references repeat is bounded by [`MAX_COPIED`].

#![forbid(unsafe_code)]

mod error;
mod reader;
mod text;
mod value;
mod writer;

pub use error::Error;
pub use reader::{Reader, Text};
pub use text::write_string;
pub use value::{Class, Value};
pub use writer::Writer;

/// The media type of content in this serialization.
pub const MEDIA_TYPE: &str = "application/vnd.apache.dubbo.hessian2";

/// How deep values may be nested: the outermost has depth 0.
pub const MAX_DEPTH: u32 = 64;

/// How much the references among the values of one [`Reader`] may repeat: each repeated value counts as one, each byte
/// of its text as another. A few references to each other stand for any number of values.
pub const MAX_COPIED: usize = 1 << 18;
