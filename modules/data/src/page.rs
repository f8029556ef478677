//! Content that is made here: text or JSON, with operators.

use ringway_api::{Body, Chunk, Headers, Known, Response};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::template::{Captured, Template};

/// Content as users write it: text, or JSON.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PageConfig {
    /// Text, with operators such as `%RESPONSE_CODE%`. In HTML their values are escaped.
    text: Option<String>,
    /// JSON, with operators in its strings.
    json: Option<Value>,
    /// The media type: `text/plain` for text and `application/json` for JSON, if it is not set.
    content_type: Option<String>,
}

/// A [`PageConfig`], checked.
#[derive(Debug)]
pub(crate) struct Page {
    content: Content,
    content_type: Box<str>,
    html: bool,
}

#[derive(Debug)]
enum Content {
    Text(Template),
    Json(Json),
}

#[derive(Debug)]
enum Json {
    Text(Template),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
    Fixed(Value),
}

impl Page {
    /// `None` where nothing is said of content.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn compile(config: PageConfig) -> Result<Option<Self>, String> {
        let (content, usual) = match (config.text, config.json) {
            (Some(_), Some(_)) => return Err("one of `text` and `json`, not both".to_owned()),
            (Some(text), None) => (Content::Text(Template::compile(&text)?), "text/plain"),
            (None, Some(json)) => (Content::Json(Json::compile(json)?), "application/json"),
            (None, None) if config.content_type.is_some() => {
                return Err("content_type: there is neither `text` nor `json`".to_owned());
            }
            (None, None) => return Ok(None),
        };
        let content_type = config.content_type.unwrap_or_else(|| usual.to_owned());
        if !Headers::can_hold(b"content-type", content_type.as_bytes()) {
            return Err(format!("content_type: {content_type:?} is no value of a field"));
        }
        let lower = content_type.to_ascii_lowercase();
        let html = lower.contains("html") || lower.contains("xml");
        Ok(Some(Self { content, content_type: content_type.into(), html }))
    }

    /// Whether it says something of the request.
    pub(crate) fn is_early(&self) -> bool {
        let mut early = false;
        match &self.content {
            Content::Text(text) => early = text.is_early(),
            Content::Json(json) => json.each(&mut |text| early |= text.is_early()),
        }
        early
    }

    /// What its operators about the request stand for.
    pub(crate) fn capture(&self, head: &ringway_api::RequestHead, conn: &ringway_api::ConnInfo, into: &mut Captured) {
        match &self.content {
            Content::Text(text) => text.capture(head, conn, into),
            Content::Json(json) => json.each(&mut |text| text.capture(head, conn, into)),
        }
    }

    /// Makes it the content of a response. What is missing is `-` in text, as in logs, and null in JSON.
    pub(crate) fn apply<'a>(
        &'a self,
        captured: &mut impl Iterator<Item = &'a Option<Box<[u8]>>>,
        response: &mut Response,
    ) {
        let content = match &self.content {
            Content::Text(text) if self.html => text.render_escaped(captured, Some(response), b"-").into_owned(),
            Content::Text(text) => text.render(captured, Some(response), b"-").into_owned(),
            Content::Json(json) => json.render(captured, response).to_string().into_bytes(),
        };
        let headers = &mut response.head.headers;
        headers.remove_known(Known::ContentLength);
        let set = headers.set_known(Known::ContentType, self.content_type.as_bytes());
        debug_assert!(set.is_ok(), "checked");
        response.body = if content.is_empty() { Body::Empty } else { Body::Full(Chunk::from(content)) };
    }
}

impl Json {
    fn compile(value: Value) -> Result<Self, String> {
        Ok(match value {
            Value::String(text) => Self::Text(Template::compile(&text)?),
            Value::Array(list) => Self::List(list.into_iter().map(Self::compile).collect::<Result<_, _>>()?),
            Value::Object(members) => {
                let members = members.into_iter().map(|(name, value)| Ok((name, Self::compile(value)?)));
                Self::Object(members.collect::<Result<_, String>>()?)
            }
            fixed => Self::Fixed(fixed),
        })
    }

    fn each(&self, told: &mut impl FnMut(&Template)) {
        match self {
            Self::Text(text) => told(text),
            Self::List(list) => list.iter().for_each(|json| json.each(told)),
            Self::Object(members) => members.iter().for_each(|(_, json)| json.each(told)),
            Self::Fixed(_) => {}
        }
    }

    fn render<'a>(&'a self, captured: &mut impl Iterator<Item = &'a Option<Box<[u8]>>>, response: &Response) -> Value {
        match self {
            Self::Text(text) => {
                if text.is_number() {
                    return response.head.status.as_u16().into();
                }
                let rendered = text.render(captured, Some(response), b"");
                if rendered.is_empty() && text.is_operator() {
                    return Value::Null;
                }
                Value::String(String::from_utf8_lossy(&rendered).into_owned())
            }
            Self::List(list) => list.iter().map(|json| json.render(captured, response)).collect(),
            Self::Object(members) => {
                let rendered = members.iter().map(|(name, json)| (name.clone(), json.render(captured, response)));
                Value::Object(rendered.collect::<Map<_, _>>())
            }
            Self::Fixed(value) => value.clone(),
        }
    }
}
