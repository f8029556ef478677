//! A modular network runtime and sidecar proxy on io_uring.

fn main() {}
