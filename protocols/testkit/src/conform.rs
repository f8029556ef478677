//! Runs that every codec must survive.

use std::fmt::Debug;

use crate::Rng;

/// Runs `check` with `runs` seeds. A failing run prints its seed; `RINGWAY_SEED=<seed>` replays that one alone.
pub fn seeds(runs: u64, mut check: impl FnMut(&mut Rng)) {
    let replay = std::env::var("RINGWAY_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let seeds = replay.map_or(0..runs, |seed| seed..seed.saturating_add(1));
    for seed in seeds {
        let _report = Report(seed);
        // Neighbouring seeds would give neighbouring first draws to a weaker generator; scatter them anyway.
        check(&mut Rng::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d)));
    }
}

/// Feeds `input` to a codec in every way to cut it into two, byte by byte, and in 64 random ways; the outcome must
/// be that of feeding it whole. `feed` gets the pieces in order, none of them empty.
///
/// # Panics
/// When an outcome differs.
pub fn every_split<T: PartialEq + Debug>(input: &[u8], mut feed: impl FnMut(&[&[u8]]) -> T) {
    let whole = feed(&[input]);
    for at in 1..input.len() {
        let (a, b) = input.split_at(at);
        assert_eq!(feed(&[a, b]), whole, "cut at {at} of {:?}", String::from_utf8_lossy(input));
    }
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(feed(&bytes), whole, "byte by byte: {:?}", String::from_utf8_lossy(input));
    seeds(64, |rng| {
        let pieces = cut(input, rng);
        assert_eq!(feed(&pieces), whole, "{:?}", pieces.iter().map(|p| String::from_utf8_lossy(p)).collect::<Vec<_>>());
    });
}

/// Feeds random bytes, and random tokens of `alphabet`, to a codec that must refuse or accept but never panic, hang
/// or ask for memory without bound.
pub fn garbage(runs: u64, max_len: usize, alphabet: &[&[u8]], mut feed: impl FnMut(&[u8])) {
    seeds(runs, |rng| {
        let mut input = Vec::new();
        while input.len() < max_len && !rng.one_in(24) {
            if alphabet.is_empty() || rng.one_in(5) {
                let len = 1 + rng.below(6);
                input.extend(rng.bytes(len));
            } else {
                input.extend_from_slice(rng.pick::<&[u8]>(alphabet));
            }
        }
        feed(&input);
    });
}

/// Feeds `valid` with one to four random changes: a byte flipped, dropped, doubled or swapped for a telling one.
pub fn mutations(runs: u64, valid: &[u8], mut feed: impl FnMut(&[u8])) {
    const TELLING: &[u8] = b"\r\n\0 \t:;,0x+-_\x7f\x80\xff\"\\/*#?%";
    seeds(runs, |rng| {
        let mut input = valid.to_vec();
        for _ in 0..1 + rng.below(4) {
            let at = rng.below(input.len());
            match rng.below(5) {
                _ if input.is_empty() => break,
                0 => input[at] ^= 1 << rng.below(8),
                1 => drop(input.remove(at)),
                2 => input.insert(at, input[at]),
                3 => input[at] = *rng.pick(TELLING),
                _ => input.insert(at, *rng.pick(TELLING)),
            }
        }
        feed(&input);
    });
}

/// `input` in random pieces, none of them empty.
pub fn cut<'a>(input: &'a [u8], rng: &mut Rng) -> Vec<&'a [u8]> {
    let mut rest = input;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let most = *rng.pick(&[2, 16, 256]);
        let (piece, after) = rest.split_at((1 + rng.below(most)).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// Names the seed of a run that panics.
struct Report(u64);

impl Drop for Report {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with seed {0}; replay it with RINGWAY_SEED={0}", self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_codec_that_depends_on_pieces_is_caught() {
        every_split(b"abcdef", |pieces| pieces.concat());
        let caught = std::panic::catch_unwind(|| every_split(b"abcdef", |pieces| pieces.len()));
        assert!(caught.is_err());
    }

    #[test]
    fn runs_repeat() {
        let run = || {
            let mut all = Vec::new();
            garbage(20, 100, &[b"GET ", b"\r\n"], |input| all.push(input.to_vec()));
            mutations(20, b"GET / HTTP/1.1\r\n\r\n", |input| all.push(input.to_vec()));
            all
        };
        assert_eq!(run(), run());
    }
}
