//! Dubbo2: calls, their attachments, results and events.

use std::rc::Rc;
use std::time::Duration;

use ringway_api::RequestHead;
use ringway_rpc::dubbo::Dubbo;
use ringway_rpc::{Decoded, Kind, RpcCodec, RpcOptions};
use ringway_testkit::PairOptions;
use ringway_testkit::rpc::RpcWorld;

fn text(text: &str) -> Vec<u8> {
    assert!(text.len() < 32);
    [&[text.len() as u8], text.as_bytes()].concat()
}

fn frame(flags: u8, status: u8, id: u64, body: &[u8]) -> Vec<u8> {
    [&[0xda, 0xbb, flags, status][..], &id.to_be_bytes(), &(body.len() as u32).to_be_bytes(), body].concat()
}

/// An object of a class with one field, in a list; and a string in two pieces.
const ARGUMENTS: &[u8] = b"\x79\x43\x03a.B\x91\x01f\x60\xc8\x01R\x00\x01xS\x00\x01y";

fn call_with(flags: u8, id: u64, attachments: &[u8]) -> Vec<u8> {
    let head = [text("2.0.2"), text("com.x.Echo"), text("1.0.0"), text("say"), text("[La/B;Ljava/lang/String;")];
    frame(flags, 0, id, &[&head.concat(), ARGUMENTS, attachments].concat())
}

fn map(entries: &[(&str, &str)]) -> Vec<u8> {
    let entries: Vec<u8> = entries.iter().flat_map(|(name, value)| [text(name), text(value)].concat()).collect();
    [b"H", &entries[..], b"Z"].concat()
}

fn call(id: u64) -> Vec<u8> {
    call_with(0xc2, id, &map(&[("path", "com.x.Echo"), ("timeout", "1500"), ("group", "g")]))
}

fn id(frame: &[u8]) -> u64 {
    u64::from_be_bytes(frame[4..12].try_into().unwrap())
}

fn renumbered(frame: &[u8], id: u64) -> Vec<u8> {
    [&frame[..4], &id.to_be_bytes(), &frame[12..]].concat()
}

fn edited(filter: impl Fn(&mut RequestHead) + 'static) -> RpcWorld {
    RpcWorld::with::<Dubbo>(1, PairOptions::default(), RpcOptions::default(), Rc::new(filter))
}

#[test]
fn calls_and_results_go_through_as_they_came() {
    let mut world = edited(|head| {
        assert_eq!(head.path_and_query(), b"/com.x.Echo/say");
        assert_eq!(head.timeout, Some(Duration::from_millis(1500)));
        assert_eq!(
            (head.headers.first("version"), head.headers.first("group")),
            (Some(&b"1.0.0"[..]), Some(&b"g"[..]))
        );
    });
    let large = u64::MAX - 7;
    world.ask(call(large));
    let arrived = world.asked();
    assert_eq!(renumbered(&arrived, large), call(large));
    // An exception is a result.
    let answer = frame(2, 20, id(&arrived), b"\x90\x05oops!");
    world.answer(&answer);
    assert_eq!(world.answered(), renumbered(&answer, large));
}

#[test]
fn attachments_are_edited_behind_the_arguments() {
    let mut world = edited(|head| {
        head.headers.set("timeout", b"700").unwrap();
        head.headers.remove("group");
        head.headers.append("traceparent", "é".as_bytes()).unwrap();
    });
    // One entry is no string: it stays.
    let entries = [&b"H"[..], &text("timeout"), &text("1500"), &text("n"), &[0x91], &text("group"), &text("g"), b"Z"];
    world.ask(call_with(0xc2, 1, &entries.concat()));
    let arrived = world.asked();
    let expected =
        [b"H", &text("n")[..], &[0x91], &text("timeout"), &text("700"), &text("traceparent"), b"\x01\xc3\xa9Z"];
    let whole = call_with(0xc2, id(&arrived), &expected.concat());
    assert_eq!(arrived, whole);
}

#[test]
fn edits_keep_characters_that_java_writes_as_surrogates() {
    let mut world = edited(|head| head.headers.append("new", "\u{1f600}".as_bytes()).unwrap());
    let face = b"\x03\xed\xa0\xbd\xed\xb8\x80!";
    world.ask(call_with(0xc2, 1, &[b"H", &text("who")[..], face, b"Z"].concat()));
    let arrived = world.asked();
    let expected = [b"H", &text("who")[..], face, &text("new"), b"\x02\xed\xa0\xbd\xed\xb8\x80Z"].concat();
    assert_eq!(arrived, call_with(0xc2, id(&arrived), &expected));
}

