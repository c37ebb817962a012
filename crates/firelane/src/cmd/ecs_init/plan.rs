//! Which files the environment names, and what to do with the text of each. Pure.

use std::path::PathBuf;

/// A file to be used beside the main configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The variable that names it.
    pub(super) variable: String,
    /// Where it is.
    pub(super) source: Source,
}

/// Where a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// An object of S3.
    S3 {
        /// The bucket.
        bucket: String,
        /// Everything behind it.
        key: String,
    },
    /// A file of the image or a mount.
    File(PathBuf),
}

/// Reads the environment: a variable whose name contains `aws_fluent_bit_init_s3` names an object by its
/// ARN, one with `aws_fluent_bit_init_file` a path. They come back by the number at their end, then by
/// name: ECS itself hands the environment over in any order.
///
/// # Errors
/// All variables that hold neither, each with what is wrong.
pub(super) fn wanted(env: impl Iterator<Item = (String, String)>) -> Result<Vec<Wanted>, Vec<String>> {
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for (variable, value) in env {
        let lower = variable.to_ascii_lowercase();
        let source = if lower.contains("aws_fluent_bit_init_s3") {
            object(&value)
        } else if lower.contains("aws_fluent_bit_init_file") {
            path(&value)
        } else {
            continue;
        };
        match source {
            Ok(source) => found.push(Wanted { variable, source }),
            Err(reason) => errors.push(format!("`{variable}={value}`: {reason}")),
        }
    }
    if !errors.is_empty() {
        errors.sort();
        return Err(errors);
    }
    found.sort_by_key(|wanted| (number(&wanted.variable), wanted.variable.clone()));
    Ok(found)
}

/// The digits at the end of a name.
fn number(name: &str) -> u64 {
    let digits = name.bytes().rev().take_while(u8::is_ascii_digit).count();
    name[name.len() - digits..].parse().unwrap_or(u64::MAX)
}

fn path(value: &str) -> Result<Source, &'static str> {
    if value.is_empty() {
        return Err("is empty: it should be the path of a file");
    }
    Ok(Source::File(value.into()))
}

/// `arn:PARTITION:s3:::BUCKET/KEY`
fn object(value: &str) -> Result<Source, &'static str> {
    let rest = value
        .strip_prefix("arn:")
        .and_then(|rest| rest.split_once(":s3:::"));
    let Some((_, path)) = rest else {
        return Err("is no ARN of an object: use arn:aws:s3:::BUCKET/KEY");
    };
    match path.split_once('/') {
        Some((bucket, key)) if !bucket.is_empty() && !key.is_empty() && !key.ends_with('/') => {
            Ok(Source::S3 {
                bucket: bucket.to_owned(),
                key: key.to_owned(),
            })
        }
        _ => Err("names no object: a key must follow the bucket"),
    }
}

/// A text of parsers and of other sections: the lines of each. The original takes a mixed file for
/// parsers alone and loses the rest.
pub(super) struct Split {
    /// Sections `[PARSER]` and `[MULTILINE_PARSER]`.
    pub(super) parsers: Option<String>,
    /// Everything else, if there is a section or a command in it.
    pub(super) rest: Option<String>,
}

/// Parts the text of a classic configuration. Lines of the other part become empty, so that numbers of
/// lines in messages stay true.
pub(super) fn split(text: &str) -> Split {
    let (mut parsers, mut rest) = (String::new(), String::new());
    let (mut in_parser, mut has_parser, mut has_rest) = (false, false, false);
    for line in text.split_inclusive('\n') {
        let word = line.trim();
        if word.starts_with('[') && word.ends_with(']') {
            let name = word[1..word.len() - 1].trim().to_ascii_uppercase();
            in_parser = matches!(name.as_str(), "PARSER" | "MULTILINE_PARSER");
            has_parser |= in_parser;
        } else if word.starts_with('@') {
            in_parser = false;
        }
        let end = &line[line.trim_end_matches(['\n', '\r']).len()..];
        let (here, there) = if in_parser {
            (&mut parsers, &mut rest)
        } else {
            (&mut rest, &mut parsers)
        };
        here.push_str(line);
        there.push_str(end);
        has_rest |= !in_parser && !word.is_empty() && !word.starts_with('#');
    }
    Split {
        parsers: has_parser.then_some(parsers),
        rest: (has_rest || !has_parser).then_some(rest),
    }
}

