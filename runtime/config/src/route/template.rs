//! Path templates, after Envoy's: segments are literal, `*`, `{name}` or `{name=*}`, and the last may be `**` or
//! `{name=**}`.

use regex::bytes::Regex;

/// A template for whole paths.
#[derive(Debug)]
pub(crate) struct PathTemplate {
    pub(crate) regex: Regex,
    /// Paths that match begin with this.
    pub(crate) literal: String,
}

impl PathTemplate {
    /// Reads a template.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix('/') else { return Err(format!("`{text}` must begin with `/`")) };
        let mut pattern = String::from("^");
        let mut literal = String::new();
        let mut fixed = true;
        let mut names: Vec<&str> = Vec::new();
        let mut segments = rest.split('/').peekable();
        while let Some(segment) = segments.next() {
            let (name, kind) = variable(segment);
            let matched = match kind {
                "*" => "[^/]+".to_owned(),
                "**" if segments.peek().is_none() => ".*".to_owned(),
                "**" => return Err(format!("`{text}`: `**` stands at the end only")),
                plain if plain.contains(['*', '{', '}', '=']) || name.is_some() => {
                    return Err(format!("`{text}`: `{segment}` is no segment; write `*`, `{{name}}`, `**` or text"));
                }
                plain => regex::escape(plain),
            };
            pattern.push('/');
            if fixed {
                literal.push('/');
            }
            match name {
                Some(name) if names.contains(&name) => return Err(format!("`{text}`: `{name}` is there twice")),
                Some(name) => {
                    names.push(name);
                    pattern.push_str(&format!("(?P<{name}>{matched})"));
                }
                None => pattern.push_str(&matched),
            }
            fixed &= !kind.starts_with('*');
            if fixed {
                literal.push_str(kind);
            }
        }
        pattern.push('$');
        let regex =
            Regex::new(&pattern).map_err(|_| format!("`{text}`: a variable's name is letters, digits and `_`"))?;
        Ok(Self { regex, literal })
    }

    /// What puts this template's variables into another text, as the `regex` crate writes it.
    pub(crate) fn rewrite(&self, text: &str) -> Result<String, String> {
        if !text.starts_with('/') {
            return Err(format!("`{text}` must begin with `/`"));
        }
        let mut written = String::new();
        let mut rest = text;
        while let Some((plain, after)) = rest.split_once('{') {
            let Some((name, after)) = after.split_once('}') else {
                return Err(format!("`{text}`: a `{{` without `}}`"));
            };
            if !self.regex.capture_names().flatten().any(|known| known == name) {
                return Err(format!("`{text}`: the route's `path_template` has no variable `{name}`"));
            }
            written.push_str(&plain.replace('$', "$$"));
            written.push_str(&format!("${{{name}}}"));
            rest = after;
        }
        written.push_str(&rest.replace('$', "$$"));
        Ok(written)
    }
}

/// The name of a segment's variable, and what it stands for.
fn variable(segment: &str) -> (Option<&str>, &str) {
    match segment.strip_prefix('{').and_then(|segment| segment.strip_suffix('}')) {
        Some(inner) => match inner.split_once('=') {
            Some((name, kind)) => (Some(name), kind),
            None => (Some(inner), "*"),
        },
        None => (None, segment),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_match_segments() {
        for (template, literal, path, matches) in [
            ("/a/{x}/c", "/a/", "/a/b/c", true),
            ("/a/{x}/c", "/a/", "/a/b/b/c", false),
            ("/a/{x}/c", "/a/", "/a//c", false),
            ("/a/*/{rest=**}", "/a/", "/a/b/c/d", true),
            ("/a/**", "/a/", "/a/", true),
            ("/a/**", "/a/", "/a", false),
            ("/a.b", "/a.b", "/a.b", true),
            ("/a.b", "/a.b", "/axb", false),
            ("/", "/", "/", true),
        ] {
            let compiled = PathTemplate::parse(template).unwrap();
            assert_eq!(compiled.literal, literal, "{template}");
            assert_eq!(compiled.regex.is_match(path.as_bytes()), matches, "{template} on {path}");
        }
    }

    #[test]
    fn what_is_no_template_says_why() {
        for (template, why) in [
            ("a", "must begin"),
            ("/**/a", "at the end only"),
            ("/{x}/{x}", "twice"),
            ("/a*", "no segment"),
            ("/{x=a}", "no segment"),
            ("/{a b}", "letters, digits"),
        ] {
            let error = PathTemplate::parse(template).unwrap_err();
            assert!(error.contains(why), "{template}: {error}");
        }
    }

    #[test]
    fn variables_go_into_another_text() {
        let template = PathTemplate::parse("/shelves/{shelf}/{rest=**}").unwrap();
        let text = template.rewrite("/s$/{rest}/of/{shelf}").unwrap();
        let path = template.regex.replace(b"/shelves/7/a/b", text.as_bytes());
        assert_eq!(&*path, b"/s$/a/b/of/7");
        assert!(template.rewrite("/{book}").unwrap_err().contains("no variable `book`"));
    }
}
