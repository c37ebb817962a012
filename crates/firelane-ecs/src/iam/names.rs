//! Names with variables in them, as patterns: what is known stays, what is not becomes `*`.

use std::collections::BTreeMap;

use crate::context::Context;
use crate::text::Text;

use super::arn::REGION;

/// Which variables a name may hold beside `${ENV}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// None.
    Plain,
    /// `$(ecs_cluster)`, `$(tag)`, `$(key['sub'])`: the Go plugin `cloudwatch`
    /// (`amazon-cloudwatch-logs-for-fluent-bit`, README, templating).
    Go,
    /// `$key['sub']`, `$TAG[1]`: Fluent Bit's record accessor.
    Accessor,
    /// `$TAG`, `$UUID`, `$INDEX` and strftime: keys of the output `s3`.
    Key,
    /// `${tag}`, `#{…}` and strftime.
    Fluentd,
}

/// A name as a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    /// The pattern; parts that only the deployment knows stand in it as `${LogicalId}`.
    pub(super) pattern: String,
    /// What became `*`, for people: variables as written, in backquotes.
    pub(super) stars: Vec<String>,
}

impl Name {
    /// Nothing is known of it.
    pub(super) fn any(why: &str) -> Self {
        Self {
            pattern: "*".into(),
            stars: vec![why.into()],
        }
    }

    /// The name with something behind it that is not known.
    pub(super) fn and_more(mut self) -> Self {
        if !self.pattern.ends_with('*') {
            self.pattern.push('*');
        }
        self
    }

    /// What is known of its beginning, and `*`, if it has variables.
    pub(super) fn head(mut self) -> Self {
        if let Some(at) = self.pattern.find('*') {
            self.pattern.truncate(at + 1);
        }
        self
    }

    /// For reasons: which variables became `*`.
    pub(super) fn why(&self) -> Option<String> {
        let first = self.stars.first()?;
        let all = self.stars[1..]
            .iter()
            .fold(first.clone(), |all, star| format!("{all}, {star}"));
        let verb = if self.stars.len() == 1 { "is" } else { "are" };
        Some(format!("{all} {verb} known only at run time"))
    }
}

/// What is known of variables.
pub(super) struct Known<'a> {
    pub(super) context: &'a Context,
    /// The router's environment.
    pub(super) env: BTreeMap<&'a str, &'a Text>,
}

impl Known<'_> {
    /// A text of an option as a name.
    pub(super) fn name(&self, text: &Text, dialect: Dialect) -> Name {
        let mut name = Name {
            pattern: String::new(),
            stars: Vec::new(),
        };
        let mut rest = text.as_str();
        while let Some(c) = rest.chars().next() {
            let len = variable(rest, dialect);
            if len == 0 {
                name.pattern.push(c);
                rest = &rest[c.len_utf8()..];
                continue;
            }
            let (written, tail) = rest.split_at(len);
            rest = tail;
            match self.value(written, text.open, dialect) {
                Some(value) => name.pattern.push_str(&value),
                None => {
                    if !name.pattern.ends_with('*') {
                        name.pattern.push('*');
                    }
                    name.stars.push(format!("`{written}`"));
                }
            }
        }
        name
    }

    /// A region: an option's, else the task's.
    pub(super) fn region(&self, text: Option<&Text>) -> String {
        let Some(text) = text.filter(|text| !text.as_str().is_empty()) else {
            return REGION.into();
        };
        match text.as_str() {
            // The agent sets it in every container, the init process too.
            "${AWS_REGION}" | "${AWS_DEFAULT_REGION}" => REGION.into(),
            _ => self.name(text, Dialect::Plain).pattern,
        }
    }

    /// What a variable stands for, if that is known or left to the deployment.
    fn value(&self, written: &str, open: bool, dialect: Dialect) -> Option<String> {
        let inner = written
            .strip_prefix("${")
            .and_then(|inner| inner.strip_suffix('}'));
        if let Some(inner) = inner {
            let fluentd = dialect == Dialect::Fluentd;
            // A value with a variable of its own is as unknown as that.
            let given = self
                .env
                .get(inner)
                .filter(|value| value.open || !value.value.contains("${"));
            if let Some(value) = given.filter(|_| !fluentd) {
                return Some(value.value.clone());
            }
            let of_fluentd = inner == "tag" || inner.starts_with("tag[") || inner == "chunk_id";
            return (open && !(fluentd && of_fluentd)).then(|| written.to_string());
        }
        // The name `default` is also what a context has when it was told none.
        let cluster = &self.context.cluster;
        (written == "$(ecs_cluster)" && cluster != "default").then(|| cluster.clone())
    }
}

