//! The raw pump and instruction counts of Ringway's hot paths.

fn main() {}
