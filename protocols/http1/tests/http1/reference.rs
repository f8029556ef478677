//! Request framing as RFC 9110 and RFC 9112 have it, written for being right, not for speed; and the decoder held
//! against it. It works on whole inputs, line by line, and shares nothing with the code it judges.

use ringway_testkit::{Rng, conform};

use crate::splits::read_requests;

/// How a run of requests ends.
#[derive(Debug, PartialEq)]
enum Verdict {
    /// At a message's end.
    Clean,
    /// In the middle of a message that may still become valid, as far as whole lines tell.
    Incomplete,
    Refused,
}

use Verdict::{Clean, Incomplete, Refused};

/// The bodies of the requests that are complete, and how the input ends.
fn judge(mut input: &[u8]) -> (Vec<Vec<u8>>, Verdict) {
    let mut bodies = Vec::new();
    while !input.is_empty() {
        if b"\r\n".starts_with(input) {
            return (bodies, Incomplete);
        }
        // RFC 9112, section 2.2.
        input = input.strip_prefix(b"\r\n").unwrap_or(input);
        match request(input) {
            Ok((body, rest)) => {
                bodies.push(body);
                input = rest;
            }
            Err(verdict) => return (bodies, verdict),
        }
    }
    (bodies, Clean)
}

fn request(input: &[u8]) -> Result<(Vec<u8>, &[u8]), Verdict> {
    let end = find(input, b"\r\n\r\n").ok_or(Incomplete)?;
    let (head, rest) = (&input[..end], &input[end + 4..]);
    let mut lines = split_lines(head).into_iter();
    let first: Vec<&[u8]> = lines.next().unwrap().split(|b| *b == b' ').collect();
    let [method, target, version] = first[..] else { return Err(Refused) };
    need(is_token(method) && method != b"CONNECT" && version == b"HTTP/1.1")?;
    need(target.iter().all(|b| b.is_ascii_graphic() && !b"#\"<>".contains(b)))?;
    need(target.starts_with(b"/") || (target == b"*" && method == b"OPTIONS") || is_absolute(target))?;
    let fields = lines.map(field).collect::<Result<Vec<_>, _>>()?;
    let all = |name: &str| -> Vec<&[u8]> {
        fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, v)| *v).collect()
    };
    let hosts = all("host");
    need(hosts.len() == 1 && is_authority(hosts[0]))?;
    need(
        all("expect").len() <= 1 && all("expect").iter().all(|v| v.eq_ignore_ascii_case(b"100-continue")) || {
            // An expectation that Connection names is for nobody.
            all("expect").len() == 1 && options(&all("connection")).iter().any(|o| o.eq_ignore_ascii_case(b"expect"))
        },
    )?;
    let connection = options(&all("connection"));
    need(connection.iter().all(|option| is_token(option)))?;
    let upgrades = all("upgrade");
    need(upgrades.len() <= 1)?;
    let (lengths, codings) = (all("content-length"), all("transfer-encoding"));
    match (&lengths[..], &codings[..]) {
        ([], []) => Ok((Vec::new(), rest)),
        ([length], []) => {
            need(!length.is_empty() && length.len() <= 19 && length.iter().all(u8::is_ascii_digit))?;
            let length: usize = String::from_utf8_lossy(length).parse().unwrap();
            if rest.len() < length { Err(Incomplete) } else { Ok((rest[..length].to_vec(), &rest[length..])) }
        }
        ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") => chunks(rest),
        _ => Err(Refused),
    }
}

fn chunks(mut rest: &[u8]) -> Result<(Vec<u8>, &[u8]), Verdict> {
    let mut body = Vec::new();
    loop {
        let end = find(rest, b"\r\n").ok_or(Incomplete)?;
        let size = chunk_size(&rest[..end])?;
        rest = &rest[end + 2..];
        if size == 0 {
            break;
        }
        if size > rest.len() as u64 {
            return Err(Incomplete);
        }
        let (data, after) = rest.split_at(size as usize);
        body.extend_from_slice(data);
        let told = after.len().min(2);
        need(after[..told] == b"\r\n"[..told])?;
        rest = after.get(2..).ok_or(Incomplete)?;
    }
    loop {
        let end = find(rest, b"\r\n").ok_or(Incomplete)?;
        let line = &rest[..end];
        rest = &rest[end + 2..];
        if line.is_empty() {
            return Ok((body, rest));
        }
        let checked = field(line).and_then(|(name, _)| {
            let name = name.to_ascii_lowercase();
            need(!["content-length", "transfer-encoding", "host"].iter().any(|n| n.as_bytes() == name))
        });
        if checked.is_err() {
            // A section is judged when it is complete.
            return Err(if find(rest, b"\r\n\r\n").is_some() || rest.starts_with(b"\r\n") {
                Refused
            } else {
                Incomplete
            });
        }
    }
}

