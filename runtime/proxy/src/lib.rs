//! Ringway's worker: accept, route, relay, drain.

#![forbid(unsafe_code)]

mod attempt;
mod core_view;
mod end;
mod entry;
mod events;
mod forward;
mod handler;
mod log;
mod path;
mod plan;
mod relay;
mod tcp;
mod timers;
mod view;
mod worker;

pub use core_view::{CoreView, Toolbox};
pub use entry::{Options, ProtocolEntry};
pub use forward::{ForwardPolicy, RequestId, ServerHeader};
pub use path::PathPolicy;
pub use plan::{ClusterPlan, ListenerPlan, LogPlan, Plan, ServicePlan};
pub use relay::{Relayed, relay};
pub use view::ListenerHandle;
pub use worker::Worker;
