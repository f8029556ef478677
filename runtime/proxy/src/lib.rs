//! Ringway's worker: accept, route, relay, drain.
