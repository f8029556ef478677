//! Response flags in Envoy's words, so that dashboards and habits carry over.

use std::fmt;

macro_rules! flags {
    ($($variant:ident = $code:literal, $name:literal, $long:literal;)*) => {
        /// Why a response is not simply what the upstream said.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum ResponseFlag {
            $(#[doc = concat!("`", $code, "`: ", $long)] $variant,)*
        }

        impl ResponseFlag {
            /// Every flag, in the order they print.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The short code that logs print.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// Envoy's long name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The flag with this short code or long name.
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|flag| flag.code() == text || flag.name() == text)
            }
        }
    };
}

flags! {
    FailedLocalHealthCheck = "LH", "FailedLocalHealthCheck", "local service failed health check";
    NoHealthyUpstream = "UH", "NoHealthyUpstream", "no healthy upstream host in the cluster";
    UpstreamRequestTimeout = "UT", "UpstreamRequestTimeout", "upstream request timeout";
    LocalReset = "LR", "LocalReset", "connection local reset";
    UpstreamRemoteReset = "UR", "UpstreamRemoteReset", "upstream remote reset";
    UpstreamConnectionFailure = "UF", "UpstreamConnectionFailure", "upstream connection failure";
    UpstreamConnectionTermination = "UC", "UpstreamConnectionTermination", "upstream connection termination";
    UpstreamOverflow = "UO", "UpstreamOverflow", "upstream overflow: a circuit breaker";
    NoRoute = "NR", "NoRouteFound", "no route configured for the request";
    DelayInjected = "DI", "DelayInjected", "request delayed by fault injection";
    FaultInjected = "FI", "FaultInjected", "request aborted by fault injection";
    RateLimited = "RL", "RateLimited", "request rate limited locally";
    UnauthorizedExternal = "UAEX", "UnauthorizedExternalService", "denied by the external authorization service";
    RateLimitServiceError = "RLSE", "RateLimitServiceError", "rate limit service error";
    DownstreamConnectionTermination = "DC", "DownstreamConnectionTermination", "downstream connection termination";
    UpstreamRetryLimitExceeded = "URX", "UpstreamRetryLimitExceeded", "upstream retry limit exceeded";
    StreamIdleTimeout = "SI", "StreamIdleTimeout", "stream idle timeout";
    InvalidEnvoyRequestHeaders = "IH", "InvalidEnvoyRequestHeaders", "a strictly checked header held an invalid value";
    DownstreamProtocolError = "DPE", "DownstreamProtocolError", "downstream protocol error";
    UpstreamMaxStreamDurationReached = "UMSDR", "UpstreamMaxStreamDurationReached", "upstream request reached its maximum duration";
    NoFilterConfigFound = "NFCF", "NoFilterConfigFound", "a filter's configuration was missing";
    DurationTimeout = "DT", "DurationTimeout", "the stream reached its maximum duration";
    UpstreamProtocolError = "UPE", "UpstreamProtocolError", "upstream protocol error";
    NoClusterFound = "NC", "NoClusterFound", "upstream cluster not found";
    OverloadManagerTerminated = "OM", "OverloadManagerTerminated", "terminated by the overload manager";
    DnsResolutionFailed = "DF", "DnsResolutionFailed", "name resolution failed";
    DropOverload = "DO", "DropOverLoad", "dropped by the load assignment's overload policy";
    DownstreamRemoteReset = "DR", "DownstreamRemoteReset", "downstream remote reset";
}

/// A set of [`ResponseFlag`]s; prints as `UF,URX`, or `-` when empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ResponseFlags(u32);

impl ResponseFlags {
    /// No flag.
    pub const NONE: Self = Self(0);

    /// Adds a flag.
    pub const fn insert(&mut self, flag: ResponseFlag) {
        self.0 |= 1 << flag as u32;
    }

    /// The set of one flag.
    pub const fn of(flag: ResponseFlag) -> Self {
        Self(1 << flag as u32)
    }

    /// Whether the sets have a flag in common.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Both sets.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether a flag is in.
    pub const fn contains(self, flag: ResponseFlag) -> bool {
        self.0 & (1 << flag as u32) != 0
    }

    /// Whether no flag is in.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The flags that are in.
    pub fn iter(self) -> impl Iterator<Item = ResponseFlag> {
        ResponseFlag::ALL.iter().copied().filter(move |flag| self.contains(*flag))
    }
}

impl fmt::Display for ResponseFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("-");
        }
        for (at, flag) in self.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            write!(f, "{comma}{}", flag.code())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_print_as_codes() {
        let mut flags = ResponseFlags::NONE;
        assert_eq!(flags.to_string(), "-");
        flags.insert(ResponseFlag::UpstreamRetryLimitExceeded);
        flags.insert(ResponseFlag::UpstreamConnectionFailure);
        assert_eq!(flags.to_string(), "UF,URX");
        assert!(flags.intersects(ResponseFlags::of(ResponseFlag::UpstreamRetryLimitExceeded)));
        assert!(!flags.intersects(ResponseFlags::of(ResponseFlag::NoRoute)));
        for flag in ResponseFlag::ALL {
            assert_eq!(ResponseFlag::parse(flag.code()), Some(*flag));
            assert_eq!(ResponseFlag::parse(flag.name()), Some(*flag));
        }
        assert!(ResponseFlag::ALL.len() <= 32);
    }
}