/// A word for `sh`, in quotes where it needs them.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn env(pairs: &[(&str, &str)]) -> Result<Vec<Wanted>, Vec<String>> {
        wanted(
            pairs
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_string())),
        )
    }

    #[test]
    fn files_come_by_number() {
        let got = env(&[
            ("aws_fluent_bit_init_s3_10", "arn:aws:s3:::b/ten.conf"),
            ("PATH", "/bin"),
            ("aws_fluent_bit_init_file_2", "/ecs/two.conf"),
            (
                "MY_aws_fluent_bit_init_S3_1",
                "arn:aws-cn:s3:::b/a folder/one.conf",
            ),
            ("aws_fluent_bit_init_file", "/last.conf"),
        ])
        .unwrap();
        let sources: Vec<_> = got.into_iter().map(|wanted| wanted.source).collect();
        let s3 = |key: &str| Source::S3 {
            bucket: "b".to_owned(),
            key: key.to_owned(),
        };
        assert_eq!(
            sources,
            [
                s3("a folder/one.conf"),
                Source::File("/ecs/two.conf".into()),
                s3("ten.conf"),
                Source::File("/last.conf".into()),
            ]
        );
    }

    #[test]
    fn all_mistakes_are_named() {
        let errors = env(&[
            ("aws_fluent_bit_init_s3_1", "s3://b/k"),
            ("aws_fluent_bit_init_s3_2", "arn:aws:s3:::b"),
            ("aws_fluent_bit_init_file_3", ""),
        ])
        .unwrap_err();
        assert_eq!(
            errors,
            [
                "`aws_fluent_bit_init_file_3=`: is empty: it should be the path of a file",
                "`aws_fluent_bit_init_s3_1=s3://b/k`: is no ARN of an object: use arn:aws:s3:::BUCKET/KEY",
                "`aws_fluent_bit_init_s3_2=arn:aws:s3:::b`: names no object: a key must follow the bucket",
            ]
        );
    }

    #[test]
    fn parsers_are_parted_from_the_rest() {
        let text = "# hi\n[PARSER]\n  Name a\n[OUTPUT]\n  Name null\n  Match *\n[multiline_parser]\n  name b\n@INCLUDE x\n";
        let parts = split(text);
        assert_eq!(
            parts.parsers.as_deref(),
            Some("\n[PARSER]\n  Name a\n\n\n\n[multiline_parser]\n  name b\n\n")
        );
        assert_eq!(
            parts.rest.as_deref(),
            Some("# hi\n\n\n[OUTPUT]\n  Name null\n  Match *\n\n\n@INCLUDE x\n")
        );
        let only = split("# my parsers\n[PARSER]\n Name a\n");
        assert!(only.parsers.is_some() && only.rest.is_none());
        let none = split("");
        assert!(none.parsers.is_none() && none.rest.as_deref() == Some(""));
    }

    #[test]
    fn words_are_quoted_for_the_shell() {
        assert_eq!(
            quoted("arn:aws:ecs:eu-west-1:1:task/x"),
            "arn:aws:ecs:eu-west-1:1:task/x"
        );
        assert_eq!(quoted("a b'c"), "'a b'\\''c'");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("$(rm)"), "'$(rm)'");
    }

    proptest! {
        #[test]
        fn no_line_is_lost(text in "([ a-z]{0,6}|\\[PARSER\\]|\\[OUTPUT\\]|@SET a=b|#)(\n([ a-z]{0,6}|\\[PARSER\\]|\\[OUTPUT\\]|@SET a=b|#)){0,12}") {
            let parts = split(&text);
            let lines = |part: &Option<String>| -> Vec<String> {
                part.clone().unwrap_or_default().split('\n').map(str::to_owned).collect()
            };
            let (parsers, rest) = (lines(&parts.parsers), lines(&parts.rest));
            for (at, line) in text.split('\n').enumerate() {
                let here = |part: &[String]| part.get(at).is_some_and(|own| own == line);
                let unimportant = line.trim().is_empty() || line.trim().starts_with('#');
                prop_assert!(unimportant || here(&parsers) != here(&rest), "{line:?} of {text:?}");
            }
        }
    }
}
