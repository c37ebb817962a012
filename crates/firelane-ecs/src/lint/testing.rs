//! Data-only tests of rules: a definition in, the rendered findings out.

use std::path::Path;

use firelane_conf::{Diagnostic, Severity, Sources};

use super::{Subject, check};
use crate::context::{Context, Given};
use crate::source::Grammar;
use crate::taskdef::{Options, load};

/// Checks a definition (JSON, or YAML for short) and renders every finding whose code is among `codes`;
/// all where none are given.
pub(crate) fn lint(text: &str, codes: &[&str]) -> String {
    lint_with(text, codes, &Given::default(), None)
}

/// The same with a context and the router's own configuration (classic form).
pub(crate) fn lint_with(text: &str, codes: &[&str], given: &Given, config: Option<&str>) -> String {
    let mut sources = Sources::default();
    let name = Path::new(if text.trim_start().starts_with('{') {
        "task.json"
    } else {
        "task.yaml"
    });
    let file = sources.add(name, text.to_string());
    let loaded = load(file, text, Grammar::of(name, text), &Options::default());
    let mut found = loaded.diagnostics;
    let mut files = std::collections::BTreeMap::new();
    files.insert("extra.conf".into(), config.unwrap_or_default().to_string());
    let mut extra = config.map(|_| {
        firelane_conf::load(
            Path::new("extra.conf"),
            &files,
            &std::collections::HashMap::<String, String>::new(),
        )
        .expect("the configuration loads")
    });
    if let Some(extra) = &mut extra {
        let offset = sources.append(&extra.sources);
        for section in [
            &mut extra.config.inputs,
            &mut extra.config.filters,
            &mut extra.config.outputs,
        ] {
            section.iter_mut().for_each(|section| section.shift(offset));
        }
        extra
            .config
            .service
            .iter_mut()
            .for_each(|section| section.shift(offset));
    }
    if let Some(task) = &loaded.task {
        let context = Context::new(given, task);
        let template = loaded.template.as_ref().zip(loaded.resource.as_deref());
        found.extend(check(&Subject {
            task,
            context: &context,
            form: loaded.form,
            template,
            config: extra.as_ref().map(|extra| &extra.config),
            quota: true,
        }));
    }
    let wanted = |diagnostic: &&Diagnostic| {
        codes.contains(&diagnostic.code) || (codes.is_empty() && diagnostic.severity != Severity::Note)
    };
    let found: Vec<_> = found.iter().filter(wanted).map(|d| d.render(&sources)).collect();
    found.join("\n")
}
