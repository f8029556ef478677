//! Sets of addresses, however many networks they are written as.

use std::net::IpAddr;

/// Ranges of addresses, in order and apart from each other. IPv4 addresses are those of IPv6 that stand for them
/// (`::ffff:0:0/96`; RFC 4291, section 2.5.5.2).
#[derive(Debug)]
pub(super) struct Ranges(Vec<(u128, u128)>);

impl Ranges {
    /// Reads addresses and networks.
    pub(super) fn parse(list: &[String]) -> Result<Self, String> {
        let mut all = list.iter().map(|text| parse(text)).collect::<Result<Vec<_>, _>>()?;
        all.sort_unstable();
        let mut merged: Vec<(u128, u128)> = Vec::with_capacity(all.len());
        for (first, last) in all {
            match merged.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                _ => merged.push((first, last)),
            }
        }
        Ok(Self(merged))
    }

    /// Whether an address is in.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        let address = number(address);
        let after = self.0.partition_point(|(first, _)| *first <= address);
        after.checked_sub(1).and_then(|at| self.0.get(at)).is_some_and(|(_, last)| address <= *last)
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The first and the last address of a network.
fn parse(text: &str) -> Result<(u128, u128), String> {
    let wrong = || format!("`{text}` is no address or network such as 10.0.0.0/8");
    let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let length = match length {
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse::<u32>().map_err(|_| wrong())?,
        Some(_) => return Err(wrong()),
        None => bits,
    };
    let free = bits.checked_sub(length).ok_or_else(wrong)?;
    let host = if free == 128 { u128::MAX } else { (1 << free) - 1 };
    let first = number(address);
    if first & host != 0 {
        return Err(format!("`{text}` has bits behind its {length}: an address or a network?"));
    }
    Ok((first, first | host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_what_they_say() {
        let list = ["10.0.0.0/8", "192.0.2.1", "10.1.0.0/16", "192.0.2.2/31", "2001:db8::/32", "::1"];
        let ranges = Ranges::parse(&list.map(str::to_owned)).unwrap();
        assert_eq!(ranges.0.len(), 4, "what touches is one: {ranges:?}");
        for (address, inside) in [
            ("10.0.0.0", true),
            ("10.255.255.255", true),
            ("11.0.0.0", false),
            ("9.255.255.255", false),
            ("192.0.2.0", false),
            ("192.0.2.3", true),
            ("192.0.2.4", false),
            ("::ffff:10.1.2.3", true),
            ("2001:db8:1::", true),
            ("2001:db9::", false),
            ("::1", true),
            ("::2", false),
        ] {
            assert_eq!(ranges.contains(address.parse().unwrap()), inside, "{address}");
        }
        let all = Ranges::parse(&["::/0".to_owned(), "0.0.0.0/0".to_owned()]).unwrap();
        assert!(all.contains("203.0.113.7".parse().unwrap()) && all.contains("ff::".parse().unwrap()));
        for wrong in ["", "a", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.1/8", "::/129", "10.0.0/8"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
