//! hessian2, the serialization of Dubbo ("Hessian 2.0 Serialization Protocol"; where Java's implementation differs from
//! the text, as in doubles of thousandths and in strings, Java's is followed).
//!
//! - [`Reader`] reads values, or skips them without building anything.
//! - [`Writer`] writes values in the shortest form that Java's `Hessian2Output` has for them.
//!
//! What is read came from outside: values are nested at most [`MAX_DEPTH`] deep, nothing is reserved for a length that is
//! only claimed, what is built and remembered is bounded by [`MAX_VALUES`], and what references repeat by [`MAX_COPIED`].

#![forbid(unsafe_code)]

mod error;
mod reader;
mod text;
mod value;
mod writer;

pub use error::Error;
pub use reader::{Reader, Text};
pub use text::{decode, write_string};
pub use value::{Class, Value};
pub use writer::Writer;

/// The media type of content in this serialization.
pub const MEDIA_TYPE: &str = "application/vnd.apache.dubbo.hessian2";

/// How deep values may be nested: the outermost has depth 0.
pub const MAX_DEPTH: u32 = 64;

/// How many values one [`Reader`] builds, and how many it remembers of the places that may be referred to, and of the
/// names of classes, of their fields and of types together. A value is one byte at the least, and more than a hundred
/// once it is built.
pub const MAX_VALUES: usize = 1 << 18;

/// How many bytes the names of the types, classes and fields of all the values that one [`Reader`] builds may take
/// together, counted once for each value. They stand once in what is read; written as JSON, each value has them anew.
pub const MAX_NAMES: usize = 1 << 24;

/// How many bytes the references among the values of one [`Reader`] may repeat. A few references to each other stand for
/// any number of values.
pub const MAX_COPIED: usize = 1 << 18;
