//! Field names the proxy itself looks at, so that finding them compares one byte each.

macro_rules! known {
    ($($variant:ident = $name:literal,)*) => {
        /// A field name that some part of the proxy acts on.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Known {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
        }

        impl Known {
            /// Every known name.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in lower case.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The known name that `name` is, in any case.
            pub fn lookup(name: &[u8]) -> Option<Self> {
                let first = name.first()?.to_ascii_lowercase();
                for at in BY_LEN.get(name.len())? {
                    let known = *Self::ALL.get(usize::from(*at))?;
                    let text = known.as_str().as_bytes();
                    if text.first() == Some(&first) && same(name, text) {
                        return Some(known);
                    }
                }
                None
            }
        }
    };
}

const MAX_LEN: usize = 24;

/// More names than share a length.
const SLOTS: usize = 4;

/// For each length, the places in [`Known::ALL`] of the names that have it: the length leaves few to compare. What is
/// not used points past the end.
static BY_LEN: [[u8; SLOTS]; MAX_LEN + 1] = {
    let mut table = [[u8::MAX; SLOTS]; MAX_LEN + 1];
    let mut at = 0;
    while at < Known::ALL.len() {
        let row = &mut table[Known::ALL[at].as_str().len()];
        let mut slot = 0;
        while row[slot] != u8::MAX {
            slot += 1;
        }
        row[slot] = at as u8;
        at += 1;
    }
    table
};

known! {
    Host = "host",
    Connection = "connection",
    ContentLength = "content-length",
    TransferEncoding = "transfer-encoding",
    KeepAlive = "keep-alive",
    ProxyConnection = "proxy-connection",
    Te = "te",
    Trailer = "trailer",
    Upgrade = "upgrade",
    Http2Settings = "http2-settings",
    Expect = "expect",
    Via = "via",
    Server = "server",
    Date = "date",
    ContentType = "content-type",
    Location = "location",
    UserAgent = "user-agent",
    Cookie = "cookie",
    Authorization = "authorization",
    MaxForwards = "max-forwards",
    XForwardedFor = "x-forwarded-for",
    XForwardedProto = "x-forwarded-proto",
    XRequestId = "x-request-id",
    RetryAfter = "retry-after",
}

/// Whether `name` is the known name `text`, of the same length, in any case. Eight bytes at a time, and twice where
/// the words overlap: every field of every message comes through here.
fn same(name: &[u8], text: &[u8]) -> bool {
    let eight = |name: &[u8; 8], text: &[u8; 8]| word_eq(u64::from_le_bytes(*name), u64::from_le_bytes(*text));
    let four = |name: &[u8; 4], text: &[u8; 4]| {
        word_eq(u64::from(u32::from_le_bytes(*name)), u64::from(u32::from_le_bytes(*text)))
    };
    match (name.first_chunk(), name.last_chunk(), text.first_chunk(), text.last_chunk()) {
        (Some(a), Some(b), Some(c), Some(d)) if name.len() <= 16 => eight(a, c) && eight(b, d),
        (Some(_), ..) => name.eq_ignore_ascii_case(text),
        _ => match (name.first_chunk(), name.last_chunk(), text.first_chunk(), text.last_chunk()) {
            (Some(a), Some(b), Some(c), Some(d)) => four(a, c) && four(b, d),
            _ => name.eq_ignore_ascii_case(text),
        },
    }
}

/// Compares a word of a name with one of a known name. Of what known names are made of (lower case letters, digits,
/// `-`), only letters have the bit `0x40`; where it is set, the case bit `0x20` does not count.
fn word_eq(name: u64, text: u64) -> bool {
    let letters = (text & 0x4040_4040_4040_4040) >> 1;
    (name ^ text) & !letters == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_finds_itself_in_any_case() {
        for known in Known::ALL {
            assert_eq!(Known::lookup(known.as_str().as_bytes()), Some(*known));
            assert_eq!(Known::lookup(known.as_str().to_uppercase().as_bytes()), Some(*known));
        }
        for known in Known::ALL {
            let name = known.as_str().as_bytes();
            assert!(name.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-'), "see `word_eq`");
            for at in 0..name.len() {
                for bit in 0..8 {
                    let mut near = name.to_vec();
                    near[at] ^= 1 << bit;
                    let same_name = near.eq_ignore_ascii_case(name);
                    assert_eq!(Known::lookup(&near) == Some(*known), same_name, "{}", String::from_utf8_lossy(&near));
                }
            }
        }
        for other in ["", "hos", "hostt", "x-forwarded-foo", "a-very-long-field-name-indeed-it-is"] {
            assert_eq!(Known::lookup(other.as_bytes()), None);
        }
    }
}
