//! Variables: `${NAME}` and `${NAME:-default}` in values.

use std::collections::HashMap;

/// Where variables come from: the process, or a test.
pub trait Env {
    /// The value of a variable of the process.
    fn var(&self, name: &str) -> Option<String>;

    /// Why a variable has no value although it should have one: its secret could not be fetched.
    fn failure(&self, _name: &str) -> Option<String> {
        None
    }
}

/// The process's environment.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessEnv;

impl Env for ProcessEnv {
    fn var(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

/// A fixed environment.
impl Env for HashMap<String, String> {
    fn var(&self, name: &str) -> Option<String> {
        self.get(name).cloned()
    }
}

/// Variables of a configuration: `@SET` and YAML `env` come before the process's, `HOSTNAME` is preset.
pub struct Variables<'a> {
    set: HashMap<String, String>,
    env: &'a dyn Env,
}

impl<'a> Variables<'a> {
    /// No variables but those of `env`.
    pub fn new(env: &'a dyn Env) -> Self {
        Self {
            set: HashMap::new(),
            env,
        }
    }

    /// Defines a variable.
    pub fn set(&mut self, name: &str, value: String) {
        self.set.insert(name.to_string(), value);
    }

    /// Why there is no value where there should be one.
    pub fn failure(&self, name: &str) -> Option<String> {
        self.env.failure(name)
    }

    fn look_up(&self, name: &str) -> Option<String> {
        let found = self.set.get(name).cloned().or_else(|| self.env.var(name));
        match found {
            None if name == "HOSTNAME" => hostname(),
            found => found,
        }
    }

    /// Replaces the variables in `text`. Names that are unset or empty and have no default become nothing and
    /// go to `unset`. As in Fluent Bit, a `}` before the first `${` turns the replacement off.
    pub fn replace(&self, text: &str, unset: &mut Vec<String>) -> String {
        let Some(first) = text.find("${") else {
            return text.to_string();
        };
        if text[..first].contains('}') {
            return text.to_string();
        }
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            let Some(len) = rest[start..].find('}') else { break };
            out.push_str(&rest[..start]);
            let inner = &rest[start + 2..start + len];
            let (name, default) = inner
                .split_once(":-")
                .map_or((inner, None), |(name, text)| (name, Some(text)));
            match (self.look_up(name).filter(|value| !value.is_empty()), default) {
                (Some(value), _) => out.push_str(&value),
                (None, Some(default)) => out.push_str(default),
                (None, None) => unset.push(name.to_string()),
            }
            rest = &rest[start + len + 1..];
        }
        out.push_str(rest);
        out
    }
}

fn hostname() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &str, want_unset: &[&str]) {
        let env: HashMap<String, String> = [("A", "1"), ("EMPTY", "")]
            .map(|(k, v)| (k.into(), v.into()))
            .into();
        let mut variables = Variables::new(&env);
        variables.set("tag", "app.x".into());
        variables.set("A", "set".into());
        let mut unset = Vec::new();
        assert_eq!(variables.replace(text, &mut unset), want);
        assert_eq!(unset, want_unset);
    }

    #[test]
    fn variables_are_replaced() {
        check("plain $A {x}", "plain $A {x}", &[]);
        check("${A}-${tag}-${A}", "set-app.x-set", &[]);
        check("x${NOPE}y", "xy", &["NOPE"]);
        check("${NOPE:-d}${EMPTY:-e}${A:-f}", "deset", &[]);
        check("${EMPTY}", "", &["EMPTY"]);
        check("a} ${A}", "a} ${A}", &[]);
        check("${A} ${open", "set ${open", &[]);
    }
}
