//! Fields by which calls in framed protocols (Dubbo, bolt and the like) look like requests and responses.

/// The field of a response that holds its status in its own protocol, as a decimal number. Codecs of framed protocols
/// translate a response without one as an error, whatever its content.
pub const STATUS: &str = "rpc-status";

/// The field of a response that says that the service threw: a result like any other to the protocol, counted apart.
pub const EXCEPTION: &str = "rpc-exception";

/// The field of a request that holds the version of the service that is called.
pub const VERSION: &str = "version";

/// The field of a request that holds the group of the service that is called.
pub const GROUP: &str = "group";
