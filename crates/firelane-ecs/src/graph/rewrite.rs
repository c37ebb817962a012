//! Tags, what is known of them, and what matches them; new tags that `rewrite_tag` gives.

use firelane_conf::units::split_words;
use firelane_conf::{Section, SectionKind};
use firelane_record::Match;

/// A tag of which parts may be known only to the running task.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Tag {
    /// For people.
    pub(super) text: String,
    /// With `*` for each part that is not known.
    pub(super) glob: String,
    /// The `rewrite_tag` that gave it, which lets it pass.
    pub(super) giver: Option<usize>,
}

/// Whether a tag matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fit {
    /// It does not.
    No,
    /// It does, if what is said here holds.
    Perhaps(String),
    /// It does.
    Yes,
}

/// `Match` and `Match_Regex`; either is enough.
#[derive(Debug, Default)]
pub(super) struct Matching {
    pub(super) pattern: Option<Match>,
    pub(super) regex: Option<String>,
}

impl Tag {
    /// A tag as it stands in a file: a `*` is a part that the input fills in.
    pub(super) fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            glob: text.clone(),
            text,
            giver: None,
        }
    }

    /// A tag whose `${…}` are left to the deployment.
    pub(super) fn open(text: String) -> Self {
        let mut glob = String::new();
        let mut rest = text.as_str();
        while let Some((before, inner)) = rest.split_once("${") {
            glob.push_str(before);
            glob.push('*');
            rest = inner.split_once('}').map_or("", |(_, after)| after);
        }
        glob.push_str(rest);
        Self {
            glob,
            text,
            giver: None,
        }
    }

    fn is_known(&self) -> bool {
        !self.glob.contains('*')
    }
}

impl Matching {
    /// What the agent writes for a container.
    pub(super) fn pattern(pattern: &str) -> Self {
        Self {
            pattern: Some(Match::new(pattern)),
            regex: None,
        }
    }

    /// Of a section.
    pub(super) fn of(section: &Section) -> Self {
        let get = |key| section.get(key).map(|entry| entry.value.value.as_str());
        Self {
            pattern: get("match").map(Match::new),
            regex: get("match_regex").map(str::to_string),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pattern.is_none() && self.regex.is_none()
    }

    /// Whether it matches a tag.
    pub(super) fn fits(&self, tag: &Tag) -> Fit {
        if let Some(pattern) = &self.pattern {
            // A star of the tag can only have met one of the pattern: all that it may stand for fits too.
            if pattern.matches_bytes(tag.glob.as_bytes()) {
                return Fit::Yes;
            }
            if !tag.is_known() && overlap(pattern.as_str().as_bytes(), tag.glob.as_bytes()) {
                return Fit::Perhaps(format!("match {pattern}"));
            }
        }
        match &self.regex {
            Some(regex) => Fit::Perhaps(format!("match_regex {regex}")),
            None => Fit::No,
        }
    }
}

/// Whether some text fits both patterns. Where that would take long to tell: yes.
fn overlap(a: &[u8], b: &[u8]) -> bool {
    if a.len().saturating_mul(b.len()) > 1 << 20 {
        return true;
    }
    // `below[j]`: whether what is left of `a` one further on, and of `b` from `j`, fit a common text.
    let empty = |rest: &[u8]| rest.iter().all(|&c| c == b'*');
    let mut below: Vec<bool> = (0..=b.len()).map(|j| empty(&b[j..])).collect();
    for i in (0..a.len()).rev() {
        let mut row = vec![false; b.len() + 1];
        row[b.len()] = empty(&a[i..]);
        for j in (0..b.len()).rev() {
            row[j] = match (a[i], b[j]) {
                (b'*', _) | (_, b'*') => below[j] || row[j + 1],
                (x, y) => x == y && below[j + 1],
            };
        }
        below = row;
    }
    below[0]
}

/// A rule of a `rewrite_tag`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    /// Which records it takes.
    pub(super) label: String,
    new_tag: String,
}

