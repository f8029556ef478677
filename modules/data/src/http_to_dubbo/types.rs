//! The types of parameters, as Java's source code writes them.

use std::sync::Arc;

/// A type, and how its values are written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Type {
    pub(super) kind: Kind,
    /// As it was written.
    pub(super) name: String,
    /// Its descriptor in the JVM ("Field Descriptors" of its specification).
    pub(super) descriptor: String,
    /// Its name without what generics say.
    pub(super) erased: String,
    /// One of the eight that are never null.
    pub(super) primitive: bool,
}

/// How values of a type are written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Boolean,
    /// An int of so many bits.
    Int(u32),
    Long,
    Float,
    Double,
    Char,
    Text,
    Date,
    Bytes,
    /// Whatever the JSON value is.
    Any,
    /// Arrays, lists and sets; `wire` is the type that is written.
    List {
        element: Box<Type>,
        wire: Option<Arc<str>>,
    },
    Map {
        key: Box<Type>,
        value: Box<Type>,
        wire: Option<Arc<str>>,
    },
    /// An object of this class, whose fields are as JSON has them.
    Class(Arc<str>),
}

/// Generics and dimensions of arrays within each other.
const MAX_DEPTH: usize = 8;

/// Name, letter in the JVM, class that holds one, kind.
const PRIMITIVES: [(&str, char, &str, Kind); 8] = [
    ("boolean", 'Z', "java.lang.Boolean", Kind::Boolean),
    ("byte", 'B', "java.lang.Byte", Kind::Int(8)),
    ("short", 'S', "java.lang.Short", Kind::Int(16)),
    ("int", 'I', "java.lang.Integer", Kind::Int(32)),
    ("long", 'J', "java.lang.Long", Kind::Long),
    ("float", 'F', "java.lang.Float", Kind::Float),
    ("double", 'D', "java.lang.Double", Kind::Double),
    ("char", 'C', "java.lang.Character", Kind::Char),
];

const CLASSES: [(&str, Kind); 4] = [
    ("java.lang.String", Kind::Text),
    ("java.lang.CharSequence", Kind::Text),
    ("java.util.Date", Kind::Date),
    ("java.lang.Object", Kind::Any),
];

/// Name, and the class that is written unless it is the usual one.
const LISTS: [(&str, Option<&str>); 9] = [
    ("java.util.List", None),
    ("java.util.Collection", None),
    ("java.lang.Iterable", None),
    ("java.util.ArrayList", None),
    ("java.util.LinkedList", Some("java.util.LinkedList")),
    ("java.util.Set", Some("java.util.HashSet")),
    ("java.util.HashSet", Some("java.util.HashSet")),
    ("java.util.LinkedHashSet", Some("java.util.LinkedHashSet")),
    ("java.util.TreeSet", Some("java.util.TreeSet")),
];

const MAPS: [(&str, Option<&str>); 5] = [
    ("java.util.Map", None),
    ("java.util.HashMap", None),
    ("java.util.LinkedHashMap", Some("java.util.LinkedHashMap")),
    ("java.util.TreeMap", Some("java.util.TreeMap")),
    ("java.util.SortedMap", Some("java.util.TreeMap")),
];

impl Type {
    /// Reads `int`, `java.lang.String[]`, `java.util.Map<java.lang.String, long[]>` and the like.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (kind, rest) = read(text, 0)?;
        match rest.trim_start() {
            "" => Ok(kind),
            _ => Err(format!("{text:?} is no type: there is something behind its end")),
        }
    }

    /// `java.lang.Object`
    fn any() -> Self {
        Self::class("java.lang.Object", Kind::Any)
    }

    fn class(name: &str, kind: Kind) -> Self {
        let descriptor = format!("L{};", name.replace('.', "/"));
        Self { kind, name: name.into(), descriptor, erased: name.into(), primitive: false }
    }
}

