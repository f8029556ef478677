//! Parcel, a protocol for Ringway that lives outside Ringway's tree. Its frames are described in [`Parcel`].

#![forbid(unsafe_code)]

mod parcel;

pub use parcel::Parcel;

/// The protocol: what `runtime/app/src/catalog.rs` lists.
pub type Protocol = ringway_rpc::Framed<Parcel>;
