//! Frames out of bytes.

use ringway_api::{Chunk, Headers, Sniff};
use ringway_rpc::{Decoded, Event, Fields, FrameHead, Kind, Limits, Reader, RpcCodec};

use crate::conform;
use crate::rpc::frames::{Found, WIDE, hex, many, one, read_all, said};
use crate::rpc::fuzz::read_any;
use crate::rpc::samples::{RequestSample, Samples};

/// Beginnings of what other protocols on the same port send.
const OTHERS: [&[u8]; 4] = [
    b"GET / HTTP/1.1\r\nHost: example.com\r\nAccept: */*\r\n\r\n",
    b"POST /x HTTP/1.1\r\nHost: example.com\r\nContent-Length: 0\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
];

/// A codec has made up its mind by then.
const SNIFFED: usize = 64;

/// Sniffing knows each request after a few bytes, never takes back what it said, and refuses other protocols.
pub fn sniffs_its_own_only<C: RpcCodec>(samples: &Samples) {
    for sample in samples.requests.iter().chain(&samples.one_way) {
        let mut known = false;
        for len in 0..=sample.bytes.len() {
            match C::sniff(sample.bytes.get(..len).unwrap_or_default()) {
                Sniff::Yes => known = true,
                Sniff::No => panic!("{}: refuses the first {len} bytes of its own request", C::NAME),
                Sniff::NeedMore => assert!(!known, "{}: unsure again at {len} bytes", C::NAME),
            }
            assert!(known || len < SNIFFED.min(sample.bytes.len()), "{}: unsure after {len} bytes", C::NAME);
        }
    }
    for other in OTHERS {
        assert_eq!(C::sniff(other), Sniff::No, "{}: takes {:?}", C::NAME, String::from_utf8_lossy(other));
    }
}

/// Frames mean what their author says, with and without the content that a large one would not have yet.
pub fn meaning_is_as_expected<C: RpcCodec>(samples: &Samples) {
    let _ = (samples.request(), samples.response());
    let calls = samples.requests.iter().map(|sample| (Kind::Request, sample));
    for (at, (kind, sample)) in calls.chain(samples.one_way.iter().map(|sample| (Kind::OneWay, sample))).enumerate() {
        let what = format!("{}: request {at}", C::NAME);
        let frame = one::<C>(&sample.bytes, "a request");
        assert_eq!(frame.kind, kind, "{what}");
        expect_request::<C>(sample, &what);
        let said = said::<C>(&sample.bytes);
        said.check(&sample.carries, &[], &what);
        assert_eq!(said.who.ok().and_then(|head| head.timeout), sample.timeout, "{what}: timeout");
    }
    for (at, sample) in samples.responses.iter().enumerate() {
        let what = format!("{}: response {at}", C::NAME);
        let frame = one::<C>(&sample.bytes, "a response");
        assert_eq!(frame.kind, Kind::Response, "{what}");
        for block in blocks(&frame, &sample.bytes) {
            let mut headers = Headers::over_frame(C::NAME, Chunk::copy_from(block), 8);
            let outcome = C::default().read_response(&frame, block, &mut Fields::of::<C>(&mut headers));
            let outcome = outcome.unwrap_or_else(|error| panic!("{what}: {error}"));
            let told = (outcome.status, outcome.code, outcome.exception);
            assert_eq!(told, (sample.status, sample.code, sample.exception), "{what}");
        }
        said::<C>(&sample.bytes).check(&sample.carries, &[], &what);
    }
}

fn expect_request<C: RpcCodec>(sample: &RequestSample, what: &str) {
    let frame = one::<C>(&sample.bytes, "a request");
    for block in blocks(&frame, &sample.bytes) {
        let mut headers = Headers::over_frame(C::NAME, Chunk::copy_from(block), 8);
        let call = C::default().read_request(&frame, block, &mut Fields::of::<C>(&mut headers));
        let call = call.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(String::from_utf8_lossy(call.service), sample.service, "{what}: service");
        assert_eq!(String::from_utf8_lossy(call.method), sample.method, "{what}: method");
        assert_eq!(call.timeout, sample.timeout, "{what}: timeout");
    }
}

/// What a frame is read from: all of it, and as little as there may be.
fn blocks<'a>(frame: &FrameHead, bytes: &'a [u8]) -> [&'a [u8]; 2] {
    [bytes, bytes.get(..frame.look.max(frame.content)).unwrap_or(bytes)]
}

/// Whatever is there of a frame, it is told to have the same length; the codec asks for more than there is, and never
/// for more than the frame has: the peer may be waiting for the answer.
pub fn lengths_are_consistent<C: RpcCodec>(samples: &Samples) {
    let codec = C::default();
    for (name, bytes) in samples.frames() {
        let what = format!("{}: {name}", C::NAME);
        let frame = one::<C>(bytes, &name);
        assert!(
            frame.len > 0 && frame.content + frame.tail <= frame.len && frame.look <= frame.len,
            "{what}: {frame:?}"
        );
        assert!(frame.tail == 0 || frame.look == frame.len, "{what}: its tail comes after its content: {frame:?}");
        let mut told = false;
        for len in 0..bytes.len() {
            match codec.decode(bytes.get(..len).unwrap_or_default()) {
                Ok(Decoded::Need(need)) => {
                    assert!(!told, "{what}: forgotten at {len} bytes");
                    assert!(need > len && need <= frame.len, "{what}: needs {need} of {}, has {len}", frame.len);
                }
                Ok(Decoded::Frame(early)) => {
                    told = true;
                    assert_eq!(early, frame, "{what}: at {len} bytes");
                }
                Err(error) => panic!("{what}: {error} at {len} bytes"),
            }
        }
        for next in [bytes, &[0xff; 64], &[0; 64]] {
            let followed = [bytes, next].concat();
            assert_eq!(codec.decode(&followed), Ok(Decoded::Frame(frame)), "{what}: with bytes behind it");
        }
    }
    for broken in &samples.broken {
        let refused = read_all::<C>(&[broken], WIDE);
        assert!(refused.0.is_empty() && refused.1.is_some(), "{}: reads {}", C::NAME, hex(broken));
    }
}

