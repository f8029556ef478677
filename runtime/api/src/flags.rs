//! Response flags in Envoy's words, so that dashboards and habits carry over.

use std::fmt;

macro_rules! flags {
    ($($variant:ident = $code:literal, $long:literal;)*) => {
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
        }
    };
}

flags! {
    FailedLocalHealthCheck = "LH", "local service failed health check";
    NoHealthyUpstream = "UH", "no healthy upstream host in the cluster";
    UpstreamRequestTimeout = "UT", "upstream request timeout";
    LocalReset = "LR", "connection local reset";
    UpstreamRemoteReset = "UR", "upstream remote reset";
    UpstreamConnectionFailure = "UF", "upstream connection failure";
    UpstreamConnectionTermination = "UC", "upstream connection termination";
    UpstreamOverflow = "UO", "upstream overflow: a circuit breaker";
    NoRoute = "NR", "no route configured for the request";
    DelayInjected = "DI", "request delayed by fault injection";
    FaultInjected = "FI", "request aborted by fault injection";
    RateLimited = "RL", "request rate limited locally";
    UnauthorizedExternal = "UAEX", "denied by the external authorization service";
    RateLimitServiceError = "RLSE", "rate limit service error";
    DownstreamConnectionTermination = "DC", "downstream connection termination";
    UpstreamRetryLimitExceeded = "URX", "upstream retry limit exceeded";
    StreamIdleTimeout = "SI", "stream idle timeout";
    InvalidEnvoyRequestHeaders = "IH", "a strictly checked header held an invalid value";
    DownstreamProtocolError = "DPE", "downstream protocol error";
    UpstreamMaxStreamDurationReached = "UMSDR", "upstream request reached its maximum duration";
    NoFilterConfigFound = "NFCF", "a filter's configuration was missing";
    DurationTimeout = "DT", "the stream reached its maximum duration";
    UpstreamProtocolError = "UPE", "upstream protocol error";
    NoClusterFound = "NC", "upstream cluster not found";
    OverloadManagerTerminated = "OM", "terminated by the overload manager";
    DnsResolutionFailed = "DF", "name resolution failed";
    DropOverload = "DO", "dropped by the load assignment's overload policy";
    DownstreamRemoteReset = "DR", "downstream remote reset";
}

/// A set of [`ResponseFlag`]s; prints as `UF,URX`, or `-` when empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
        assert!(ResponseFlag::ALL.len() <= 32);
    }
}
