//! The files and variables of a configuration, with what lies outside of this machine: `@INCLUDE
//! s3://bucket/key` (or the object's ARN), `${secret:NAME}` (Secrets Manager, or the ARN of a secret or
//! parameter) and `${ssm:NAME}` (Parameter Store); and what a task definition brings along (`firelane
//! router --task`).
//!
//! Each is fetched once for a start or a reload. `firelane check` fetches nothing.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use firelane_conf::env::{Env, ProcessEnv};
use firelane_conf::{Files, RealFiles};

use crate::remote;

/// Files and variables that are known already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Given {
    /// Texts by path.
    pub(crate) files: BTreeMap<PathBuf, String>,
    /// Values by name.
    pub(crate) env: BTreeMap<String, String>,
}

/// Where a configuration's files and variables come from.
pub(crate) struct Outside<'a> {
    given: &'a Given,
    /// Nothing is fetched.
    offline: bool,
    fetched: Mutex<BTreeMap<String, Result<String, String>>>,
}

/// Stands for a secret that is not fetched.
const UNKNOWN: &str = "not-fetched";

impl<'a> Outside<'a> {
    /// With what is `given` before everything else.
    pub(crate) fn new(given: &'a Given, offline: bool) -> Self {
        Self {
            given,
            offline,
            fetched: Mutex::default(),
        }
    }

    /// What was asked for and not fetched, since nothing is.
    pub(crate) fn left_out(&self) -> Vec<String> {
        let fetched = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        fetched.keys().filter(|_| self.offline).cloned().collect()
    }

    /// What `fetch` gives for `name`, asked once.
    fn once(&self, name: &str, fetch: impl FnOnce() -> Result<String, String>) -> Result<String, String> {
        let mut fetched = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        fetched.entry(name.to_owned()).or_insert_with(fetch).clone()
    }

    fn secret(&self, name: &str) -> Option<Result<String, String>> {
        let kind = Secret::parse(name)?;
        if self.offline {
            return Some(self.once(name, || Ok(UNKNOWN.to_owned())));
        }
        Some(self.once(name, || match kind {
            Secret::Manager(id) => remote::secret(id),
            Secret::Parameter(name) => remote::parameter(name),
        }))
    }
}

/// What a variable's name may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Secret<'a> {
    /// Secrets Manager: name or ARN, perhaps with `:json-key:stage:version` behind it.
    Manager(&'a str),
    /// Parameter Store: name or ARN.
    Parameter(&'a str),
}

impl<'a> Secret<'a> {
    fn parse(name: &'a str) -> Option<Self> {
        if let Some(name) = name.strip_prefix("ssm:") {
            return Some(Self::Parameter(name));
        }
        let id = name.strip_prefix("secret:")?;
        let is_parameter = id.starts_with("arn:") && id.split(':').nth(2) == Some("ssm");
        Some(if is_parameter {
            Self::Parameter(id)
        } else {
            Self::Manager(id)
        })
    }
}

/// Bucket and key of `s3://bucket/key` or `arn:PARTITION:s3:::bucket/key`.
pub(crate) fn object(text: &str) -> Option<(&str, &str)> {
    let path = match text.strip_prefix("s3://") {
        Some(path) => path,
        None => text.strip_prefix("arn:")?.split_once(":s3:::")?.1,
    };
    path.split_once('/')
        .filter(|(bucket, key)| !bucket.is_empty() && !key.is_empty())
}

impl Files for Outside<'_> {
    fn read(&self, path: &Path) -> io::Result<String> {
        if let Some(text) = self.given.files.get(path) {
            return Ok(text.clone());
        }
        let text = path.to_string_lossy();
        let Some((bucket, key)) = object(&text) else {
            return RealFiles.read(path);
        };
        if self.offline {
            let _ = self.once(&text, || Ok(String::new()));
            return Ok(String::new());
        }
        let fetch = || {
            let bytes = remote::object(bucket, key, None)?;
            String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())
        };
        self.once(&text, fetch).map_err(io::Error::other)
    }

    fn exists(&self, path: &Path) -> bool {
        self.given.files.contains_key(path)
            || object(&path.to_string_lossy()).is_some()
            || RealFiles.exists(path)
    }

    fn identity(&self, path: &Path) -> Option<String> {
        let known = self.given.files.contains_key(path) || object(&path.to_string_lossy()).is_some();
        if known {
            Some(path.display().to_string())
        } else {
            RealFiles.identity(path)
        }
    }

    fn glob(&self, pattern: &Path) -> Result<Vec<PathBuf>, String> {
        match object(&pattern.to_string_lossy()) {
            Some(_) => Err("objects of S3 are named one by one".to_owned()),
            None => RealFiles.glob(pattern),
        }
    }
}

impl Env for Outside<'_> {
    fn var(&self, name: &str) -> Option<String> {
        match self.secret(name) {
            Some(secret) => secret.ok(),
            None => self.given.env.get(name).cloned().or_else(|| ProcessEnv.var(name)),
        }
    }

    fn failure(&self, name: &str) -> Option<String> {
        self.secret(name)?.err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_have_two_spellings() {
        assert_eq!(object("s3://b/a/k.conf"), Some(("b", "a/k.conf")));
        assert_eq!(object("arn:aws-cn:s3:::b/k"), Some(("b", "k")));
        for other in [
            "s3://b",
            "s3://b/",
            "/etc/x",
            "arn:aws:ssm:r:1:parameter/x",
            "s3:///k",
        ] {
            assert_eq!(object(other), None, "{other}");
        }
    }

    #[test]
    fn secrets_by_the_service_that_has_them() {
        assert_eq!(Secret::parse("HOME"), None);
        assert_eq!(Secret::parse("ssm:/a/b"), Some(Secret::Parameter("/a/b")));
        let arn = "arn:aws:ssm:us-east-1:1:parameter/x";
        assert_eq!(
            Secret::parse(&format!("secret:{arn}")),
            Some(Secret::Parameter(arn))
        );
        assert_eq!(Secret::parse("secret:name"), Some(Secret::Manager("name")));
    }

    #[test]
    fn what_is_given_comes_first() {
        let given = Given {
            files: [("fluent.conf".into(), "[SERVICE]\n".to_owned())].into(),
            env: [("A".to_owned(), "1".to_owned())].into(),
        };
        let outside = Outside::new(&given, true);
        assert_eq!(outside.read(Path::new("fluent.conf")).unwrap(), "[SERVICE]\n");
        assert_eq!(outside.var("A").as_deref(), Some("1"));
        assert_eq!(outside.var("secret:x").as_deref(), Some(UNKNOWN));
        assert_eq!(outside.read(Path::new("s3://b/k")).unwrap(), "");
        assert_eq!(outside.left_out(), ["s3://b/k", "secret:x"]);
        assert!(outside.glob(Path::new("s3://b/*")).is_err());
    }
}