/// Frames behind each other are the same ones however they are cut, kept whole or passed on in pieces.
pub fn any_cut_reads_the_same<C: RpcCodec>(samples: &Samples) {
    let frames = samples.frames();
    let all: Vec<u8> = frames.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
    let expected: Vec<Found> =
        frames.iter().map(|(name, bytes)| Found { frame: one::<C>(bytes, name), bytes: bytes.to_vec() }).collect();
    assert_eq!(many::<C>(&all, "all samples behind each other"), expected, "{}", C::NAME);
    for limits in [WIDE, Limits { frame: all.len(), buffered: 0 }] {
        conform::every_split(&all, |pieces| read_all::<C>(pieces, limits));
        assert_eq!(read_all::<C>(&[&all], limits), (expected.clone(), None), "{}: {limits:?}", C::NAME);
    }
}

/// A frame that ends early is none, whatever it lacks.
pub fn truncated_frames_are_no_frames<C: RpcCodec>(samples: &Samples) {
    for (name, bytes) in samples.frames() {
        for len in 0..bytes.len() {
            let part = bytes.get(..len).unwrap_or_default();
            for buffered in [1 << 30, 0] {
                let read = read_all::<C>(&[part], Limits { frame: 1 << 30, buffered });
                assert_eq!(read, (Vec::new(), None), "{}: {name}: {len} of {} bytes", C::NAME, bytes.len());
            }
            let mut reader = Reader::default();
            reader.push(Chunk::copy_from(part));
            let event = reader.next(&C::default(), WIDE);
            assert!(matches!(event, Ok(None)), "{}: {name}: {event:?} at {len} bytes", C::NAME);
            assert_eq!(reader.is_clean(), len == 0, "{}: {name}: {len} bytes may be missed", C::NAME);
        }
    }
}

/// A frame that is too long is refused as soon as its length can be known; one that is passed on in pieces is told as
/// soon as what is read of it is there, and nothing else of it is kept.
pub fn limits_come_before_buffering<C: RpcCodec>(samples: &Samples) {
    let codec = C::default();
    for (name, bytes) in samples.frames() {
        let what = format!("{}: {name}", C::NAME);
        let frame = one::<C>(bytes, &name);
        let told = (0..bytes.len())
            .find(|len| matches!(codec.decode(bytes.get(..*len).unwrap_or_default()), Ok(Decoded::Frame(_))))
            .unwrap_or(bytes.len());
        let refused = first_event::<C>(bytes, Limits { frame: bytes.len() - 1, buffered: usize::MAX });
        assert_eq!(refused, (told, Err("rpc_frame_too_large")), "{what}: a limit that is one byte less");
        let kept = first_event::<C>(bytes, Limits { frame: bytes.len(), buffered: bytes.len() });
        assert_eq!(kept, (bytes.len(), Ok(bytes.len())), "{what}: a limit that just suffices");
        let begun = frame.look.max(frame.content).max(told);
        let passed = first_event::<C>(bytes, Limits { frame: bytes.len(), buffered: bytes.len() - 1 });
        let block = if frame.look == frame.len { frame.len } else { frame.look.max(frame.content) };
        assert_eq!(passed, (begun.max(block), Ok(block)), "{what}: passed on in pieces");
    }
    for bytes in &samples.oversized {
        let refused = read_all::<C>(&[bytes], Limits { frame: 8 << 20, buffered: 256 << 10 });
        assert!(refused.1.is_some() && refused.0.is_empty(), "{}: accepts a length: {}", C::NAME, hex(bytes));
    }
}

/// Feeds bytes one by one: how many it took until something happened, and the length of the block or the error.
fn first_event<C: RpcCodec>(bytes: &[u8], limits: Limits) -> (usize, Result<usize, &'static str>) {
    let (codec, mut reader) = (C::default(), Reader::default());
    for (at, byte) in bytes.iter().enumerate() {
        reader.push(Chunk::copy_from(&[*byte]));
        match reader.next(&codec, limits) {
            Ok(None) => {}
            Ok(Some(Event::Frame(received))) => return (at + 1, Ok(received.block.len())),
            Ok(Some(other)) => panic!("{}: {other:?} comes first", C::NAME),
            Err(error) => return (at + 1, Err(error.details)),
        }
    }
    panic!("{}: nothing happens in {}", C::NAME, hex(bytes));
}

/// Random bytes, frames with random changes and their parts in any order are read or refused, alike in every cut; what
/// is read can be answered and written again.
pub fn any_bytes_are_survived<C: RpcCodec>(samples: &Samples) {
    let frames = samples.frames();
    let mut tokens: Vec<&[u8]> = vec![&[0], &[1], &[0xff], &[0x7f, 0xff, 0xff, 0xff], &[0; 8], &[0xff; 4]];
    for (_, bytes) in &frames {
        let (front, back) = bytes.split_at(bytes.len() / 2);
        tokens.extend([*bytes, front, back]);
    }
    conform::garbage(600, 800, &tokens, read_any::<C>);
    for (_, bytes) in &frames {
        conform::mutations(300, bytes, read_any::<C>);
        // The lengths are in the beginning.
        let front = bytes.len().min(48);
        conform::mutations(300, bytes.get(..front).unwrap_or_default(), |mutated| {
            read_any::<C>(&[mutated, bytes.get(front..).unwrap_or_default()].concat());
        });
    }
}
