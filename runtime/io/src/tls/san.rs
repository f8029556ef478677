//! Rules on the names in a peer's certificate.

use std::fmt;
use std::net::IpAddr;

use regex::{Regex, RegexBuilder};

use super::peer::{Names, sha256};
use super::pem::TlsConfigError;

/// Which kind of subject alternative name a rule is about (RFC 5280 section 4.2.1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SanKind {
    /// Host names, compared without regard to case.
    Dns,
    /// URIs such as SPIFFE identities.
    Uri,
    /// Mail addresses.
    Email,
    /// IP addresses, in their usual text form.
    Ip,
}

/// What the name must look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SanPattern {
    /// The whole name. A DNS name in the certificate may be a wildcard: `*.example.com` is `a.example.com` too.
    Exact(String),
    /// How it begins.
    Prefix(String),
    /// How it ends.
    Suffix(String),
    /// What is in it.
    Contains(String),
    /// A regular expression for the whole name, matched in linear time.
    SafeRegex(String),
}

/// A rule that one name of the certificate has to meet.
#[derive(Clone, Debug)]
pub struct SanRule {
    kind: SanKind,
    matcher: Matcher,
}

/// Rules of which one must be met; without any, every certificate will do.
#[derive(Clone, Debug, Default)]
pub struct SanRules(Vec<SanRule>);

#[derive(Clone, Debug)]
enum Matcher {
    Exact(Box<str>),
    Prefix(Box<str>),
    Suffix(Box<str>),
    Contains(Box<str>),
    Regex(Regex),
}

// === impl SanRule ===

impl SanRule {
    /// A rule from the configuration's key `origin`.
    ///
    /// # Errors
    /// The pattern is empty (it would match everything or nothing), no regular expression or too large a one, or an
    /// exact address that is none.
    pub fn new(kind: SanKind, pattern: SanPattern, origin: &str) -> Result<Self, TlsConfigError> {
        let blame = |problem: String| TlsConfigError::new(origin, problem);
        let text = |text: String| match (text.is_empty(), kind) {
            (true, _) => Err(blame("the pattern is empty; leave the rule out to allow every name".to_owned())),
            (false, SanKind::Dns) => Ok(text.to_ascii_lowercase().into()),
            (false, _) => Ok(text.into()),
        };
        let matcher = match pattern {
            SanPattern::Exact(address) if kind == SanKind::Ip => {
                let parsed = address.parse::<IpAddr>().map_err(|_| blame(format!("`{address}` is no IP address")))?;
                Matcher::Exact(parsed.to_string().into())
            }
            SanPattern::Exact(name) => Matcher::Exact(text(name)?),
            SanPattern::Prefix(start) => Matcher::Prefix(text(start)?),
            SanPattern::Suffix(end) => Matcher::Suffix(text(end)?),
            SanPattern::Contains(part) => Matcher::Contains(text(part)?),
            SanPattern::SafeRegex(source) if source.is_empty() => Matcher::Exact(text(source)?),
            SanPattern::SafeRegex(source) => {
                let compile = |source: &str| {
                    RegexBuilder::new(source).case_insensitive(kind == SanKind::Dns).size_limit(REGEX_SIZE).build()
                };
                // Alone first: what is wrong by itself must not become right by the brackets around it.
                let whole = compile(&source).and_then(|_| compile(&format!("^(?:{source})$")));
                Matcher::Regex(whole.map_err(|error| blame(format!("`{source}` is no regular expression: {error}")))?)
            }
        };
        Ok(Self { kind, matcher })
    }

    fn allows(&self, names: &Names) -> bool {
        let (names, wildcards) = match self.kind {
            SanKind::Dns => (&names.dns, true),
            SanKind::Uri => (&names.uri, false),
            SanKind::Email => (&names.email, false),
            SanKind::Ip => (&names.ip, false),
        };
        names.iter().any(|name| match &self.matcher {
            Matcher::Exact(wanted) => name == wanted || wildcards && covers(name, wanted),
            Matcher::Prefix(start) => name.starts_with(&**start),
            Matcher::Suffix(end) => name.ends_with(&**end),
            Matcher::Contains(part) => name.contains(&**part),
            Matcher::Regex(regex) => regex.is_match(name),
        })
    }
}

// === impl SanRules ===

impl SanRules {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Of what they say, in their order.
    pub(super) fn digest(&self) -> [u8; 32] {
        sha256(&[format!("{:?}", self.0).as_bytes()])
    }

    pub(super) fn allow(&self, names: &Names) -> bool {
        self.0.is_empty() || self.0.iter().any(|rule| rule.allows(names))
    }
}

impl FromIterator<SanRule> for SanRules {
    fn from_iter<T: IntoIterator<Item = SanRule>>(rules: T) -> Self {
        Self(rules.into_iter().collect())
    }
}

impl fmt::Display for SanRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, SanRule { kind, matcher }) in self.0.iter().enumerate() {
            let kind = match kind {
                SanKind::Dns => "dns",
                SanKind::Uri => "uri",
                SanKind::Email => "email",
                SanKind::Ip => "ip",
            };
            let (how, what): (_, &str) = match matcher {
                Matcher::Exact(text) => ("exact", text),
                Matcher::Prefix(text) => ("prefix", text),
                Matcher::Suffix(text) => ("suffix", text),
                Matcher::Contains(text) => ("contains", text),
                Matcher::Regex(regex) => ("safe_regex", regex.as_str()),
            };
            write!(f, "{}{kind} {how} `{what}`", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// Compiled; far above any sensible expression, far below what hurts.
const REGEX_SIZE: usize = 256 * 1024;

/// RFC 6125 section 6.4.3: the star is the whole leftmost label and stands for one label.
fn covers(certificate: &str, name: &str) -> bool {
    match (certificate.strip_prefix('*'), name.find('.')) {
        (Some(rest), Some(dot)) => dot > 0 && rest.len() > 1 && name.get(dot..) == Some(rest),
        _ => false,
    }
}
