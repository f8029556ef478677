//! What filters edit arrives edited, and nothing else is lost.

use std::rc::Rc;

use ringway_api::{Body, Chunk, Headers, Request, Response};
use ringway_rpc::{Carries as Added, Kind, RpcCodec};

use crate::Split;
use crate::rpc::frames::{Found, Said, check_kept, one, said, single};
use crate::rpc::passing::{answer, call, same_id, world};
use crate::rpc::samples::{Carries, RequestSample, Samples};
use crate::rpc::world::{Edits, RpcWorld};

/// A value that is longer than most, with characters that text may have; none that UTF-16 writes as two, which protocols
/// of its age write as six bytes.
const LONG: &str = "long, \u{e9}\u{4e2d} = \"quoted\" \\ %00 and so on, up to a length that takes two bytes to say \
    in any encoding: 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 \
    0123456789 0123456789 0123456789 0123456789";

/// Edits a head's fields, and a body.
type Edit = Rc<dyn Fn(&mut Headers, &mut Body)>;

/// A message that went through.
struct Arrived<'a> {
    found: Found,
    carries: &'a Carries,
    /// Whether fields that are added to it arrive.
    open: bool,
    what: String,
}

/// Sends each sample through a proxy whose filter edits it as `edit` says for what it carries, whole and in pieces; none
/// where it has no edits for it.
fn through<C: RpcCodec>(samples: &Samples, edit: impl Fn(&Carries) -> Vec<Edit>, check: impl Fn(usize, Arrived<'_>)) {
    let ok = samples.response();
    for buffered in [256 << 10, 0] {
        for (at, sample) in samples.requests.iter().chain(&samples.one_way).enumerate() {
            for (nth, edit) in edit(&sample.carries).into_iter().enumerate() {
                let what = format!("{}: request {at}, edit {nth}", C::NAME);
                let request = Rc::new(move |request: &mut Request| edit(&mut request.head.headers, &mut request.body));
                let mut world = world::<C>(buffered, Split::AsSent, Edits { request, ..Edits::default() });
                let found = call::<C>(&mut world, &sample.bytes, &what);
                let before = one::<C>(&sample.bytes, &what);
                assert_eq!(found.frame.kind, before.kind, "{what}");
                if before.kind == Kind::Request {
                    let answered = answer::<C>(&mut world, &found, &ok.bytes, &what);
                    same_id::<C>(answered.frame.id, before.id, &what);
                }
                check_kept(&found.bytes, &sample.carries, &what);
                let open = C::CARRIES != Added::Nothing;
                check(nth, Arrived { found, carries: &sample.carries, open, what });
            }
        }
        for (at, sample) in samples.responses.iter().enumerate() {
            for (nth, edit) in edit(&sample.carries).into_iter().enumerate() {
                let what = format!("{}: response {at}, edit {nth}", C::NAME);
                let response =
                    Rc::new(move |response: &mut Response| edit(&mut response.head.headers, &mut response.body));
                let mut world = world::<C>(buffered, Split::AsSent, Edits { response, ..Edits::default() });
                let asked = samples.request();
                let called = call::<C>(&mut world, &asked.bytes, &what);
                let found = answer::<C>(&mut world, &called, &sample.bytes, &what);
                same_id::<C>(found.frame.id, one::<C>(&asked.bytes, &what).id, &what);
                assert_eq!(said::<C>(&found.bytes).status(), sample.status, "{what}");
                check_kept(&found.bytes, &sample.carries, &what);
                let open = C::CARRIES == Added::All;
                check(nth, Arrived { found, carries: &sample.carries, open, what });
            }
        }
    }
}

fn set(headers: &mut Headers, name: &str, value: &str) {
    let set = headers.set(name, value.as_bytes());
    assert!(set.is_ok(), "{name}: {value}: no valid field");
}

/// The values of a field, as tests show them.
fn values(said: &Said, name: &str) -> Vec<Vec<u8>> {
    let headers = match &said.who {
        Ok(head) => &head.headers,
        Err(head) => &head.headers,
    };
    headers.all(name).map(<[u8]>::to_vec).collect()
}

/// Fields that a filter adds: they arrive where the codec says so ([`RpcCodec::CARRIES`]); elsewhere, all else does.
pub fn added_field_arrives<C: RpcCodec>(samples: &Samples) {
    const NAME: &str = "x-ringway-added";
    const VALUES: [&str; 3] = ["1", "", LONG];
    let edits = |_: &Carries| -> Vec<Edit> {
        let add = |value: &'static str| -> Edit { Rc::new(move |headers, _| set(headers, NAME, value)) };
        VALUES.map(add).to_vec()
    };
    through::<C>(samples, edits, |nth, Arrived { found, carries, open, what }| {
        let said = said::<C>(&found.bytes);
        let expected = VALUES.get(nth).unwrap_or(&"").as_bytes().to_vec();
        let expected = if open { vec![expected] } else { Vec::new() };
        assert_eq!(values(&said, NAME), expected, "{what}: the field that was added");
        said.check(carries, &[NAME], &what);
    });
}

/// Fields that a filter changes. What is derived from them may change, too.
pub fn changed_field_arrives<C: RpcCodec>(samples: &Samples) {
    const VALUES: [&str; 2] = ["9", LONG];
    let edits = |carries: &Carries| -> Vec<Edit> {
        let change = |(name, _): &(String, String)| {
            let name = name.clone();
            VALUES.map(|value| -> Edit {
                let name = name.clone();
                Rc::new(move |headers, _| set(headers, &name, value))
            })
        };
        carries.fields.iter().flat_map(change).collect()
    };
    through::<C>(samples, edits, |nth, Arrived { found, carries, what, .. }| {
        let said = said::<C>(&found.bytes);
        let Some((name, _)) = carries.fields.get(nth / VALUES.len()) else { panic!("{what}: no such field") };
        let expected = VALUES.get(nth % VALUES.len()).unwrap_or(&"").as_bytes().to_vec();
        assert_eq!(values(&said, name), [expected], "{what}: {name}, which was changed");
        let derived = carries.derived.iter().map(|(name, _)| name.as_str());
        said.check(carries, &derived.chain([name.as_str()]).collect::<Vec<_>>(), &what);
    });
}

/// Fields that a filter removes.
pub fn removed_field_is_gone<C: RpcCodec>(samples: &Samples) {
    let edits = |carries: &Carries| -> Vec<Edit> {
        let remove = |(name, _): &(String, String)| -> Edit {
            let name = name.clone();
            Rc::new(move |headers, _| headers.remove(&name))
        };
        carries.fields.iter().map(remove).collect()
    };
    through::<C>(samples, edits, |nth, Arrived { found, carries, what, .. }| {
        let said = said::<C>(&found.bytes);
        let Some((name, _)) = carries.fields.get(nth) else { panic!("{what}: no such field") };
        assert_eq!(values(&said, name), Vec::<Vec<u8>>::new(), "{what}: {name}, which was removed");
        let derived = carries.derived.iter().map(|(name, _)| name.as_str());
        said.check(carries, &derived.chain([name.as_str()]).collect::<Vec<_>>(), &what);
    });
}

/// Content that a filter replaces by other content, with the fields as they were and with one more.
pub fn replaced_content_arrives<C: RpcCodec>(samples: &Samples) {
    const NAME: &str = "x-ringway-added";
    let edits = |carries: &Carries| -> Vec<Edit> {
        if carries.content.is_none() {
            return Vec::new();
        }
        let replace = |content: &Vec<u8>| {
            [false, true].map(|and_head| -> Edit {
                let content = content.clone();
                Rc::new(move |headers, body| {
                    *body = if content.is_empty() { Body::Empty } else { Body::Full(Chunk::from(content.clone())) };
                    if and_head {
                        set(headers, NAME, "1");
                    }
                })
            })
        };
        carries.contents.iter().flat_map(replace).collect()
    };
    through::<C>(samples, edits, |nth, Arrived { found, carries, open, what }| {
        let content = carries.contents.get(nth / 2).cloned();
        let said = said::<C>(&found.bytes);
        let added = usize::from(nth % 2 == 1 && open);
        assert_eq!(values(&said, NAME).len(), added, "{what}: the field that was added");
        said.check(&Carries { content, ..carries.clone() }, &[NAME], &what);
    });
}

/// A call that a route or a filter gives another path arrives as a call of that service and method, with all else that it
/// carries; or it is refused with an error, and does not arrive. One-way calls may be refused in silence.
pub fn changed_path_arrives_or_is_refused<C: RpcCodec>(samples: &Samples) {
    for buffered in [256 << 10, 0] {
        for (at, sample) in samples.requests.iter().chain(&samples.one_way).enumerate() {
            let path = said::<C>(&sample.bytes).who.map(|head| head.path().to_vec()).unwrap_or_default();
            let path = String::from_utf8_lossy(&path);
            let (service, method) = path.trim_start_matches('/').split_once('/').unwrap_or_default();
            let other = "ringway.test.Another$Service";
            for (service, method) in [(other, "another"), (other, method), (service, "another"), (service, method)] {
                let what = format!("{}: request {at}, now of {service} {method}", C::NAME);
                renamed::<C>(sample, [service, method], buffered, &what);
            }
            let what = format!("{}: request {at}, now of a path that is no call", C::NAME);
            let mut world = to_path::<C>("/no/call/at?all", buffered);
            world.ask(&sample.bytes);
            refused::<C>(&mut world, &sample.bytes, &what);
        }
    }
}

/// A proxy that gives calls another path.
fn to_path<C: RpcCodec>(path: &str, buffered: u64) -> RpcWorld {
    let path = path.to_owned();
    let request = Rc::new(move |request: &mut Request| {
        let set = request.head.set_path_and_query(path.as_bytes());
        assert!(set.is_ok(), "{path}: no valid path");
    });
    world::<C>(buffered, Split::AsSent, Edits { request, ..Edits::default() })
}

fn renamed<C: RpcCodec>(sample: &RequestSample, names: [&str; 2], buffered: u64, what: &str) {
    let path = format!("/{}/{}", names[0], names[1]);
    let mut world = to_path::<C>(&path, buffered);
    world.ask(&sample.bytes);
    let arrived = world.asked();
    if arrived.is_empty() {
        return refused::<C>(&mut world, &sample.bytes, what);
    }
    let found = single::<C>(&arrived, what);
    assert_eq!(found.frame.kind, one::<C>(&sample.bytes, what).kind, "{what}");
    let said = said::<C>(&found.bytes);
    let now = said.who.as_ref().map(|head| String::from_utf8_lossy(head.path()).into_owned());
    assert_eq!(now.ok(), Some(path), "{what}: the path that it arrived with");
    // Fields may name the service or the method, too.
    let carries = &sample.carries;
    let naming = |service: &str, method: &str, value: &str| value.contains(service) || value == method;
    let before = carries.fields.iter().filter(|(_, value)| naming(&sample.service, &sample.method, value));
    let now = said.fields();
    let now = now.iter().filter(|(_, value)| naming(names[0], names[1], value));
    let names: Vec<&str> = before.chain(now).map(|(name, _)| name.as_str()).collect();
    said.check(carries, &names, what);
}

/// Panics unless a call has not arrived, and has been answered with an error.
fn refused<C: RpcCodec>(world: &mut RpcWorld, sent: &[u8], what: &str) {
    assert_eq!(world.asked(), b"", "{what}: arrived");
    let answered = world.answered();
    let before = one::<C>(sent, what);
    if before.kind == Kind::OneWay {
        assert_eq!(answered, b"", "{what}: a one-way call was answered");
        return;
    }
    let found = single::<C>(&answered, what);
    same_id::<C>(found.frame.id, before.id, what);
    let status = said::<C>(&found.bytes).status();
    assert!(status.is_client_error() || status.is_server_error(), "{what}: refused with {status}");
}
