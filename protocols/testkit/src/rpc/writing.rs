//! Bytes out of messages.

use http::{Method, StatusCode};
use ringway_api::{RequestHead, ResponseHead};
use ringway_rpc::{Asked, Kind, RpcCodec, STATUS};

use crate::rpc::frames::{
    check_kept, hex, one, renumber, rewrite, said, telling_ids, under_id, under_other_id, written,
};
use crate::rpc::samples::{Carries, Samples};

/// Statuses that errors are made of: ours, and those of filters.
const ERRORS: [u16; 12] = [400, 401, 403, 404, 408, 413, 429, 500, 501, 502, 503, 504];

/// Every message with what it carries and its name.
fn messages(samples: &Samples) -> Vec<(String, &[u8], &Carries)> {
    let calls = samples.requests.iter().chain(&samples.one_way).map(|sample| (&*sample.bytes, &sample.carries));
    let answers = samples.responses.iter().map(|sample| (&*sample.bytes, &sample.carries));
    calls.chain(answers).enumerate().map(|(at, (bytes, carries))| (format!("message {at}"), bytes, carries)).collect()
}

/// A frame under another id is the same frame, whatever the id; and the same bytes once it has its own again.
pub fn ids_survive<C: RpcCodec>(samples: &Samples) {
    for (name, bytes, _) in messages(samples) {
        let frame = one::<C>(bytes, &name);
        for id in telling_ids::<C>() {
            let what = format!("{}: {name} under {id:#x}", C::NAME);
            if let Some(renumbered) = renumber::<C>(bytes, id) {
                let now = one::<C>(&renumbered, &what);
                assert_eq!(now, under_other_id(&frame, id, now.len), "{what}");
                let back = renumber::<C>(&renumbered, frame.id).unwrap_or_else(|| panic!("{what}: no way back"));
                assert!(back == bytes, "{what}: {} came back as {}", hex(bytes), hex(&back));
            }
            let said = said::<C>(bytes);
            let rewritten = rewrite::<C>(&said, bytes, id, &said.content);
            let rewritten = rewritten.unwrap_or_else(|error| panic!("{what}: {error}"));
            let now = one::<C>(&rewritten, &what);
            assert_eq!((now.kind, now.id), (frame.kind, id), "{what}: written anew");
        }
    }
}

/// A message that is written anew without an edit says what it said.
pub fn rewritten_frames_mean_the_same<C: RpcCodec>(samples: &Samples) {
    for (name, bytes, carries) in messages(samples) {
        let what = format!("{}: {name}, written anew", C::NAME);
        let before = said::<C>(bytes);
        let id = one::<C>(bytes, &name).id;
        let rewritten = rewrite::<C>(&before, bytes, id, &before.content);
        let rewritten = rewritten.unwrap_or_else(|error| panic!("{what}: {error}"));
        let after = said::<C>(&rewritten);
        after.check(carries, &[], &what);
        check_kept(&rewritten, carries, &what);
        assert!(after.content == before.content, "{what}: content");
        let own = |headers: &ringway_api::Headers| headers.first(STATUS).map(<[u8]>::to_vec);
        match (&before.who, &after.who) {
            (Ok(a), Ok(b)) => {
                assert_eq!(a.path_and_query(), b.path_and_query(), "{what}: service and method");
                assert_eq!(a.timeout, b.timeout, "{what}: timeout");
            }
            (Err(a), Err(b)) => {
                assert_eq!((a.status, own(&a.headers)), (b.status, own(&b.headers)), "{what}: status");
                let thrown = |head: &ResponseHead| head.headers.first(ringway_rpc::EXCEPTION).is_some();
                assert_eq!(thrown(a), thrown(b), "{what}: exception");
            }
            _ => panic!("{what}: a request is a response now, or the other way round"),
        }
    }
}

