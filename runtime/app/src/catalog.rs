//! Everything that can be plugged in: one line each.

use ringway_api::{BalancerSpec, FilterSpec, ProtocolSpec};
use ringway_filters::{GrpcHealthCheck, GrpcWeb};
use ringway_http1::Http1;
use ringway_http2::Http2;
use ringway_io::Stream;
use ringway_proxy::ProtocolEntry;
use ringway_upstream::balance;

/// The protocols whose connections carry requests. Where ALPN leaves the choice to us, the first is taken.
pub(crate) const PROTOCOLS: &[ProtocolEntry<Stream>] = &[ProtocolEntry::of::<Http2>(), ProtocolEntry::of::<Http1>()];

/// The stream filters.
pub(crate) const FILTERS: &[FilterSpec] = &[FilterSpec::of::<GrpcWeb>(), FilterSpec::of::<GrpcHealthCheck>()];

/// The load balancers.
pub(crate) const BALANCERS: &[BalancerSpec] = &[
    BalancerSpec::of::<balance::RoundRobin>(),
    BalancerSpec::of::<balance::LeastRequest>(),
    BalancerSpec::of::<balance::Random>(),
];

/// The protocols as the configuration sees them.
pub(crate) const PROTOCOL_SPECS: &[ProtocolSpec] = &[PROTOCOLS[0].spec, PROTOCOLS[1].spec];
