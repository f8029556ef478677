//! What can be wrong with what is read.

use std::fmt;

/// Why a value could not be read. All but [`Truncated`](Self::Truncated) are final: more bytes do not help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The bytes end within a value.
    Truncated,
    /// A byte that begins no value.
    UnknownTag,
    /// Values are nested deeper than [`MAX_DEPTH`](crate::MAX_DEPTH).
    TooDeep,
    /// Text that is no UTF-8, or half a pair of surrogates.
    MalformedText,
    /// An object of a class that was not defined.
    UnknownClass,
    /// A type by a number that no type has.
    UnknownType,
    /// A reference to a value that was not there.
    UnknownReference,
    /// A reference to a value that it is a part of.
    CyclicReference,
    /// There is more than [`MAX_VALUES`](crate::MAX_VALUES) or [`MAX_NAMES`](crate::MAX_NAMES), or references repeat more
    /// than [`MAX_COPIED`](crate::MAX_COPIED).
    TooLarge,
    /// Something else where a name has to be.
    NotAString,
    /// Something else where a length or a number of the protocol has to be.
    NotAnInt,
    /// A length below zero.
    NegativeLength,
}

impl Error {
    /// One word for logs.
    pub const fn details(self) -> &'static str {
        match self {
            Self::Truncated => "hessian_truncated",
            Self::UnknownTag => "hessian_unknown_tag",
            Self::TooDeep => "hessian_too_deep",
            Self::MalformedText => "hessian_malformed_text",
            Self::UnknownClass => "hessian_unknown_class",
            Self::UnknownType => "hessian_unknown_type",
            Self::UnknownReference => "hessian_unknown_reference",
            Self::CyclicReference => "hessian_cyclic_reference",
            Self::TooLarge => "hessian_too_large",
            Self::NotAString => "hessian_not_a_string",
            Self::NotAnInt => "hessian_not_an_int",
            Self::NegativeLength => "hessian_negative_length",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.details())
    }
}

impl std::error::Error for Error {}