/// The type at the beginning of `text`, and what follows it.
fn read(text: &str, depth: usize) -> Result<(Type, &str), String> {
    if depth > MAX_DEPTH {
        return Err(format!("more than {MAX_DEPTH} types within each other"));
    }
    let text = text.trim_start();
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '.'))).unwrap_or(text.len());
    let (name, mut rest) = text.split_at(end);
    let mut arguments = Vec::new();
    if let Some(inner) = rest.strip_prefix('<') {
        let mut inner = inner;
        loop {
            let (argument, after) = read(inner, depth + 1)?;
            arguments.push(argument);
            let after = after.trim_start();
            if let Some(after) = after.strip_prefix(',') {
                inner = after;
            } else if let Some(after) = after.strip_prefix('>') {
                rest = after;
                break;
            } else {
                return Err(format!("{text:?} is no type: a `>` is missing"));
            }
        }
    }
    let mut kind = named(name, arguments)?;
    let mut dimensions = 0;
    while let Some(after) = rest.strip_prefix("[]") {
        dimensions += 1;
        if dimensions > MAX_DEPTH {
            return Err(format!("an array of more than {MAX_DEPTH} dimensions"));
        }
        kind = array_of(kind);
        rest = after;
    }
    Ok((kind, rest))
}

fn named(name: &str, arguments: Vec<Type>) -> Result<Type, String> {
    if let Some(primitive) = arguments.iter().find(|argument| argument.primitive) {
        return Err(format!("{} cannot stand in `<>`: write its class", primitive.name));
    }
    let count = arguments.len();
    let mut next = arguments.into_iter();
    let mut argument = || Box::new(next.next().unwrap_or_else(Type::any));
    let mut made = None;
    let mut wanted = 0;
    for (primitive, letter, class, kind) in PRIMITIVES {
        if name == primitive {
            let (name, descriptor) = (String::from(name), letter.to_string());
            made = Some(Type { kind, erased: name.clone(), name, descriptor, primitive: true });
        } else if name == class {
            made = Some(Type::class(name, kind));
        }
    }
    if let Some((_, kind)) = CLASSES.into_iter().find(|(class, _)| *class == name) {
        made = Some(Type::class(name, kind));
    }
    if let Some((_, wire)) = LISTS.into_iter().find(|(class, _)| *class == name) {
        wanted = 1;
        made = Some(Type::class(name, Kind::List { element: argument(), wire: wire.map(Arc::from) }));
    }
    if let Some((_, wire)) = MAPS.into_iter().find(|(class, _)| *class == name) {
        wanted = 2;
        let (key, value) = (argument(), argument());
        if !key.is_key() {
            return Err(format!("{} as the key of a map: JSON has texts there", key.name));
        }
        made = Some(Type::class(name, Kind::Map { key, value, wire: wire.map(Arc::from) }));
    }
    let is_class = name.contains('.') && name.split('.').all(is_identifier);
    let mut made = match made {
        Some(made) => made,
        None if name.starts_with("java.") || name.starts_with("javax.") => {
            return Err(format!("{name}: there is no JSON for this type"));
        }
        None if is_class => Type::class(name, Kind::Class(name.into())),
        None => return Err(format!("{name:?} is no type: write it in full, such as java.lang.String, or int")),
    };
    if count != 0 && count != wanted {
        return Err(format!("{name} has {wanted} types in `<>`, not {count}"));
    }
    if let Kind::List { element, .. } = &made.kind
        && count > 0
    {
        made.name = format!("{name}<{}>", element.name);
    }
    if let Kind::Map { key, value, .. } = &made.kind
        && count > 0
    {
        made.name = format!("{name}<{}, {}>", key.name, value.name);
    }
    Ok(made)
}

fn array_of(element: Type) -> Type {
    let kind = match (&element.kind, element.primitive) {
        (Kind::Int(8), true) => Kind::Bytes,
        (Kind::Char, true) => Kind::Text,
        _ => {
            let wire = Some(format!("[{}", array_name(&element.erased)).into());
            Kind::List { element: Box::new(element.clone()), wire }
        }
    };
    Type {
        kind,
        name: format!("{}[]", element.name),
        descriptor: format!("[{}", element.descriptor),
        erased: format!("{}[]", element.erased),
        primitive: false,
    }
}

/// What an array's elements are called in its type, as Java's implementation has it.
fn array_name(erased: &str) -> String {
    match erased {
        "java.lang.String" => "string".into(),
        "java.lang.Object" => "object".into(),
        "java.util.Date" => "date".into(),
        name => name.strip_suffix("[]").map_or_else(|| name.into(), |inner| format!("[{}", array_name(inner))),
    }
}

impl Type {
    fn is_key(&self) -> bool {
        !matches!(self.kind, Kind::List { .. } | Kind::Map { .. } | Kind::Class(_) | Kind::Bytes)
    }

    /// Whether a value can be made from text.
    pub(super) fn has_text(&self) -> bool {
        self.is_key() || self.kind == Kind::Bytes
    }
}

fn is_identifier(text: &str) -> bool {
    text.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}