/// The rules of a filter, if it is a `rewrite_tag`.
pub(super) fn rules(section: &Section) -> Vec<Rule> {
    let name = section.name().map(|name| name.value.value.as_str());
    if section.kind != SectionKind::Filter
        || !name.is_some_and(|name| name.eq_ignore_ascii_case("rewrite_tag"))
    {
        return Vec::new();
    }
    let rules = section.get_all("rule").filter_map(|entry| {
        let words = split_words(&entry.value.value, None);
        let [key, regex, new_tag, ..] = words.as_slice() else {
            return None;
        };
        let label = format!("{} ~ {regex}", key.trim_start_matches('$'));
        let new_tag = new_tag.clone();
        Some(Rule { label, new_tag })
    });
    rules.collect()
}

impl Rule {
    /// The tag it gives to records that had `tag`; `giver` is its filter. `$TAG` is known, other variables
    /// are not: each ends at a dot, blank or comma, a capture (`$1`) and `$TAG[…]` right behind themselves.
    pub(super) fn apply(&self, tag: &Tag, giver: usize) -> Tag {
        let (mut text, mut glob) = (String::new(), String::new());
        let mut rest = self.new_tag.as_str();
        while let Some((before, after)) = rest.split_once('$') {
            text.push_str(before);
            glob.push_str(before);
            let whole = after.strip_prefix("TAG").filter(|after| !after.starts_with('['));
            if let Some(after) = whole {
                text.push_str(&tag.text);
                glob.push_str(&tag.glob);
                rest = after;
                continue;
            }
            let end = variable_end(after);
            text.push('$');
            text.push_str(&after[..end]);
            glob.push('*');
            rest = &after[end..];
        }
        text.push_str(rest);
        glob.push_str(rest);
        Tag {
            text,
            glob,
            giver: Some(giver),
        }
    }
}

/// Where the name of a variable ends.
fn variable_end(text: &str) -> usize {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return 1;
    }
    if text.starts_with("TAG[") {
        return text.find(']').map_or(text.len(), |at| at + 1);
    }
    let mut quoted = false;
    let ends = |c: char| {
        quoted ^= c == '\'';
        !quoted && matches!(c, '.' | ' ' | ',' | '"')
    };
    text.find(ends).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, tag: &str, want: &str) {
        let got = match Matching::pattern(pattern).fits(&Tag::open(tag.to_string())) {
            Fit::No => "no",
            Fit::Perhaps(_) => "perhaps",
            Fit::Yes => "yes",
        };
        assert_eq!(got, want, "{pattern} and {tag}");
    }

    #[test]
    fn a_tag_that_is_not_known_matches_perhaps() {
        check("*", "app.*", "yes");
        check("app.*", "app.*", "yes");
        check("app.*", "${Name}-firelens-1", "perhaps");
        check("*-firelens*", "${Name}-firelens-1", "yes");
        check("app.*.log", "app.*", "perhaps");
        check("web*", "app.*", "no");
        check("*.a", "*.b", "no");
        check("app", "app.*", "no");
        check("app-firelens*", "app-firelens-1", "yes");
    }

    #[test]
    fn new_tags_are_known_as_far_as_can_be() {
        let rule = |new_tag: &str| Rule {
            label: String::new(),
            new_tag: new_tag.to_string(),
        };
        let glob = |new_tag| rule(new_tag).apply(&Tag::new("web"), 0).glob;
        assert_eq!(glob("errors"), "errors");
        assert_eq!(glob("err.$TAG"), "err.web");
        assert_eq!(glob("$TAG[0].x"), "*.x");
        assert_eq!(glob("$level.$TAG-b"), "*.web-b");
        assert_eq!(glob("$k['a.b'].x"), "*.x");
        assert_eq!(glob("a$1b$"), "a*b*");
    }
}
