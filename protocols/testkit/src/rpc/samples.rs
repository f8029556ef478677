//! What a codec's author knows of its frames.

use std::time::Duration;

use http::StatusCode;

/// Frames of a protocol, and what they mean. Frames are written by hand or taken from another implementation's traffic:
/// a codec that only reads what it wrote proves nothing.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// Calls that await an answer; at least one.
    pub requests: Vec<RequestSample>,
    /// Calls that do not, if the protocol has them.
    pub one_way: Vec<RequestSample>,
    /// Answers: one that went well first, then exceptions and errors.
    pub responses: Vec<ResponseSample>,
    /// A heartbeat and the very bytes that answer it, if the protocol has one.
    pub heartbeat: Option<(Vec<u8>, Vec<u8>)>,
    /// Says that no more calls may be made, if the protocol can.
    pub goaway: Option<Vec<u8>>,
    /// Whether the codec writes one itself, too: some are understood by few clients.
    pub sends_goaway: bool,
    /// Beginnings of requests that claim to be longer than 8 MiB, the default limit.
    pub oversized: Vec<Vec<u8>>,
    /// Frames, or beginnings of some, that cannot be read any further, such as ones of an unknown version.
    pub broken: Vec<Vec<u8>>,
}

/// A call's frame and what it means.
#[derive(Clone, Debug)]
pub struct RequestSample {
    /// The frame.
    pub bytes: Vec<u8>,
    /// Who is called.
    pub service: String,
    /// The method.
    pub method: String,
    /// How long the caller waits, where the frame says so.
    pub timeout: Option<Duration>,
    /// What it carries.
    pub carries: Carries,
}

/// An answer's frame and what it means.
#[derive(Clone, Debug)]
pub struct ResponseSample {
    /// The frame.
    pub bytes: Vec<u8>,
    /// What its status is in HTTP.
    pub status: StatusCode,
    /// The protocol's own status.
    pub code: i32,
    /// The service threw.
    pub exception: bool,
    /// What it carries.
    pub carries: Carries,
}

/// What a frame carries.
#[derive(Clone, Debug)]
pub struct Carries {
    /// Attachments that are shown as fields: filters may change and remove them.
    pub fields: Vec<(String, String)>,
    /// Fields that are shown beside them, made of something else in the frame.
    pub derived: Vec<(String, String)>,
    /// The content, if it stands apart from everything else in the frame.
    pub content: Option<Vec<u8>>,
    /// Other content that it may be replaced by; by default longer, shorter and none.
    pub contents: Vec<Vec<u8>>,
    /// Bytes that are to be found in whatever the frame becomes, such as an attachment that no field can hold.
    pub keeps: Vec<Vec<u8>>,
}

impl Default for Carries {
    fn default() -> Self {
        let long = (0..20_000_u32).map(|at| (at * 7 + at / 251) as u8).collect();
        Self {
            fields: Vec::new(),
            derived: Vec::new(),
            content: None,
            contents: vec![long, b"x".to_vec(), Vec::new()],
            keeps: Vec::new(),
        }
    }
}

impl RequestSample {
    /// A call of a method of a service.
    pub fn new(bytes: impl Into<Vec<u8>>, service: &str, method: &str) -> Self {
        Self {
            bytes: bytes.into(),
            service: service.to_owned(),
            method: method.to_owned(),
            timeout: None,
            carries: Carries::default(),
        }
    }

    /// The caller waits for so long.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

impl ResponseSample {
    /// An answer with a status of HTTP's and of the protocol's own.
    pub fn new(bytes: impl Into<Vec<u8>>, status: StatusCode, code: i32) -> Self {
        Self { bytes: bytes.into(), status, code, exception: false, carries: Carries::default() }
    }

    /// The service threw.
    #[must_use]
    pub fn exception(mut self) -> Self {
        self.exception = true;
        self
    }
}

macro_rules! carries {
    ($($sample:ty),*) => {$(
        impl $sample {
            /// It has an attachment that is shown as a field.
            #[must_use]
            pub fn field(mut self, name: &str, value: &str) -> Self {
                self.carries.fields.push((name.to_owned(), value.to_owned()));
                self
            }

            /// A field is made of something in it that is no attachment.
            #[must_use]
            pub fn derived(mut self, name: &str, value: &str) -> Self {
                self.carries.derived.push((name.to_owned(), value.to_owned()));
                self
            }

            /// Its content, which stands apart from everything else.
            #[must_use]
            pub fn content(mut self, content: impl Into<Vec<u8>>) -> Self {
                self.carries.content = Some(content.into());
                self
            }

            /// What the content may be replaced by.
            #[must_use]
            pub fn contents(mut self, contents: Vec<Vec<u8>>) -> Self {
                self.carries.contents = contents;
                self
            }

            /// These bytes are to be found in whatever it becomes.
            #[must_use]
            pub fn keeps(mut self, bytes: impl Into<Vec<u8>>) -> Self {
                self.carries.keeps.push(bytes.into());
                self
            }
        }
    )*};
}

carries!(RequestSample, ResponseSample);

impl Samples {
    /// All frames, with the names of what they are.
    pub(crate) fn frames(&self) -> Vec<(String, &[u8])> {
        let named = |what: &str, at: usize| format!("{what} {at}");
        let mut all: Vec<(String, &[u8])> = Vec::new();
        all.extend(self.requests.iter().enumerate().map(|(at, s)| (named("request", at), &*s.bytes)));
        all.extend(self.one_way.iter().enumerate().map(|(at, s)| (named("one-way request", at), &*s.bytes)));
        all.extend(self.responses.iter().enumerate().map(|(at, s)| (named("response", at), &*s.bytes)));
        if let Some((heartbeat, reply)) = &self.heartbeat {
            all.push(("heartbeat".to_owned(), heartbeat));
            all.push(("heartbeat reply".to_owned(), reply));
        }
        all.extend(self.goaway.iter().map(|bytes| ("go-away".to_owned(), &**bytes)));
        all
    }

    /// The first request.
    pub(crate) fn request(&self) -> &RequestSample {
        self.requests.first().unwrap_or_else(|| panic!("samples need a request"))
    }

    /// The first response.
    pub(crate) fn response(&self) -> &ResponseSample {
        self.responses.first().unwrap_or_else(|| panic!("samples need a response"))
    }
}
