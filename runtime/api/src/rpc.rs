//! Fields by which calls in framed protocols (Dubbo, bolt and the like) look like requests and responses.

/// The field of a response that holds its status in its own protocol, as a decimal number. Codecs of framed protocols
/// translate a response without one as an error, whatever its content.
pub const STATUS: &str = "rpc-status";

/// The field of a response that says that the service threw: a result like any other to the protocol, counted apart.
pub const EXCEPTION: &str = "rpc-exception";

/// The field of such a response that holds the class of what was thrown, where the codec can read it.
pub const EXCEPTION_CLASS: &str = "rpc-exception-class";

/// The field of such a response that holds the message of what was thrown, likewise; control characters are spaces.
pub const EXCEPTION_MESSAGE: &str = "rpc-exception-message";

/// The field of such a response that holds the innermost frames of the stack, likewise, separated by ` < `.
pub const EXCEPTION_STACK: &str = "rpc-exception-stack";

/// The path of a call whose target and attachments the codec cannot read (another serialization, say): it goes on as the
/// frame that came, and may not be edited.
pub const UNREAD: &[u8] = b"/-/-";

/// Fields by which traces travel, in any case: a call that was made of a request of another protocol has them as
/// attachments.
pub const TRACE_FIELDS: &[&str] = &[
    "traceparent",
    "tracestate",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
    "sw8",
    "sw8-correlation",
    "sw8-x",
];

/// The field of a request that holds the version of the service that is called.
pub const VERSION: &str = "version";

/// The field of a request that holds the group of the service that is called.
pub const GROUP: &str = "group";