fn chunk_size(line: &[u8]) -> Result<u64, Verdict> {
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    need((1..=16).contains(&digits))?;
    let size = u64::from_str_radix(&String::from_utf8_lossy(&line[..digits]), 16).map_err(|_| Refused)?;
    need(size < 1 << 63)?;
    let mut rest = &line[digits..];
    // chunk-ext = *( ";" BWS name-and-value ), quoted strings as RFC 9110, section 5.6.4 has them, ASCII only.
    while let Some(extension) = rest.strip_prefix(b";") {
        let mut at = extension.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
        need(extension.get(at).is_some_and(|b| is_tchar(*b)))?;
        while let Some(b) = extension.get(at).filter(|b| **b != b';') {
            at += 1;
            if *b == b'"' {
                loop {
                    match extension.get(at) {
                        Some(b'"') => break,
                        Some(b'\\') if extension.get(at + 1).is_some_and(|b| is_text(*b)) => at += 2,
                        Some(b) if *b != b'\\' && is_text(*b) => at += 1,
                        _ => return Err(Refused),
                    }
                }
                at += 1;
            } else {
                need(is_tchar(*b) || matches!(b, b'=' | b' ' | b'\t'))?;
            }
        }
        rest = &extension[at..];
    }
    need(rest.is_empty())?;
    Ok(size)
}

fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Verdict> {
    let colon = line.iter().position(|b| *b == b':').ok_or(Refused)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    need(is_token(name))?;
    need(value.iter().all(|b| *b == b'\t' || (*b >= 0x20 && *b != 0x7f)))?;
    Ok((name, value.trim_ascii()))
}

fn is_absolute(target: &[u8]) -> bool {
    let Some((scheme, rest)) = target.split_at_checked(7) else { return false };
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
    scheme.eq_ignore_ascii_case(b"http://") && is_authority(&rest[..end])
}

fn is_authority(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((literal, port)) if literal.len() > 1 => {
                if !literal.chars().all(|c| c.is_ascii_hexdigit() || c == ':' || c == '.') {
                    return false;
                }
                ("literal", port)
            }
            _ => return false,
        },
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~%!$&'()*+;=".contains(c);
    let digits = port.strip_prefix(':').unwrap_or("");
    !host.is_empty()
        && host.chars().all(allowed)
        && (port.is_empty() || port.starts_with(':'))
        && digits.len() <= 5
        && digits.chars().all(|c| c.is_ascii_digit())
}

fn options<'a>(values: &[&'a [u8]]) -> Vec<&'a [u8]> {
    values.iter().flat_map(|v| v.split(|b| *b == b',')).map(<[u8]>::trim_ascii).filter(|o| !o.is_empty()).collect()
}

fn is_tchar(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|b| is_tchar(*b))
}

fn is_text(b: u8) -> bool {
    b == b'\t' || (0x20..0x7f).contains(&b)
}

