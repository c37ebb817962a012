//! What is wrong with a task, or will be: one file for each group of rules, one table of all.
//!
//! An *error* is what ECS or the router refuses, or what loses every record; a *warning* is what loses
//! records or lets others in under conditions; a *note* is what only the deployment can tell. Each says
//! what comes of it and how to mend it.

mod shared;

mod buffers;
mod capabilities;
mod config;
mod dependencies;
mod drivers;
mod firelens_options;
mod health;
mod memory;
mod mounts;
mod names;
mod network;
pub mod open;
mod options;
mod platform;
mod quota;
mod roles;
mod router;
mod secrets;
mod security_groups;
mod variables;

#[cfg(test)]
pub(crate) mod testing;

pub(crate) use drivers::refused as refused_options;

use firelane_conf::{Diagnostic, Severity};

use crate::cfn::Template;
use crate::context::{Context, LaunchType};
use crate::firelens::{self, Dialect};
use crate::taskdef::{Container, Form, TaskDefinition};

/// What is checked.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// The task definition.
    pub task: &'a TaskDefinition,
    /// Where it will run.
    pub context: &'a Context,
    /// How it is spelled: messages name fields as the user writes them.
    pub form: Form,
    /// The template around it, and its logical id there.
    pub template: Option<(&'a Template, &'a str)>,
    /// The router's own configuration file, read.
    pub config: Option<&'a firelane_conf::Config>,
    /// Whether ECS's quotas count.
    pub quota: bool,
}

impl<'a> Subject<'a> {
    /// The router and its language.
    pub fn router(&self) -> Option<(&'a Container, Dialect)> {
        let (_, router) = self.task.router()?;
        let kind = router.firelens_configuration.as_ref()?.kind.as_ref()?;
        Some((router, Dialect::from_name(kind.as_str())?))
    }

    /// The launch types it must fit: those that it asks for, and the one where it will run.
    pub fn launch_types(&self) -> Vec<LaunchType> {
        let wanted = self.task.requires_compatibilities.iter();
        let mut all: Vec<_> = wanted
            .filter_map(|name| LaunchType::from_name(name.known()?))
            .collect();
        if !all.contains(&self.context.launch_type) {
            all.push(self.context.launch_type);
        }
        all
    }

    /// Whether it must fit Fargate.
    pub fn is_fargate(&self) -> bool {
        self.launch_types().contains(&LaunchType::Fargate)
    }

    /// A field as the user's form spells it, for messages: `dependsOn`, `DependsOn`.
    pub fn field(&self, name: &str) -> String {
        self.form.written(name)
    }
}

/// A group of rules.
pub struct Rule {
    /// Its name, that of its file.
    pub name: &'static str,
    /// What it finds.
    pub check: fn(&Subject<'_>, &mut Vec<Diagnostic>),
}

/// Every group of rules, by name.
pub static RULES: &[Rule] = &[
    Rule {
        name: "buffers",
        check: buffers::check,
    },
    Rule {
        name: "capabilities",
        check: capabilities::check,
    },
    Rule {
        name: "config",
        check: config::check,
    },
    Rule {
        name: "dependencies",
        check: dependencies::check,
    },
    Rule {
        name: "drivers",
        check: drivers::check,
    },
    Rule {
        name: "firelens_options",
        check: firelens_options::check,
    },
    Rule {
        name: "health",
        check: health::check,
    },
    Rule {
        name: "memory",
        check: memory::check,
    },
    Rule {
        name: "mounts",
        check: mounts::check,
    },
    Rule {
        name: "names",
        check: names::check,
    },
    Rule {
        name: "network",
        check: network::check,
    },
    Rule {
        name: "open",
        check: open::check,
    },
    Rule {
        name: "options",
        check: options::check,
    },
    Rule {
        name: "platform",
        check: platform::check,
    },
    Rule {
        name: "quota",
        check: quota::check,
    },
    Rule {
        name: "roles",
        check: roles::check,
    },
    Rule {
        name: "router",
        check: router::check,
    },
    Rule {
        name: "secrets",
        check: secrets::check,
    },
    Rule {
        name: "security_groups",
        check: security_groups::check,
    },
    Rule {
        name: "variables",
        check: variables::check,
    },
];

/// Runs all rules; what is found comes in the order of the text, errors first in each place.
pub fn check(subject: &Subject<'_>) -> Vec<Diagnostic> {
    let mut found = firelens::refuse::check(subject.task, subject.context);
    firelens::refuse::several_routers(subject.task, &mut found);
    for rule in RULES {
        (rule.check)(subject, &mut found);
    }
    sort(&mut found);
    found
}

/// Puts diagnostics into the order of the text.
pub fn sort(found: &mut [Diagnostic]) {
    let severity = |diagnostic: &Diagnostic| match diagnostic.severity {
        Severity::Error => 0,
        Severity::Warning => 1,
        Severity::Note => 2,
    };
    found.sort_by_key(|diagnostic| (diagnostic.span, severity(diagnostic), diagnostic.code));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        let names: Vec<_> = RULES.iter().map(|rule| rule.name).collect();
        assert!(names.is_sorted(), "{names:?}");
    }
}
