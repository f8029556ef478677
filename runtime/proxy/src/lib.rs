//! Ringway's worker: accept, route, relay, drain.

#![forbid(unsafe_code)]

mod admission;
mod attempt;
mod changes;
mod client_cert;
mod core_view;
mod dialect;
mod direct;
mod edits;
mod end;
mod entry;
mod events;
mod filter_sets;
mod filters;
mod forward;
mod grpc;
mod handler;
mod hashing;
mod health;
mod intake;
mod listener;
mod path;
mod plan;
mod preview;
mod relay;
mod rewrite;
mod sinks;
mod tcp;
mod timeline;
mod timers;
mod tracing;
mod tunnel;
mod view;
mod worker;

pub use client_cert::{CertDetail, ClientCert};
pub use core_view::{CoreView, Toolbox};
pub use entry::{Handshake, Options, ProtocolEntry, Security};
pub use forward::{ForwardPolicy, RequestId, ServerHeader};
pub use listener::ListenerHandle;
pub use path::{MalformedPath, PathPolicy};
pub use plan::{
    ChainPlan, ClusterPlan, FilterPlan, FilterPlans, FilterSlot, ListenerPlan, Plan, ProxyHeader, ServicePlan, TlsPlan,
};
pub use preview::sent;
pub use relay::{Relayed, relay};
pub use tracing::{ParentTrace, Sampling, TracePlan};
pub use worker::Worker;
