//! Everything that can be plugged in: one line each.

use ringway_api::{BalancerSpec, FilterSpec, ProtocolSpec};
use ringway_filters::{
    AdaptiveConcurrency, BandwidthLimit, Buffer, Compressor, ConcurrencyLimit, Cors, Csrf, Decompressor, DubboToTriple,
    Fallback, Fault, GrpcHealthCheck, GrpcJson, GrpcWeb, HeaderMutation, HttpToDubbo, IpAccess, LoadShed,
    LocalRateLimit, MapLocalReplies, RequestLimits, StaleCache,
};
use ringway_http1::Http1;
use ringway_http2::Http2;
use ringway_io::Stream;
use ringway_proxy::ProtocolEntry;
use ringway_rpc::Framed;
use ringway_rpc::bolt::{BoltV1, BoltV2};
use ringway_rpc::dubbo::Dubbo;
use ringway_rpc::tars::Tars;
use ringway_rpc::thrift::DubboThrift;
use ringway_upstream::balance;

/// The protocols whose connections carry requests. Where ALPN leaves the choice to us, the first is taken.
pub(crate) const PROTOCOLS: &[ProtocolEntry<Stream>] = &[
    ProtocolEntry::of::<Http2>(),
    ProtocolEntry::of::<Http1>(),
    ProtocolEntry::of::<Framed<Dubbo>>(),
    ProtocolEntry::of::<Framed<BoltV1>>(),
    ProtocolEntry::of::<Framed<BoltV2>>(),
    ProtocolEntry::of::<Framed<DubboThrift>>(),
    ProtocolEntry::of::<Framed<Tars>>(),
];

/// The stream filters.
pub(crate) const FILTERS: &[FilterSpec] = &[
    FilterSpec::of::<GrpcWeb>(),
    FilterSpec::of::<GrpcHealthCheck>(),
    FilterSpec::of::<GrpcJson>(),
    FilterSpec::of::<HttpToDubbo>(),
    FilterSpec::of::<DubboToTriple>(),
    FilterSpec::of::<Cors>(),
    FilterSpec::of::<Csrf>(),
    FilterSpec::of::<HeaderMutation>(),
    FilterSpec::of::<Compressor>(),
    FilterSpec::of::<Decompressor>(),
    FilterSpec::of::<Buffer>(),
    FilterSpec::of::<RequestLimits>(),
    FilterSpec::of::<MapLocalReplies>(),
    FilterSpec::of::<Fallback>(),
    FilterSpec::of::<StaleCache>(),
    FilterSpec::of::<Fault>(),
    FilterSpec::of::<LocalRateLimit>(),
    FilterSpec::of::<IpAccess>(),
    FilterSpec::of::<AdaptiveConcurrency>(),
    FilterSpec::of::<ConcurrencyLimit>(),
    FilterSpec::of::<BandwidthLimit>(),
    FilterSpec::of::<LoadShed>(),
];

/// The load balancers.
pub(crate) const BALANCERS: &[BalancerSpec] = &[
    BalancerSpec::of::<balance::RoundRobin>(),
    BalancerSpec::of::<balance::LeastRequest>(),
    BalancerSpec::of::<balance::PeakEwma>(),
    BalancerSpec::of::<balance::Random>(),
    BalancerSpec::of::<balance::RingHash>(),
    BalancerSpec::of::<balance::Maglev>(),
];

/// The protocols as the configuration sees them.
pub(crate) const PROTOCOL_SPECS: &[ProtocolSpec] = &{
    let mut specs = [PROTOCOLS[0].spec; PROTOCOLS.len()];
    let mut at = 0;
    while at < specs.len() {
        specs[at] = PROTOCOLS[at].spec;
        at += 1;
    }
    specs
};
