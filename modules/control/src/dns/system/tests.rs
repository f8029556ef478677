//! Lookups against a name server of a few lines on loopback, and of names that need none.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::*;
use crate::dns::{Event, Name, Resolver, ResolverOptions};

const A: u16 = 1;
const AAAA: u16 = 28;
const CNAME: u16 = 5;
const NO_ERROR: u8 = 0;
const SERVFAIL: u8 = 2;
const NXDOMAIN: u8 = 3;

/// What the server answers to a question: a code and records of type, TTL and data, all owned by the name asked for.
type Reply = (u8, Vec<(u16, u32, Vec<u8>)>);

#[derive(Clone, Default)]
struct Zone(Arc<Mutex<HashMap<(String, u16), Reply>>>);

impl Zone {
    fn put(&self, name: &str, kind: u16, reply: Reply) {
        self.0.lock().unwrap().insert((name.to_owned(), kind), reply);
    }

    /// Serves questions until the runtime ends; unknown names do not exist.
    async fn serve(&self) -> SocketAddr {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        let zone = self.clone();
        tokio::spawn(async move {
            let mut packet = [0; 1500];
            loop {
                let (length, peer) = socket.recv_from(&mut packet).await.unwrap();
                socket.send_to(&zone.reply(&packet[..length]), peer).await.unwrap();
            }
        });
        address
    }

    fn reply(&self, query: &[u8]) -> Vec<u8> {
        // RFC 1035 section 4.1: a header of 12 bytes, then the question: labels, type, class.
        let (mut labels, mut at) = (Vec::new(), 12);
        while query[at] != 0 {
            let end = at + 1 + usize::from(query[at]);
            labels.push(String::from_utf8(query[at + 1..end].to_vec()).unwrap().to_lowercase());
            at = end;
        }
        let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
        let question = &query[12..at + 5];
        let (code, records) =
            self.0.lock().unwrap().get(&(labels.join("."), kind)).cloned().unwrap_or((NXDOMAIN, vec![]));
        let mut reply = query[..2].to_vec();
        reply.extend([0x81, 0x80 | code, 0, 1, 0, records.len() as u8, 0, 0, 0, 0]);
        reply.extend(question);
        for (kind, ttl, data) in records {
            reply.extend([0xc0, 12]); // a pointer to the name in the question
            reply.extend(kind.to_be_bytes());
            reply.extend([0, 1]);
            reply.extend(ttl.to_be_bytes());
            reply.extend((data.len() as u16).to_be_bytes());
            reply.extend(data);
        }
        reply
    }
}

fn v4(last: u8, ttl: u32) -> (u16, u32, Vec<u8>) {
    (A, ttl, vec![10, 0, 0, last])
}

fn v6(last: u8, ttl: u32) -> (u16, u32, Vec<u8>) {
    (AAAA, ttl, [&[0; 15][..], &[last]].concat())
}

fn addresses(list: &[&str]) -> Vec<IpAddr> {
    list.iter().map(|address| address.parse().unwrap()).collect()
}

async fn started(zone: &Zone) -> SystemLookup {
    SystemLookup::with_servers(vec![zone.serve().await]).unwrap()
}

#[tokio::test]
async fn both_families_are_asked_for_and_the_least_ttl_holds() {
    let zone = Zone::default();
    zone.put("app.test", A, (NO_ERROR, vec![v4(1, 60), v4(2, 60)]));
    zone.put("app.test", AAAA, (NO_ERROR, vec![v6(9, 30)]));
    zone.put("four.test", A, (NO_ERROR, vec![v4(4, 7)]));
    zone.put("four.test", AAAA, (NO_ERROR, vec![]));
    let lookup = started(&zone).await;
    let mut answer = lookup.lookup("app.test", Families::All).await.unwrap();
    answer.addresses.sort();
    let expected = addresses(&["10.0.0.1", "10.0.0.2", "::9"]);
    assert_eq!(answer, Answer { addresses: expected, ttl: Duration::from_secs(30), failed: None });
    let answer = lookup.lookup("app.test", Families::V6).await.unwrap();
    assert_eq!(answer.addresses, addresses(&["::9"]));
    let answer = lookup.lookup("FOUR.test.", Families::All).await.unwrap();
    let expected = addresses(&["10.0.0.4"]);
    assert_eq!(answer, Answer { addresses: expected, ttl: Duration::from_secs(7), failed: None });
}