#[test]
fn what_is_not_hessian2_passes_through_and_cannot_be_edited() {
    let fastjson = frame(0xc6, 0, 5, b"\"2.0.2\"\n\"com.x.Echo\"\n");
    let mut world = edited(|_| ());
    world.ask(&fastjson);
    assert_eq!(renumbered(&world.asked(), 5), fastjson);
    let mut world = edited(|head| head.headers.append("a", b"b").unwrap());
    world.ask(&fastjson);
    assert_eq!(world.asked(), b"");
    let answered = world.answered();
    assert_eq!((answered[2], answered[3], id(&answered)), (6, 40, 5));
    assert!(answered.ends_with(b"\"\n"), "{answered:?}");
}

#[test]
fn a_one_way_call_is_known_by_its_flag() {
    let mut world = edited(|_| ());
    let one_way = call_with(0x82, 9, &map(&[]));
    world.ask(&one_way);
    assert_eq!(renumbered(&world.asked(), 9), one_way);
    assert_eq!(world.answered(), b"");
    assert_eq!(world.upstream.free_slots(), 256);
}

#[test]
fn a_heartbeat_is_answered_in_the_words_of_its_serialization() {
    let mut world = edited(|_| ());
    world.ask(frame(0xe2, 0, 3, b"N"));
    assert_eq!(world.answered(), frame(0x22, 20, 3, b"N"));
    world.ask(frame(0xe6, 0, 4, b"null\n"));
    assert_eq!(world.answered(), frame(0x26, 20, 4, b"null\n"));
    // A readonly event says that the server goes away: calls under way go on, no more are made.
    world.ask(call(1));
    let arrived = world.asked();
    world.answer(frame(0xa2, 0, 8, b"\x01R"));
    assert_eq!(world.upstream.free_slots(), 0);
    world.answer(frame(2, 20, id(&arrived), b"\x92"));
    assert_eq!(id(&world.answered()), 1);
}

#[test]
fn what_cannot_be_read_is_answered_and_harms_nobody_else() {
    let deep = vec![0x79; 2000];
    let head = [text("2.0.2"), text("s"), text("1"), text("m"), text("Ljava/lang/Object;")].concat();
    let absurd: [(&[u8], &str); 5] = [
        (&deep, "deep"),
        (b"Q\x91", "reference"),
        (b"\x58I\x7f\xff\xff\xff", "length"),
        (b"\x58I\xff\xff\xff\xff", "negative"),
        (b"\x45", "tag"),
    ];
    let mut world = edited(|_| ());
    for (arguments, what) in absurd {
        world.ask(frame(0xc2, 0, 6, &[&head[..], arguments].concat()));
        let answered = world.answered();
        assert_eq!((answered[3], id(&answered)), (40, 6), "{what}");
    }
    world.ask(call(7));
    let arrived = world.asked();
    assert_eq!(arrived.len(), call(7).len());
    world.answer(frame(2, 20, id(&arrived), b"\x92"));
    assert_eq!(id(&world.answered()), 7);
    // A negative length leaves no way on.
    let mut negative = call(8);
    negative[12] = 0xff;
    world.ask(negative);
    assert_eq!(id(&world.answered()), 8);
    world.sim.advance(Duration::from_secs(2));
    assert!(matches!(&*world.ended.borrow(), Some(Err(error)) if error.breach));
}

#[test]
fn every_prefix_asks_for_more_and_never_too_much() {
    for whole in [call(1), frame(0xe2, 0, 3, b"N"), frame(2, 20, 1, b"\x91\x05hello")] {
        for end in 0..whole.len() {
            match Dubbo.decode(&whole[..end]).unwrap() {
                Decoded::Need(need) => assert!(need > end && need <= 17),
                Decoded::Frame(head) => assert_eq!(head.len, whole.len()),
            }
        }
    }
    assert!(Dubbo.decode(b"\xda\xba").is_err());
    let Decoded::Frame(head) = Dubbo.decode(&call(1)).unwrap() else { panic!() };
    assert_eq!((head.kind, head.id), (Kind::Request, 1));
}

#[test]
fn drain_tells_a_consumer_and_answers_it() {
    let mut world = edited(|_| ());
    world.ask(call(1));
    let arrived = world.asked();
    world.downstream.drain();
    assert_eq!(world.answered(), frame(0xa2, 0, 0, b"\x01R"));
    world.answer(frame(2, 20, id(&arrived), b"\x92"));
    assert_eq!(id(&world.answered()), 1);
    world.sim.advance(Duration::from_secs(2));
    assert!(matches!(*world.ended.borrow(), Some(Ok(()))));
}
