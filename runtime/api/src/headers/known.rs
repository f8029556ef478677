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
                // The length alone leaves a handful of candidates; most names end here.
                $(const _: () = assert!($name.len() <= MAX_LEN);)*
                if name.len() > MAX_LEN { return None; }
                let first = name.first()?.to_ascii_lowercase();
                $(if name.len() == $name.len() && first == $name.as_bytes()[0] && name.eq_ignore_ascii_case($name.as_bytes()) {
                    return Some(Self::$variant);
                })*
                None
            }
        }
    };
}

const MAX_LEN: usize = 24;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_finds_itself_in_any_case() {
        for known in Known::ALL {
            assert_eq!(Known::lookup(known.as_str().as_bytes()), Some(*known));
            assert_eq!(Known::lookup(known.as_str().to_uppercase().as_bytes()), Some(*known));
        }
        for other in ["", "hos", "hostt", "x-forwarded-foo", "a-very-long-field-name-indeed-it-is"] {
            assert_eq!(Known::lookup(other.as_bytes()), None);
        }
    }
}