#[tokio::test]
async fn nothing_and_trouble_are_told_apart() {
    let zone = Zone::default();
    zone.put("broken.test", A, (SERVFAIL, vec![]));
    zone.put("broken.test", AAAA, (SERVFAIL, vec![]));
    zone.put("half.test", A, (NO_ERROR, vec![v4(1, 5)]));
    zone.put("half.test", AAAA, (SERVFAIL, vec![]));
    zone.put("text.test", A, (NO_ERROR, vec![]));
    zone.put("text.test", AAAA, (NO_ERROR, vec![]));
    let lookup = started(&zone).await;
    assert_eq!(lookup.lookup("none.test", Families::All).await, Err(LookupError::Empty));
    assert_eq!(lookup.lookup("text.test", Families::All).await, Err(LookupError::Empty));
    assert!(matches!(lookup.lookup("broken.test", Families::All).await, Err(LookupError::Failed(_))));
    let answer = lookup.lookup("half.test", Families::All).await.unwrap();
    assert_eq!(answer.addresses, addresses(&["10.0.0.1"]));
    assert_eq!(answer.failed, Some(Family::V6));
    let bad = format!("{}.test", "x".repeat(64));
    assert!(matches!(lookup.lookup(&bad, Families::All).await, Err(LookupError::Failed(_))));
}

#[tokio::test]
async fn an_alias_holds_no_longer_than_its_own_ttl() {
    let zone = Zone::default();
    let target = b"\x06target\x04test\x00".to_vec();
    zone.put("alias.test", A, (NO_ERROR, vec![(CNAME, 3, target)]));
    zone.put("alias.test", AAAA, (NO_ERROR, vec![]));
    zone.put("target.test", A, (NO_ERROR, vec![v4(1, 600)]));
    let answer = started(&zone).await.lookup("alias.test", Families::All).await.unwrap();
    let expected = addresses(&["10.0.0.1"]);
    assert_eq!(answer, Answer { addresses: expected, ttl: Duration::from_secs(3), failed: None });
}

/// No server listens at the address given, so only the hosts file and the literals can answer.
#[tokio::test]
async fn localhost_and_addresses_need_no_server() {
    let lookup = SystemLookup::with_servers(vec![(Ipv4Addr::LOCALHOST, 9).into()]).unwrap();
    let answer = lookup.lookup("localhost", Families::All).await.unwrap();
    assert!(answer.addresses.iter().all(IpAddr::is_loopback), "{answer:?}");
    assert!(!answer.addresses.is_empty());
    for literal in ["192.0.2.1", "2001:db8::1"] {
        let answer = lookup.lookup(literal, Families::All).await.unwrap();
        assert_eq!(answer.addresses, addresses(&[literal]));
    }
}

#[test]
fn the_search_list_goes_first_for_names_of_few_dots() {
    let resolver = TokioResolver::builder_with_config(given(&[]), TokioRuntimeProvider::default()).build();
    let search = ["ns.svc.", "svc."].map(|domain| rr::Name::from_ascii(domain).unwrap()).to_vec();
    let setup = Setup { resolver: resolver.unwrap(), hosts: Hosts::default(), search, dots: 2 };
    let candidates = |name: &str| -> Vec<String> {
        let name = rr::Name::from_str_relaxed(name).unwrap();
        setup.candidates(name).iter().map(ToString::to_string).collect()
    };
    assert_eq!(candidates("app"), ["app.ns.svc.", "app.svc.", "app."]);
    assert_eq!(candidates("app.other"), ["app.other.ns.svc.", "app.other.svc.", "app.other."]);
    assert_eq!(candidates("a.b.example"), ["a.b.example.", "a.b.example.ns.svc.", "a.b.example.svc."]);
    assert_eq!(candidates("app."), ["app."]);
    assert_eq!(candidates("localhost"), ["localhost."]);
}

#[tokio::test]
async fn a_changed_record_reaches_the_reader_of_the_resolver() {
    let zone = Zone::default();
    zone.put("app.test", A, (NO_ERROR, vec![v4(1, 0)]));
    zone.put("app.test", AAAA, (NO_ERROR, vec![]));
    let options = ResolverOptions { ttl_floor: Duration::from_millis(5), ..ResolverOptions::default() };
    let resolver = Resolver::new(started(&zone).await, options);
    let name = Name::new("app.test", 80);
    resolver.set([name.clone()]);
    for last in [1, 2, 3] {
        zone.put("app.test", A, (NO_ERROR, vec![v4(last, 0)]));
        let event = timeout(Duration::from_secs(20), resolver.next()).await.expect("the change must be seen");
        let addresses = [SocketAddr::from(([10, 0, 0, last], 80))].into();
        assert_eq!(event, Event::Changed { name: name.clone(), addresses });
    }
}
