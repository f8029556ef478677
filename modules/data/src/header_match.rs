//! Which requests a filter is for, by their header fields.

use regex::bytes::{Regex, RegexBuilder};
use ringway_api::RequestHead;
use schemars::JsonSchema;
use serde::Deserialize;

/// A condition on a header field: at most one of the kinds; none asks for presence. As routes have it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HeaderMatchConfig {
    /// Its name.
    pub name: String,
    /// The value is this.
    pub exact: Option<String>,
    /// The value begins with this.
    pub prefix: Option<String>,
    /// The value ends with this.
    pub suffix: Option<String>,
    /// The value contains this.
    pub contains: Option<String>,
    /// The whole value matches this regular expression.
    pub safe_regex: Option<String>,
    /// It is there (`true`) or is not (`false`).
    pub present: Option<bool>,
    /// Turn the result around. A field that is not there still meets no condition on its value.
    pub invert: bool,
}

/// A condition, ready for use.
#[derive(Debug)]
pub(crate) struct HeaderMatch {
    name: Box<str>,
    condition: Condition,
    invert: bool,
}

#[derive(Debug)]
enum Condition {
    Present,
    Exact(Box<[u8]>),
    Prefix(Box<[u8]>),
    Suffix(Box<[u8]>),
    Contains(Box<memchr::memmem::Finder<'static>>),
    Regex(Regex),
}

/// A compiled regular expression takes this many bytes at most.
const REGEX_SIZE: usize = 1 << 20;

impl HeaderMatch {
    /// Compiles the conditions under `key`.
    pub(crate) fn compile_all(list: Vec<HeaderMatchConfig>, key: &str) -> Result<Vec<Self>, String> {
        let each = |(at, config)| Self::compile(config).map_err(|error| format!("{key}[{at}]: {error}"));
        list.into_iter().enumerate().map(each).collect()
    }

    fn compile(config: HeaderMatchConfig) -> Result<Self, String> {
        if !ringway_api::Headers::can_hold(config.name.as_bytes(), b"") {
            return Err(format!("name: `{}` is no name of a header field", config.name));
        }
        let bytes = |text: String| text.into_bytes().into_boxed_slice();
        let absent = config.present == Some(false);
        let mut kinds = Vec::new();
        kinds.extend(config.present.map(|_| Condition::Present));
        kinds.extend(config.exact.map(|text| Condition::Exact(bytes(text))));
        kinds.extend(config.prefix.map(|text| Condition::Prefix(bytes(text))));
        kinds.extend(config.suffix.map(|text| Condition::Suffix(bytes(text))));
        let finder = |text: String| memchr::memmem::Finder::new(text.as_bytes()).into_owned();
        kinds.extend(config.contains.map(|text| Condition::Contains(Box::new(finder(text)))));
        if let Some(pattern) = config.safe_regex {
            let regex = RegexBuilder::new(&format!("^(?:{pattern})$")).size_limit(REGEX_SIZE).build();
            kinds.push(Condition::Regex(regex.map_err(|error| format!("safe_regex: {error}"))?));
        }
        let condition = kinds.pop().unwrap_or(Condition::Present);
        if !kinds.is_empty() {
            let message = "only one of `exact`, `prefix`, `suffix`, `contains`, `safe_regex` and `present` is allowed";
            return Err(message.to_owned());
        }
        Ok(Self { name: config.name.into(), condition, invert: config.invert != absent })
    }

    /// Whether a request meets all of them.
    pub(crate) fn all(list: &[Self], head: &RequestHead) -> bool {
        list.iter().all(|condition| condition.matches(head))
    }

    fn matches(&self, head: &RequestHead) -> bool {
        let mut values = head.headers.all(&self.name);
        match (values.next(), values.next()) {
            (None, _) => self.invert && matches!(self.condition, Condition::Present),
            (Some(value), None) => self.condition.holds(value) != self.invert,
            // Several of one name count as one list (RFC 9110, section 5.3).
            (Some(first), Some(second)) => {
                let all: Vec<&[u8]> = [first, second].into_iter().chain(values).collect();
                self.condition.holds(&all.join(&b","[..])) != self.invert
            }
        }
    }
}

impl Condition {
    fn holds(&self, value: &[u8]) -> bool {
        match self {
            Self::Present => true,
            Self::Exact(wanted) => value == &**wanted,
            Self::Prefix(wanted) => value.starts_with(wanted),
            Self::Suffix(wanted) => value.ends_with(wanted),
            Self::Contains(wanted) => wanted.find(value).is_some(),
            Self::Regex(regex) => regex.is_match(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(options: serde_json::Value, values: &[&str]) -> Result<bool, String> {
        let config: HeaderMatchConfig = serde_json::from_value(options).map_err(|error| error.to_string())?;
        let list = HeaderMatch::compile_all(vec![config], "headers")?;
        let mut head = RequestHead::new(http::Method::GET, "a", "/");
        values.iter().for_each(|value| head.headers.append("X-A", value.as_bytes()).unwrap());
        Ok(HeaderMatch::all(&list, &head))
    }

    #[test]
    fn every_kind_matches_what_it_says() {
        use serde_json::json;
        for (options, values, expected) in [
            (json!({ "name": "x-a" }), &["1"][..], true),
            (json!({ "name": "x-a" }), &[], false),
            (json!({ "name": "x-a", "present": false }), &[], true),
            (json!({ "name": "x-a", "present": true, "invert": true }), &[], true),
            (json!({ "name": "x-a", "exact": "abc" }), &["abc"], true),
            (json!({ "name": "x-a", "exact": "abc", "invert": true }), &["abd"], true),
            (json!({ "name": "x-a", "exact": "abc", "invert": true }), &[], false),
            (json!({ "name": "x-a", "prefix": "ab" }), &["abc"], true),
            (json!({ "name": "x-a", "suffix": "bc" }), &["abc"], true),
            (json!({ "name": "x-a", "contains": "b" }), &["abc"], true),
            (json!({ "name": "x-a", "safe_regex": "[a-c]+" }), &["abc"], true),
            (json!({ "name": "x-a", "safe_regex": "[a-c]+" }), &["abcd"], false),
            (json!({ "name": "x-a", "exact": "1,2,3" }), &["1", "2", "3"], true),
        ] {
            assert_eq!(matches(options.clone(), values), Ok(expected), "{options}");
        }
        for (options, says) in [
            (json!({ "name": "x a" }), "headers[0]: name: `x a`"),
            (json!({ "name": "x", "exact": "a", "prefix": "b" }), "only one of"),
            (json!({ "name": "x", "safe_regex": "(" }), "safe_regex"),
            (json!({ "name": "x", "exakt": "(" }), "unknown field"),
        ] {
            let error = matches(options, &[]).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