/// How many bytes of `text` are a variable at its beginning.
fn variable(text: &str, dialect: Dialect) -> usize {
    let upto = |open: &str, close: char| {
        let inner = text.strip_prefix(open)?.find(close)?;
        Some(open.len() + inner + close.len_utf8())
    };
    if let Some(len) = upto("${", '}') {
        return len;
    }
    let found = match dialect {
        Dialect::Plain => None,
        Dialect::Go => upto("$(", ')'),
        Dialect::Accessor => accessor(text),
        Dialect::Key => strftime(text)
            .or_else(|| {
                ["$UUID", "$INDEX"]
                    .into_iter()
                    .find_map(|word| starts(text, word))
            })
            .or_else(|| starts(text, "$TAG").and_then(|_| accessor(text))),
        Dialect::Fluentd => strftime(text).or_else(|| upto("#{", '}')),
    };
    found.unwrap_or(0)
}

fn starts(text: &str, word: &str) -> Option<usize> {
    text.starts_with(word).then_some(word.len())
}

fn strftime(text: &str) -> Option<usize> {
    let next = text.strip_prefix('%')?.chars().next()?;
    let digits = text[1..].bytes().take_while(u8::is_ascii_digit).count();
    match digits {
        0 if next == '{' => text.find('}').map(|end| end + 1),
        0 => Some(1 + next.len_utf8()),
        // `%3N`
        _ => Some(1 + digits + 1).filter(|end| text.is_char_boundary(*end) && *end <= text.len()),
    }
}

/// `$name`, then any number of `[…]`.
fn accessor(text: &str) -> Option<usize> {
    let rest = text.strip_prefix('$')?;
    let word = rest
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(rest.len());
    let mut end = 1 + word;
    while text[end..].starts_with('[') {
        match text[end..].find(']') {
            Some(close) => end += close + 1,
            None => break,
        }
    }
    (word > 0).then_some(end)
}

#[cfg(test)]
mod tests {
    use firelane_conf::Span;

    use super::*;
    use crate::context::Given;
    use crate::taskdef::TaskDefinition;

    #[track_caller]
    fn check(dialect: Dialect, text: &str, open: bool, want: &str) {
        let given = Given {
            cluster: Some("prod".into()),
            ..Given::default()
        };
        let context = Context::new(&given, &TaskDefinition::default());
        let value = Text::new("web", Span::default());
        let known = Known {
            context: &context,
            env: BTreeMap::from([("APP", &value)]),
        };
        let mut text = Text::new(text, Span::default());
        text.open = open;
        assert_eq!(known.name(&text, dialect).pattern, want);
    }

    #[test]
    fn variables_become_wildcards() {
        use Dialect::{Accessor, Fluentd, Go, Key, Plain};
        check(Plain, "a-${APP}-${X}-b", false, "a-web-*-b");
        check(Plain, "a-${X}", true, "a-${X}");
        check(Go, "/ecs/$(ecs_cluster)/$(ecs_task_id)", false, "/ecs/prod/*");
        check(Go, "$(tag[1])-$(a['b'])x", false, "*-*x");
        check(Accessor, "g-$a['b']['c'].$TAG[1]", false, "g-*.*");
        check(Key, "/l/$TAG[2]/%Y/$UUID.gz", false, "/l/*/*/*.gz");
        check(Fluentd, "l-${tag}-%Y%m-#{ENV['X']}", false, "l-*-*-*");
        check(Fluentd, "%{time_slice}x", false, "*x");
        check(Plain, "100%", false, "100%");
        check(Key, "100%", false, "100%");
        check(Key, "é$TAG", false, "é*");
    }
}