fn need(what: bool) -> Result<(), Verdict> {
    if what { Ok(()) } else { Err(Refused) }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

fn split_lines(mut text: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    while let Some(end) = find(text, b"\r\n") {
        lines.push(&text[..end]);
        text = &text[end + 2..];
    }
    lines.push(text);
    lines
}

/// The decoder must find the same requests. It may refuse early what is incomplete to the reference, never the other
/// way around.
fn compare(input: &[u8]) -> Verdict {
    let (bodies, verdict) = judge(input);
    let (read, refusal) = read_requests(&[input]);
    let read: Vec<Vec<u8>> = read.into_iter().map(|request| request.body).collect();
    let shown = String::from_utf8_lossy(input);
    assert_eq!(read, bodies, "{verdict:?} {refusal:?} {shown:?}");
    match verdict {
        Clean => assert_eq!(refusal, None, "{shown:?}"),
        Refused => assert!(refusal.is_some(), "{shown:?}"),
        Incomplete => {}
    }
    verdict
}

#[test]
fn framing_agrees_with_the_reference() {
    let mut verdicts = [0; 3];
    conform::seeds(20_000, |rng| {
        let mut input = Vec::new();
        for _ in 0..1 + rng.below(3) {
            input.extend(random_request(rng));
        }
        verdicts[compare(&input) as usize] += 1;
    });
    if std::env::var_os("RINGWAY_SEED").is_none() {
        assert!(verdicts.iter().all(|count| *count > 500), "every ending is well met: {verdicts:?}");
    }
}

#[test]
fn framing_agrees_with_the_reference_on_mutations() {
    conform::seeds(60, |rng| {
        let mut input = random_request(rng);
        input.extend(random_request(rng));
        conform::mutations(200, &input, |mutant| {
            compare(mutant);
        });
    });
}

#[test]
fn the_reference_knows_good_from_bad() {
    let good = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;a=\"b\"\r\nabc\r\n0\r\nX: y\r\n\r\n";
    assert_eq!(judge(good), (vec![b"abc".to_vec()], Clean));
    assert_eq!(judge(&good[..good.len() - 1]).1, Incomplete);
    assert_eq!(judge(b"GET / HTTP/1.1\r\n\r\n").1, Refused);
}

/// A request that is valid more often than not; its faults are those that smugglers use.
fn random_request(rng: &mut Rng) -> Vec<u8> {
    let mut out = Vec::new();
    if rng.one_in(10) {
        out.extend_from_slice(b"\r\n");
    }
    let mut pick = |rng: &mut Rng, usual: &str, odd: &[&str]| {
        let text = if rng.one_in(12) { *rng.pick(odd) } else { usual };
        out.extend_from_slice(text.as_bytes());
    };
    pick(rng, "POST ", &["GET ", "CONNECT ", "OPTIONS ", "GET  ", "G@T ", "get\t", "PRI "]);
    pick(rng, "/", &["*", "http://b/x", "http://b", "http://", "a:1x", "/?q#", "/ x", "/\\", "HTTP://[::1]:1/"]);
    pick(rng, " HTTP/1.1", &[" HTTP/1.0", " HTTP/1.1 ", "  HTTP/1.1", " HTTP/2.0", "", " http/1.1"]);
    pick(rng, "\r\n", &["\n", "\r", "\r\n ", "\r\n\r\n", "\r\r\n"]);
    pick(rng, "Host: a", &["Host : a", "Host:", "Host: a\r\nHost: a", "Host: a,b", "Host:\ta:1\t", "Hos\0t: a"]);
    pick(rng, "\r\n", &["\n", "\r\n\t", "\r"]);
    if rng.one_in(4) {
        pick(
            rng,
            "X: y\r\n",
            &[
                "Connection: x, upgrade\r\n",
                "Upgrade: h2c\r\n",
                "Upgrade: x\r\n",
                "Expect: 100-continue\r\n",
                "Expect: x\r\n",
                "Connection: expect\r\n",
                "X: y\r\n z\r\n",
                ": y\r\n",
                "X\r\n",
                "X: \u{1}\r\n",
                "X: \u{e9}\r\n",
                "X:y\n",
            ],
        );
    }
    let chunked = rng.one_in(2);
    if chunked {
        pick(
            rng,
            "Transfer-Encoding: chunked",
            &[
                "Transfer-Encoding: Chunked",
                "transfer-encoding:chunked",
                "Transfer-Encoding: gzip, chunked",
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
                "Transfer-Encoding: chunked, x",
                "Transfer-Encoding: chunked\r\nContent-Length: 3",
                "Transfer-Encoding: ,chunked",
            ],
        );
    } else {
        pick(
            rng,
            "Content-Length: 5",
            &[
                "Content-Length: 5\r\nContent-Length: 5",
                "Content-Length: 5,5",
                "Content-Length: +5",
                "Content-Length: 05",
                "Content-Length: 0",
                "Content-Length : 5",
                "Content-Length: 99",
                "Content-Length: 5 ",
                "X: y",
            ],
        );
    }
    pick(rng, "\r\n\r\n", &["\n\n", "\r\n\n", "\n\r\n", "\r\n \r\n", "\r\n"]);
    if !chunked {
        pick(rng, "hello", &["hell", "hello!", ""]);
        return out;
    }
    for _ in 0..rng.below(3) {
        pick(
            rng,
            "5",
            &[
                "05",
                "0x5",
                "+5",
                "5 ",
                " 5",
                "5;a",
                "5;a=\"b;\\\"\"",
                "5;",
                "5; a ;b",
                "6",
                "4",
                "-5",
                "00000000000000005",
                "ffffffffffffffff",
                "7fffffffffffffff",
                "g",
            ],
        );
        pick(rng, "\r\n", &["\n", "\r", "\r\n\r\n", " \r\n"]);
        pick(rng, "hello", &["hell", "he\r\no"]);
        pick(rng, "\r\n", &["\n", "", "\r", "\r\n\r\n"]);
    }
    pick(rng, "0\r\n", &["00\r\n", "0;x\r\n", "0\n", ""]);
    if rng.one_in(4) {
        pick(rng, "T: x\r\n", &["Host: b\r\n", "T : x\r\n", "T: x\n", "Content-Length: 1\r\n", "T\r\n", "Te: x\r\n"]);
    }
    pick(rng, "\r\n", &["\n", "\r", " \r\n", ""]);
    out
}
