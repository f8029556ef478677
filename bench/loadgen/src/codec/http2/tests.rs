use super::*;
use crate::codec::Call;

fn codec(streams: usize, grpc: bool) -> Http2 {
    Http2::new(Limits { streams, call: Call::default() }, grpc)
}

fn bytes(frames: &[(u8, u8, u32, &[u8])]) -> Vec<u8> {
    let mut out = ChunkQueue::new();
    frames.iter().for_each(|(kind, flags, id, payload)| push(&mut out, (*kind, *flags, *id), payload));
    out.iter().flat_map(|chunk| chunk.to_vec()).collect()
}

fn feed(input: &[u8], cut: usize, grpc: bool) -> Result<Vec<(u32, Outcome)>, Fault> {
    let mut client = codec(2, grpc);
    let (mut out, mut done) = (ChunkQueue::new(), Vec::new());
    client.greet(&mut out);
    for tag in 0..2 {
        client.send(&Prepared::default(), tag, &mut out);
    }
    assert_eq!(client.room(), 0);
    let (first, second) = input.split_at(cut);
    client.receive(first, &mut out, &mut done)?;
    client.receive(second, &mut out, &mut done)?;
    Ok(done.into_iter().map(|(tag, outcome, _)| (tag, outcome)).collect())
}

#[test]
fn replies_at_every_split() {
    let mut trailers = Vec::new();
    write_field(&mut trailers, "grpc-status", "0");
    let input = bytes(&[
        (SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]),
        (HEADERS, END_HEADERS, 3, &[0x88]),
        (DATA, 0, 3, b"\0\0\0\0\x01a"),
        (HEADERS, END_STREAM, 1, &[0x20]),
        (CONTINUATION, END_HEADERS, 1, &[0x8d]),
        (HEADERS, END_HEADERS | END_STREAM, 3, &trailers),
    ]);
    for cut in 0..input.len() {
        let expected = vec![(0, Outcome::Status(404)), (1, Outcome::Good)];
        assert_eq!(feed(&input, cut, true), Ok(expected), "at {cut}");
    }
}

#[test]
fn what_is_no_http2_is_a_fault() {
    assert!(feed(b"HTTP/1.1 400 Bad Request\r\n\r\n", 5, false).is_err());
    assert!(feed(&bytes(&[(HEADERS, END_HEADERS, 1, &[0x88])]), 0, false).is_err(), "no settings first");
    assert!(feed(&bytes(&[(SETTINGS, 0, 0, &[]), (HEADERS, END_HEADERS, 1, &[0xff])]), 0, false).is_err());
}

#[test]
fn bodies_wait_for_windows() {
    let mut client = codec(1, false);
    let (mut out, mut done) = (ChunkQueue::new(), Vec::new());
    let body = Chunk::from(vec![0; 100_000]);
    client.send(&Prepared { body, ..Prepared::default() }, 0, &mut out);
    assert!(out.bytes() < 66_000, "{}", out.bytes());
    let more = 50_000u32.to_be_bytes();
    let input = bytes(&[(SETTINGS, 0, 0, &[]), (WINDOW_UPDATE, 0, 0, &more), (WINDOW_UPDATE, 0, 1, &more)]);
    client.receive(&input, &mut out, &mut done).unwrap();
    assert!(out.bytes() > 100_000, "{}", out.bytes());
}
