//! The options, and what is made of them.

use std::collections::HashMap;
use std::sync::Arc;

use http::Method;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, MessageDescriptor, MethodDescriptor, SerializeOptions, Value,
};
use ringway_api::ByteSize;
use schemars::JsonSchema;
use serde::Deserialize;

use super::any::holds_any;
use super::template::{Bound, Template};
use super::text::resolve;

/// The options of [`GrpcJson`](super::GrpcJson).
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GrpcJsonConfig {
    /// The file with the descriptor set, as `protoc --include_imports --descriptor_set_out=FILE` makes it. It is read
    /// when the configuration is.
    pub descriptor_set: String,
    /// The full names of the services that are served; all that the set has if none is named.
    #[serde(default)]
    pub services: Vec<String>,
    /// Serve `POST /package.Service/Method` with the request message as JSON, too.
    #[serde(default)]
    pub auto_mapping: bool,
    /// Answer requests that nothing fits with 404, or 405 if only the method differs; otherwise they pass untouched.
    #[serde(default)]
    pub reject_unknown: bool,
    /// Leave out what the message has no field for, in the query and in the content; otherwise it is an error: 400.
    #[serde(default)]
    pub ignore_unknown_fields: bool,
    /// The longest content of a request (413), of a response, and of a message of a streamed one (502).
    #[serde(default = "four_mebibytes")]
    pub max_body: ByteSize,
    /// How streamed responses are written.
    #[serde(default)]
    pub streams: Streams,
    /// Write fields that have their default value.
    #[serde(default)]
    pub print_defaults: bool,
    /// Write enums as numbers.
    #[serde(default)]
    pub print_enum_numbers: bool,
    /// Write the names of fields as in the `.proto` file rather than in lowerCamelCase.
    #[serde(default)]
    pub print_proto_names: bool,
}

/// How the messages of a streamed response are written.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Streams {
    /// One array.
    #[default]
    Array,
    /// One message a line (`application/x-ndjson`).
    Lines,
}

/// The options, made fit for use.
#[derive(Debug)]
pub struct Rules {
    pub(super) pool: DescriptorPool,
    /// By HTTP method; those that fit less come first.
    bindings: HashMap<Method, Vec<Arc<Binding>>>,
    /// By path.
    auto: HashMap<String, Arc<Binding>>,
    pub(super) reject_unknown: bool,
    pub(super) ignore_unknown: bool,
    pub(super) max_body: usize,
    pub(super) streams: Streams,
    pub(super) print: SerializeOptions,
}

/// One way to call a method.
#[derive(Debug)]
pub(super) struct Binding {
    pub(super) template: Option<Template>,
    pub(super) method: MethodDescriptor,
    /// `/package.Service/Method`
    pub(super) target: String,
    pub(super) input: MessageDescriptor,
    pub(super) output: MessageDescriptor,
    /// Responses can hold a `google.protobuf.Any`.
    pub(super) any: bool,
    pub(super) body: BodyRule,
    /// The field of the response that is its content.
    pub(super) response_body: Option<FieldDescriptor>,
}

/// What of the message the content is.
#[derive(Debug)]
pub(super) enum BodyRule {
    None,
    Whole,
    Field(FieldDescriptor),
}

/// Which HTTP methods `google.api.HttpRule` has fields for.
const METHODS: [(&str, Method); 5] = [
    ("get", Method::GET),
    ("put", Method::PUT),
    ("post", Method::POST),
    ("delete", Method::DELETE),
    ("patch", Method::PATCH),
];

/// A content in whatever media type, as it is.
pub(super) const HTTP_BODY: &str = "google.api.HttpBody";

const fn four_mebibytes() -> ByteSize {
    ByteSize(4 << 20)
}

impl Rules {
    pub(super) fn compile(config: GrpcJsonConfig) -> Result<Self, String> {
        let file = &config.descriptor_set;
        let set = std::fs::read(file).map_err(|error| format!("descriptor_set: {file}: {error}"))?;
        let pool = DescriptorPool::decode(set.as_slice())
            .map_err(|error| format!("descriptor_set: {file}: {error} (made with --include_imports?)"))?;
        let print = SerializeOptions::new()
            .skip_default_fields(!config.print_defaults)
            .use_enum_numbers(config.print_enum_numbers)
            .use_proto_field_name(config.print_proto_names);
        let max_body = usize::try_from(config.max_body.0).map_err(|_| "max_body: too large")?;
        let mut rules = Self {
            bindings: HashMap::new(),
            auto: HashMap::new(),
            reject_unknown: config.reject_unknown,
            ignore_unknown: config.ignore_unknown_fields,
            max_body,
            streams: config.streams,
            print,
            pool,
        };
        rules.add_services(&config)?;
        if rules.bindings.is_empty() && rules.auto.is_empty() {
            return Err(format!("descriptor_set: {file}: no method has a google.api.http annotation"));
        }
        Ok(rules)
    }

