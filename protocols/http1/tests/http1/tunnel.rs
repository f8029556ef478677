//! Connections that become tunnels: `CONNECT` and `Upgrade` (RFC 9110, sections 7.8 and 9.3.6).

use http::StatusCode;
use ringway_api::{Io, Tunnel};
use ringway_testkit::{Answer, Split, TestHandler};

use crate::through::{chain, settle};
use crate::world::{Server, Upstream};

pub(crate) const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\
                       Sec-WebSocket-Key: k\r\n\r\n";
pub(crate) const YES: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nX: y\r\n\r\n";

pub(crate) fn send(server: &mut Server, bytes: &str) {
    server.sim.block_on(server.io.send(bytes)).unwrap();
}

pub(crate) fn answer(up: &mut Upstream, bytes: &str) {
    up.sim.block_on(up.io.send(bytes)).unwrap();
}

#[test]
fn an_upgrade_passes_through_and_then_bytes_do_both_ways() {
    for split in [Split::AsSent, Split::Fixed(1), Split::Random(9)] {
        let (mut server, mut up) = chain(split, 1 << 16);
        // The client does not wait for the answer.
        send(&mut server, &format!("{UPGRADE}early"));
        let (down, sent) = settle(&mut server, &mut up);
        assert_eq!(down, "");
        assert_eq!(
            sent,
            "GET /chat HTTP/1.1\r\nhost: a\r\nSec-WebSocket-Key: k\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
            "what is the tunnel's waits for it"
        );
        answer(&mut up, &format!("{YES}hello"));
        let (down, sent) = settle(&mut server, &mut up);
        assert_eq!(
            down,
            "HTTP/1.1 101 Switching Protocols\r\nX: y\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhello"
        );
        assert_eq!(sent, "early");
        send(&mut server, "GET / HTTP/1.1\r\n\r\n");
        answer(&mut up, "HTTP/1.1 200 OK\r\n\r\n");
        let (down, sent) = settle(&mut server, &mut up);
        assert_eq!((down.as_str(), sent.as_str()), ("HTTP/1.1 200 OK\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"));
        assert!(!server.is_over());
    }
}

#[test]
fn the_end_of_one_side_of_a_tunnel_leaves_the_other() {
    // The upstream ends first.
    let (mut server, mut up) = chain(Split::AsSent, 1 << 16);
    send(&mut server, UPGRADE);
    settle(&mut server, &mut up);
    answer(&mut up, &format!("{YES}bye"));
    up.sim.block_on(up.io.finish()).unwrap();
    let (down, _) = settle(&mut server, &mut up);
    assert!(down.ends_with("bye"), "{down}");
    assert!(server.control.has_ended(), "the end is passed on");
    assert!(!server.is_over());
    send(&mut server, "still here");
    assert_eq!(settle(&mut server, &mut up).1, "still here");
    server.sim.block_on(server.io.finish()).unwrap();
    settle(&mut server, &mut up);
    assert!(up.control.has_ended() && server.is_over());

    // The client ends first.
    let (mut server, mut up) = chain(Split::AsSent, 1 << 16);
    send(&mut server, UPGRADE);
    settle(&mut server, &mut up);
    answer(&mut up, YES);
    settle(&mut server, &mut up);
    send(&mut server, "last");
    server.sim.block_on(server.io.finish()).unwrap();
    assert_eq!(settle(&mut server, &mut up).1, "last");
    assert!(up.control.has_ended(), "the end is passed on");
    answer(&mut up, "answer");
    assert_eq!(settle(&mut server, &mut up).0, "answer");
    up.sim.block_on(up.io.finish()).unwrap();
    settle(&mut server, &mut up);
    assert!(server.is_over() && server.control.has_ended());
}

#[test]
fn a_refused_upgrade_leaves_a_connection_for_requests() {
    let (mut server, mut up) = chain(Split::AsSent, 1 << 16);
    send(&mut server, UPGRADE);
    settle(&mut server, &mut up);
    answer(&mut up, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    let (down, _) = settle(&mut server, &mut up);
    assert_eq!(down, "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno");
    send(&mut server, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(settle(&mut server, &mut up).1.starts_with("GET / HTTP/1.1"));
}

#[test]
fn connect_is_a_tunnel_to_an_authority() {
    let (mut server, mut up) = chain(Split::Random(3), 1 << 16);
    send(&mut server, "CONNECT b.example:443 HTTP/1.1\r\nHost: b.example:443\r\n\r\n");
    let (_, sent) = settle(&mut server, &mut up);
    assert_eq!(sent, "CONNECT b.example:443 HTTP/1.1\r\nhost: b.example:443\r\n\r\n");
    // RFC 9110, section 9.3.6: such fields are to be ignored.
    answer(&mut up, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nmore than three");
    let (down, _) = settle(&mut server, &mut up);
    assert_eq!(down, "HTTP/1.1 200 OK\r\n\r\nmore than three");

    // Refused, the connection closes: what the client sends next may be meant for the other end.
    let mut server = Server::start(TestHandler::with(|request, _, _| {
        assert_eq!((request.head.authority(), request.head.path_and_query()), (&b"b:443"[..], &b""[..]));
        Box::pin(std::future::ready(Answer::text(StatusCode::FORBIDDEN, "no")))
    }));
    let answer = server.round("CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(Server::statuses(&answer), [403]);
    assert!(server.control.has_ended());
    assert!(Tunnel::Connect.accepts(StatusCode::OK));
}

#[test]
fn an_upgrade_to_something_else_is_not_passed_on() {
    for bad in [
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\r\n",
        "HTTP/1.0 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    ] {
        let (mut server, mut up) = chain(Split::AsSent, 1 << 16);
        send(&mut server, UPGRADE);
        settle(&mut server, &mut up);
        answer(&mut up, bad);
        assert_eq!(Server::statuses(&settle(&mut server, &mut up).0), [502], "{bad}");
    }
}

#[test]
fn a_tunnel_moves_much_through_little() {
    let (mut server, mut up) = chain(Split::AsSent, 1 << 12);
    send(&mut server, UPGRADE);
    settle(&mut server, &mut up);
    answer(&mut up, YES);
    settle(&mut server, &mut up);
    let block = "0123456789abcdef".repeat(200);
    for _ in 0..50 {
        send(&mut server, &block);
        answer(&mut up, &block);
        let (down, sent) = settle(&mut server, &mut up);
        assert_eq!((down.len(), sent.len()), (block.len(), block.len()));
    }
}

#[test]
fn a_client_that_is_lost_takes_its_tunnel_along() {
    let (mut server, mut up) = chain(Split::AsSent, 1 << 16);
    send(&mut server, UPGRADE);
    settle(&mut server, &mut up);
    answer(&mut up, YES);
    settle(&mut server, &mut up);
    server.io.abort();
    settle(&mut server, &mut up);
    assert!(server.is_over());
    assert!(up.control.has_ended() || up.sim.block_on(up.io.recv()).is_err(), "the upstream is told");
}
