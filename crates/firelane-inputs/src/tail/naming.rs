//! From a file's path to its tag: `*` and `Tag_Regex`.

use firelane_parse::Regex;
use firelane_record::Tag;

/// How the files of one input get their tags.
pub(super) enum Naming {
    /// All the same.
    Fixed(Tag),
    /// The first `*` stands for the path.
    Star {
        /// The tag as it was given.
        template: Vec<u8>,
    },
    /// `<name>` stands for the named group of the regex over the path.
    Groups {
        /// The tag as it was given.
        template: Vec<u8>,
        /// `tag_regex`
        regex: Regex,
    },
}

impl Naming {
    /// The way to name files under `tag`.
    pub(super) fn new(tag: &Tag, regex: Option<Regex>) -> Self {
        let template = tag.as_bytes().to_vec();
        match regex {
            Some(regex) => Self::Groups { template, regex },
            None if template.contains(&b'*') => Self::Star { template },
            None => Self::Fixed(tag.clone()),
        }
    }

    /// The tag of the file at `path` (as the glob matched it); `None` where `tag_regex` does not match, or
    /// the tag would be too long.
    pub(super) fn tag(&self, path: &[u8]) -> Option<Tag> {
        let raw = match self {
            Self::Fixed(tag) => return Some(tag.clone()),
            Self::Star { template } => star(template, path),
            Self::Groups { template, regex } => groups(template, regex, path)?,
        };
        Tag::new(tidy(&raw)).ok()
    }
}

fn star(template: &[u8], path: &[u8]) -> Vec<u8> {
    let mut halves = template.splitn(2, |&byte| byte == b'*');
    let head = halves.next().unwrap_or_default();
    let rest = halves.next().unwrap_or_default();
    [head, path, rest].concat()
}

/// The template with each `<name>` replaced: by the group of that name, by `_` where there is none.
fn groups(template: &[u8], regex: &Regex, path: &[u8]) -> Option<Vec<u8>> {
    let found = regex.named(path)?;
    let mut out = Vec::with_capacity(template.len() + path.len());
    let mut rest = template;
    while let Some(open) = rest.iter().position(|&byte| byte == b'<') {
        let (before, from) = rest.split_at(open);
        out.extend_from_slice(before);
        let Some(close) = from.iter().position(|&byte| byte == b'>') else {
            rest = from;
            break;
        };
        let name = from.get(1..close).unwrap_or_default();
        let group = found
            .iter()
            .find(|(group, _)| group.as_bytes() == name)
            .and_then(|(_, text)| *text);
        out.extend_from_slice(group.unwrap_or(b"_"));
        rest = from.get(close + 1..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    Some(out)
}

/// Makes one dotted name: separators become dots, dots never stand in a row or at an end that a path has
/// left, and no `*` stays.
fn tidy(raw: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(raw.len());
    for (at, &byte) in raw.iter().enumerate() {
        match byte {
            b'/' | b'\\' | b':' if at == 0 => {}
            b'/' | b'\\' | b':' | b'.' => {
                if out.last() != Some(&b'.') {
                    out.push(b'.');
                }
            }
            b'*' => {}
            byte => out.push(byte),
        }
    }
    if out.last() == Some(&b'.') {
        out.pop();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(tag: &str, regex: Option<&str>, path: &str, want: Option<&str>) {
        let regex = regex.map(|pattern| Regex::new(pattern).unwrap());
        let naming = Naming::new(&Tag::new(tag).unwrap(), regex);
        let got = naming.tag(path.as_bytes());
        assert_eq!(
            got.as_ref().map(|tag| tag.to_text()).as_deref(),
            want,
            "{tag} {path}"
        );
    }

    #[test]
    fn a_star_stands_for_the_path() {
        check("app.*", None, "logs/a b.log", Some("app.logs.a b.log"));
        check("app.*", None, "/var/log/x.log", Some("app.var.log.x.log"));
        check("*", None, "/var/log/x.log", Some("var.log.x.log"));
        check("a.*.z", None, "C:\\x\\y.", Some("a.C.x.y.z"));
        check("*-*", None, "a*b/", Some("ab.-"));
        check("plain", None, "/any/path", Some("plain"));
    }

    #[test]
    fn groups_of_the_path_stand_for_names() {
        let regex = Some(r"(?<pod>[a-z0-9]+)_(?<ns>[a-z]+)_c\.log$");
        check(
            "k8s.<ns>.<pod>.<nope>",
            regex,
            "logs/web1_prod_c.log",
            Some("k8s.prod.web1._"),
        );
        check("k8s.<ns", regex, "logs/web1_prod_c.log", Some("k8s.<ns"));
        check("k8s.<ns>", regex, "logs/other.log", None);
    }
}
