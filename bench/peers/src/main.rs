//! Side-by-side measurements of Ringway and its peers.

fn main() {}
