//! Places in the text: only needed once something is wrong, so found by reading the text again.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// A document as a tree of places.
enum Node {
    Map(Vec<(String, Spanned<Node>)>),
    Seq(Vec<Spanned<Node>>),
    Leaf,
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

macro_rules! leaf {
    ($($method:ident: $type:ty,)*) => {
        $(fn $method<E>(self, _: $type) -> Result<Node, E> { Ok(Node::Leaf) })*
    };
}

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    leaf! { visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_i128: i128, visit_u128: u128, visit_f64: f64, visit_str: &str, }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Node, D::Error> {
        from.deserialize_any(Self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            entries.push((key, map.next_value()?));
        }
        Ok(Node::Map(entries))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Node::Seq(items))
    }
}

/// Line and column of a path such as `listeners[0].name`; of the nearest ancestor when it is not there.
pub(crate) fn place_of(text: &str, path: &str) -> Option<(usize, usize)> {
    let root: Spanned<Node> = serde_saphyr::from_str(text).ok()?;
    let mut at = &root;
    for step in steps(path) {
        let next = match (&at.value, step) {
            (Node::Map(entries), Step::Key(key)) => entries.iter().find(|(name, _)| name == key).map(|(_, node)| node),
            (Node::Seq(items), Step::Index(index)) => items.get(index),
            _ => None,
        };
        match next {
            Some(node) => at = node,
            None => break,
        }
    }
    place(at)
}

/// The path of the innermost node at a place or before it.
pub(crate) fn path_of(text: &str, target: (usize, usize)) -> String {
    // Text that is no YAML has no paths.
    if serde_saphyr::from_str::<IgnoredAny>(text).is_err() {
        return String::new();
    }
    let Ok(root) = serde_saphyr::from_str::<Spanned<Node>>(text) else { return String::new() };
    let mut path = String::new();
    let mut at = &root;
    loop {
        let next = match &at.value {
            Node::Map(entries) => entries
                .iter()
                .rfind(|(_, node)| place(node).is_some_and(|place| place <= target))
                .map(|(key, node)| (if path.is_empty() { key.clone() } else { format!(".{key}") }, node)),
            Node::Seq(items) => items
                .iter()
                .enumerate()
                .rfind(|(_, node)| place(node).is_some_and(|place| place <= target))
                .map(|(index, node)| (format!("[{index}]"), node)),
            Node::Leaf => None,
        };
        let Some((step, node)) = next else { return path };
        path.push_str(&step);
        at = node;
    }
}

fn place(node: &Spanned<Node>) -> Option<(usize, usize)> {
    let line = usize::try_from(node.referenced.line()).ok().filter(|line| *line > 0)?;
    Some((line, usize::try_from(node.referenced.column()).ok()?.max(1)))
}

enum Step<'p> {
    Key(&'p str),
    Index(usize),
}

fn steps(path: &str) -> impl Iterator<Item = Step<'_>> {
    path.split(['.', '[']).filter(|part| !part.is_empty()).map(|part| match part.strip_suffix(']') {
        Some(index) => Step::Index(index.parse().unwrap_or(usize::MAX)),
        None => Step::Key(part),
    })
}
