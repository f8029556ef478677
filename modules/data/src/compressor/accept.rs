//! The coding that a client prefers (RFC 9110, section 12.5.3).

use ringway_api::Headers;

use crate::content_coding::Coding;
use crate::field_list;

/// What `Accept-Encoding` comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// This one.
    Coding(Coding),
    /// Content as it is.
    Identity,
    /// None of those that there are.
    None,
    /// There is no such field: anything would do, and old clients understand nothing.
    NoField,
}

/// Chooses among `codings`; of those of equal weight the first one.
pub(crate) fn choose(headers: &Headers, codings: &[Coding]) -> Choice {
    // Weights in thousandths, of those that are named.
    let mut named: [Option<u16>; Coding::COUNT] = Default::default();
    let (mut any, mut identity, mut there) = (None, None, false);
    for value in headers.all("accept-encoding") {
        there = true;
        for (name, weight) in field_list::split(value).filter_map(member) {
            let coding = codings.iter().position(|coding| coding.is_named(name));
            if let Some(own) = coding.and_then(|at| named.get_mut(at)) {
                *own = (*own).max(Some(weight));
            } else if name == b"*" {
                any = Some(weight);
            } else if name.eq_ignore_ascii_case(b"identity") {
                identity = Some(weight);
            }
        }
    }
    if !there {
        return Choice::NoField;
    }
    let mut best = None;
    for (coding, own) in codings.iter().zip(named) {
        let own = own.or(any).unwrap_or(0);
        if own > 0 && best.is_none_or(|(_, most)| own > most) {
            best = Some((*coding, own));
        }
    }
    match best {
        // What is not named is acceptable, but not preferred.
        Some((coding, most)) if identity.unwrap_or(0) <= most => Choice::Coding(coding),
        Some(_) => Choice::Identity,
        None if identity.is_some_and(|own| own > 0) => Choice::Identity,
        None => Choice::None,
    }
}

/// A name and its weight; what is malformed counts as not there.
fn member(text: &[u8]) -> Option<(&[u8], u16)> {
    let mut parts = text.split(|b| *b == b';').map(<[u8]>::trim_ascii);
    let name = parts.next().filter(|name| !name.is_empty())?;
    let mut weight = 1000;
    for parameter in parts {
        let (key, value) = parameter.split_at_checked(2)?;
        if key.eq_ignore_ascii_case(b"q=") {
            weight = qvalue(value)?;
        }
    }
    Some((name, weight))
}

/// `0`, `0.5`, `1.000` and the like (RFC 9110, section 12.4.2), in thousandths.
fn qvalue(text: &[u8]) -> Option<u16> {
    let (whole, fraction) = match text {
        [whole] => (whole, &[][..]),
        [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
        _ => return None,
    };
    let mut thousandths = 0;
    for at in 0..3 {
        let digit = fraction.get(at).copied().unwrap_or(b'0');
        thousandths = thousandths * 10 + u16::from(digit.is_ascii_digit().then(|| digit - b'0')?);
    }
    match whole {
        b'0' => Some(thousandths),
        b'1' if thousandths == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_decide_and_then_the_order_of_the_options() {
        use Coding::{Br, Gzip, Zstd};
        for (value, choice) in [
            ("gzip", Choice::Coding(Gzip)),
            ("gzip, br", Choice::Coding(Br)),
            ("gzip;q=0.9, br;q=0.8", Choice::Coding(Gzip)),
            ("GZIP ; Q=1.000 , zstd;q=0.999", Choice::Coding(Gzip)),
            ("x-gzip", Choice::Coding(Gzip)),
            ("*", Choice::Coding(Br)),
            ("br;q=0, *", Choice::Coding(Zstd)),
            ("*;q=0", Choice::None),
            ("br;q=0", Choice::None),
            ("deflate", Choice::None),
            ("", Choice::None),
            ("identity", Choice::Identity),
            ("identity, gzip;q=0.5", Choice::Identity),
            ("identity;q=0.5, gzip;q=0.5", Choice::Coding(Gzip)),
            ("identity;q=0.5, gzip", Choice::Coding(Gzip)),
            ("gzip;q=2", Choice::None),
            ("gzip;q=0.1234", Choice::None),
            ("gzip;q=", Choice::None),
            ("gzip;q", Choice::None),
            ("gzip;q=1.001", Choice::None),
            (";q=1", Choice::None),
        ] {
            let mut headers = Headers::new();
            headers.append("Accept-Encoding", value.as_bytes()).unwrap();
            assert_eq!(choose(&headers, &[Br, Zstd, Gzip]), choice, "{value:?}");
        }
        assert_eq!(choose(&Headers::new(), &[Gzip]), Choice::NoField);
    }
}