    fn add_services(&mut self, config: &GrpcJsonConfig) -> Result<(), String> {
        let pool = self.pool.clone();
        for (at, name) in config.services.iter().enumerate() {
            if pool.get_service_by_name(name).is_none() {
                return Err(format!("services[{at}]: the descriptor set has no service {name:?}"));
            }
        }
        let http = pool.get_extension_by_name("google.api.http");
        for service in pool.services() {
            if !config.services.is_empty() && config.services.iter().all(|name| name != service.full_name()) {
                continue;
            }
            for method in service.methods() {
                if config.auto_mapping {
                    let binding = Binding::new(&method, None, BodyRule::Whole, None);
                    self.auto.insert(binding.target.clone(), Arc::new(binding));
                }
                let options = method.options();
                let Some(http) = http.as_ref().filter(|http| options.has_extension(http)) else { continue };
                if let Value::Message(rule) = options.get_extension(http).as_ref() {
                    self.add_rule(&method, rule, true).map_err(|what| format!("{}: {what}", method.full_name()))?;
                }
            }
        }
        self.bindings.values_mut().for_each(|bindings| bindings.sort_by(|a, b| a.template.cmp(&b.template)));
        Ok(())
    }

    /// Adds what a `google.api.HttpRule` says.
    fn add_rule(&mut self, method: &MethodDescriptor, rule: &DynamicMessage, first: bool) -> Result<(), String> {
        let text = |message: &DynamicMessage, name: &str| {
            let value = message.get_field_by_name(name)?;
            value.as_str().filter(|text| !text.is_empty()).map(String::from)
        };
        let mut pattern = METHODS.into_iter().find_map(|(name, method)| Some((method, text(rule, name)?)));
        if let Some(custom) = rule.get_field_by_name("custom").as_ref().and_then(|value| value.as_message())
            && let (Some(kind), Some(path)) = (text(custom, "kind"), text(custom, "path"))
        {
            let kind = Method::from_bytes(kind.as_bytes()).map_err(|_| format!("{kind:?} is no HTTP method"))?;
            pattern = Some((kind, path));
        }
        let (http_method, path) = pattern.ok_or("a google.api.http annotation without a method and a path")?;
        let template = Template::parse(&path)?;
        let (input, output) = (method.input(), method.output());
        for field in template.fields() {
            let known = resolve(&input, field).filter(|fields| {
                let last = fields.last().map(FieldDescriptor::kind);
                fields.iter().all(|field| !field.is_list() && !field.is_map())
                    && last.is_some_and(|kind| kind.as_message().is_none())
            });
            known.ok_or_else(|| format!("{path}: {field:?} is no single field of {}", input.full_name()))?;
        }
        let body = match text(rule, "body").as_deref() {
            None => BodyRule::None,
            Some("*") => BodyRule::Whole,
            Some(name) => BodyRule::Field(field(&input, name)?),
        };
        let response_body = text(rule, "response_body").map(|name| field(&output, &name)).transpose()?;
        let same = |other: &Arc<Binding>| {
            let template_of = other.template.as_ref();
            template_of.is_some_and(|other| other.same_paths(&template))
        };
        let bindings = self.bindings.entry(http_method.clone()).or_default();
        if let Some(other) = bindings.iter().find(|other| same(other)) {
            return Err(format!("{http_method} {path} is a path of {} already", other.method.full_name()));
        }
        bindings.push(Arc::new(Binding::new(method, Some(template), body, response_body)));
        if let Some(more) = rule.get_field_by_name("additional_bindings").as_ref().and_then(|value| value.as_list()) {
            for rule in more.iter().filter_map(Value::as_message) {
                if !first {
                    return Err("additional_bindings within additional_bindings".into());
                }
                self.add_rule(method, rule, false)?;
            }
        }
        Ok(())
    }

    /// What a request is to be, and what its path says of the message.
    pub(super) fn find<'a>(&'a self, method: &Method, path: &'a [u8]) -> Option<(&'a Arc<Binding>, Vec<Bound<'a>>)> {
        if *method == Method::POST
            && let Some(binding) = str::from_utf8(path).ok().and_then(|path| self.auto.get(path))
        {
            return Some((binding, Vec::new()));
        }
        self.bindings.get(method)?.iter().find_map(|binding| Some((binding, binding.template.as_ref()?.fit(path)?)))
    }

    /// The methods by which a path is served.
    pub(super) fn allowed(&self, path: &[u8]) -> Vec<&str> {
        let mut allowed: Vec<&str> = Vec::new();
        for (method, bindings) in &self.bindings {
            let fits = |binding: &Arc<Binding>| binding.template.as_ref().is_some_and(|it| it.fit(path).is_some());
            if bindings.iter().any(fits) {
                allowed.push(method.as_str());
            }
        }
        if str::from_utf8(path).is_ok_and(|path| self.auto.contains_key(path)) && !allowed.contains(&"POST") {
            allowed.push("POST");
        }
        allowed.sort_unstable();
        allowed
    }
}

impl Binding {
    fn new(
        method: &MethodDescriptor,
        template: Option<Template>,
        body: BodyRule,
        response_body: Option<FieldDescriptor>,
    ) -> Self {
        let target = format!("/{}/{}", method.parent_service().full_name(), method.name());
        let (input, output) = (method.input(), method.output());
        let any = holds_any(&output);
        Self { template, method: method.clone(), target, any, input, output, body, response_body }
    }
}

fn field(message: &MessageDescriptor, name: &str) -> Result<FieldDescriptor, String> {
    message.get_field_by_name(name).ok_or_else(|| format!("{} has no field {name:?}", message.full_name()))
}
