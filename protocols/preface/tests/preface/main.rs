//! Through the public face: every split, garbage, captures, and what is written read again.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod captures;
mod client_hello;
mod proxy_read;
mod proxy_write;

use std::fmt::Debug;

/// A verdict must not change once it is there, however many bytes follow; returns how many bytes it took, if any did.
fn settles<T: PartialEq + Debug>(bytes: &[u8], verdict: impl Fn(&[u8]) -> Option<T>) -> Option<usize> {
    let mut settled: Option<(usize, T)> = None;
    for len in 0..=bytes.len() {
        let now = bytes.get(..len).and_then(&verdict);
        match (&settled, now) {
            (Some((at, before)), now) => assert_eq!(now.as_ref(), Some(before), "settled at {at}, changed at {len}"),
            (None, Some(now)) => settled = Some((len, now)),
            (None, None) => {}
        }
    }
    settled.map(|(at, _)| at)
}