/// Every call can be answered with every error: under its id, and so that it is read as an error.
pub fn errors_are_answers<C: RpcCodec>(samples: &Samples) {
    let messages = ["", "upstream failure", "naïve — 錯誤", &"long ".repeat(51)];
    for sample in &samples.requests {
        for id in telling_ids::<C>() {
            let bytes = under_id::<C>(&sample.bytes, id);
            let asked = Asked::new::<C>(one::<C>(&bytes, "a request"), &bytes);
            for status in ERRORS.iter().filter_map(|status| StatusCode::from_u16(*status).ok()) {
                for message in messages {
                    let what = format!("{}: {status} for {id:#x}", C::NAME);
                    let (_, error) = written(|out| C::default().write_error(&asked, status, message, out));
                    let answer = one::<C>(&error, &what);
                    assert_eq!((answer.kind, answer.id), (Kind::Response, id), "{what}");
                    let read = said::<C>(&error).status();
                    assert!(read.is_client_error() || read.is_server_error(), "{what}: read as {read}");
                }
            }
        }
    }
}

/// What the driver writes of its own accord is what it should be, and exists where samples of it do.
pub fn own_frames_are_frames<C: RpcCodec>(samples: &Samples) {
    let codec = C::default();
    for id in telling_ids::<C>() {
        let (exists, heartbeat) = written(|out| codec.write_heartbeat(id, out));
        assert_eq!(exists, samples.heartbeat.is_some(), "{}: has heartbeats", C::NAME);
        if exists {
            let frame = one::<C>(&heartbeat, "a heartbeat");
            assert_eq!((frame.kind, frame.id), (Kind::Heartbeat, id), "{}: a heartbeat", C::NAME);
            let asked = Asked::new::<C>(frame, &heartbeat);
            let (_, reply) = written(|out| codec.write_heartbeat_reply(&asked, out));
            let frame = one::<C>(&reply, "a heartbeat's reply");
            assert_eq!((frame.kind, frame.id), (Kind::HeartbeatReply, id), "{}: a heartbeat's reply", C::NAME);
        } else {
            assert!(heartbeat.is_empty(), "{}: there are no heartbeats, and it writes one", C::NAME);
        }
    }
    if let Some((heartbeat, expected)) = &samples.heartbeat {
        let asked = Asked::new::<C>(one::<C>(heartbeat, "the heartbeat"), heartbeat);
        let (_, reply) = written(|out| codec.write_heartbeat_reply(&asked, out));
        assert_eq!(hex(&reply), hex(expected), "{}: the reply to the heartbeat", C::NAME);
    }
    let (exists, goaway) = written(|out| codec.write_goaway(0, out));
    assert_eq!(exists, samples.sends_goaway, "{}: says goodbye", C::NAME);
    if let Some(sample) = &samples.goaway {
        assert_eq!(one::<C>(sample, "the go-away").kind, Kind::GoAway, "{}", C::NAME);
    }
    if exists {
        assert_eq!(one::<C>(&goaway, "a go-away").kind, Kind::GoAway, "{}", C::NAME);
    } else {
        assert!(goaway.is_empty(), "{}: has no go-away, and writes {}", C::NAME, hex(&goaway));
    }
    foreign::<C>(samples);
}

/// Messages of other protocols are said in this one, or refused without a trace.
fn foreign<C: RpcCodec>(samples: &Samples) {
    let codec = C::default();
    let mut head = RequestHead::new(Method::POST, "", "/com.example.Service/method");
    let set = head.headers.append("a-field", b"value");
    debug_assert!(set.is_ok());
    let (result, bytes) = written(|out| codec.write_request(1, &head, None, b"content", out));
    match result {
        Ok(()) => assert_eq!(one::<C>(&bytes, "a foreign request").kind, Kind::Request, "{}", C::NAME),
        Err(_) => assert!(bytes.is_empty(), "{}: refuses a foreign request and writes {}", C::NAME, hex(&bytes)),
    }
    let bytes = &samples.request().bytes;
    let asked = Asked::new::<C>(one::<C>(bytes, "a request"), bytes);
    let head = ResponseHead::new(StatusCode::OK);
    let (result, bytes) = written(|out| codec.write_response(&asked, &head, None, b"content", out));
    match result {
        Ok(()) => {
            let frame = one::<C>(&bytes, "a foreign response");
            assert_eq!((frame.kind, frame.id), (Kind::Response, asked.frame.id), "{}: a foreign response", C::NAME);
        }
        Err(_) => assert!(bytes.is_empty(), "{}: refuses a foreign response and writes {}", C::NAME, hex(&bytes)),
    }
}
