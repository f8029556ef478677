//! A stream filter and a load balancer for Ringway, on its published API alone.

#![forbid(unsafe_code)]

mod maintenance;
mod sticky;

pub use maintenance::{Maintenance, MaintenanceConfig};
pub use sticky::Sticky;
