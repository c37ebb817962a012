//! Loads a configuration: the main file, what it includes, the parser files it names; then replaces
//! variables.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use crate::classic::{self, Item};
use crate::diag::{Class, Diagnostic, Severity};
use crate::env::{Env, Variables};
use crate::files::{Files, unreadable};
use crate::span::{Sources, Span, Spanned};
use crate::tree::{Config, Section, SectionKind};
use crate::yaml;

/// A configuration and the text it came from.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// The tree, variables replaced.
    pub config: Config,
    /// The files that were read.
    pub sources: Sources,
}

/// Why a configuration could not be loaded: everything that is wrong.
#[derive(Debug, Clone)]
pub struct Failure {
    /// All errors and warnings, errors first come first.
    pub diagnostics: Vec<Diagnostic>,
    /// The files that were read.
    pub sources: Sources,
}

/// Most files that one configuration may include (Fluent Bit's limit).
const INCLUDES_MAX: usize = 1000;

/// Loads the configuration at `path`; the ending `.yaml` or `.yml` chooses YAML.
///
/// # Errors
/// All errors that can be found, with the texts they are in.
pub fn load(path: &Path, files: &dyn Files, env: &dyn Env) -> Result<Loaded, Failure> {
    let mut loader = Loader::new(path, files, env);
    loader.main(path);
    loader.parser_files();
    loader.finish()
}

/// Loads a file of parsers (`-R`).
///
/// # Errors
/// All errors that can be found, with the texts they are in.
pub fn load_parsers(path: &Path, files: &dyn Files, env: &dyn Env) -> Result<Loaded, Failure> {
    let mut loader = Loader::new(path, files, env);
    loader.in_parsers = true;
    loader.main(path);
    loader.finish()
}

struct Loader<'a> {
    files: &'a dyn Files,
    variables: Variables<'a>,
    /// Folder of the main file.
    base: PathBuf,
    sources: Sources,
    config: Config,
    errors: Vec<Diagnostic>,
    seen: HashSet<String>,
    /// The section that is open; it stays open over an include.
    open: Option<Section>,
    /// Whether a file of parsers is being read: only there classic parsers are allowed.
    in_parsers: bool,
}

fn is_yaml(path: &Path) -> bool {
    path.extension()
        .is_some_and(|ending| ending == "yaml" || ending == "yml")
}

impl<'a> Loader<'a> {
    fn new(path: &Path, files: &'a dyn Files, env: &'a dyn Env) -> Self {
        Self {
            files,
            variables: Variables::new(env),
            base: path.parent().map(Path::to_path_buf).unwrap_or_default(),
            sources: Sources::default(),
            config: Config::default(),
            errors: Vec::new(),
            seen: HashSet::new(),
            open: None,
            in_parsers: false,
        }
    }

    fn main(&mut self, path: &Path) {
        if !self.files.exists(path) {
            let message = format!(
                "could not open configuration file `{}`: no such file",
                path.display()
            );
            let help = "check the path, relative to the working directory";
            self.errors
                .push(Diagnostic::error("FL0106", Class::NoFile, message).help(help));
            return;
        }
        self.file(path, None);
        self.close();
    }

    /// Reads one file and what it includes.
    fn file(&mut self, path: &Path, from: Option<Span>) {
        let fail = |class: Class, message: String, help: &str| {
            let error = Diagnostic::error("FL0106", class, message).help(help);
            from.map_or(error.clone(), |span| error.at(span))
        };
        if let Some(identity) = self.files.identity(path)
            && !self.seen.insert(identity)
        {
            let message = format!("file `{}` is included twice", path.display());
            self.errors.push(fail(
                Class::Include,
                message,
                "a file may be included once: look for a circle of includes",
            ));
            return;
        }
        if self.seen.len() > INCLUDES_MAX {
            self.errors.push(fail(
                Class::Include,
                format!("more than {INCLUDES_MAX} files are included"),
                "include fewer files",
            ));
            return;
        }
        let text = match self.files.read(path) {
            Ok(text) => text,
            Err(error) => {
                let (reason, help) = unreadable(&error);
                let message = format!("could not read file `{}`: {reason}", path.display());
                self.errors.push(fail(Class::NoFile, message, help));
                return;
            }
        };
        let text = text.strip_prefix('\u{feff}').map(String::from).unwrap_or(text);
        let id = self.sources.add(path, text.clone());
        if is_yaml(path) {
            let document = yaml::read(id, &text, &mut self.errors);
            self.document(document, path);
        } else {
            let items = classic::read(id, &text, &mut self.errors);
            self.items(items);
        }
    }

    fn items(&mut self, items: Vec<Item>) {
        for item in items {
            match item {
                Item::Header(kind, name) => {
                    self.close();
                    if kind == SectionKind::Other {
                        let text = format!("section `{}` is unknown and ignored", name.value);
                        self.config
                            .warnings
                            .push(Diagnostic::warning("FL0410", text).at(name.span));
                    }
                    self.open = Some(classic::open(kind, &name));
                }
                Item::Entry(entry) => match &mut self.open {
                    Some(section) => section.entries.push(entry),
                    None => {
                        let text = format!("property `{}` stands outside of a section", entry.key.value);
                        let help = "put it below a header such as `[SERVICE]`";
                        let error = Diagnostic::error("FL0107", Class::Grammar, text)
                            .at(entry.key.span)
                            .help(help);
                        self.errors.push(error);
                    }
                },
                Item::Include(path) => self.include(&path, None),
                Item::Set(name, value) => self.set(&name, value),
                Item::Ignored(command) => {
                    let text = format!("command `{}` is unknown and ignored", command.value);
                    self.config
                        .warnings
                        .push(Diagnostic::warning("FL0411", text).at(command.span));
                }
            }
        }
    }

    fn document(&mut self, document: yaml::Document, path: &Path) {
        for (name, value) in document.env {
            self.set(&name.value, value);
        }
        let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
        for include in &document.includes {
            self.include(include, Some(&folder));
        }
        for section in document.sections {
            self.config.add(section);
        }
    }

    /// Includes a path or glob: relative to the working directory and then the main file's folder (classic),
    /// or to the including file's folder (YAML).
    fn include(&mut self, path: &Spanned<String>, folder: Option<&Path>) {
        let text = path.value.trim_matches('"');
        let base = folder.unwrap_or(&self.base).to_path_buf();
        if text.contains('*') {
            let pattern = base.join(text);
            match self.files.glob(&pattern) {
                Ok(found) if !found.is_empty() => {
                    for file in found {
                        self.checked_include(&file, path.span, folder.is_some());
                    }
                }
                Ok(_) => self.include_error(Class::NoFile, path.span, format!("no file matches `{text}`")),
                Err(error) => self.include_error(
                    Class::Include,
                    path.span,
                    format!("bad pattern `{text}`: {error}"),
                ),
            }
            return;
        }
        let plain = PathBuf::from(text);
        let below = base.join(text);
        let candidates = if folder.is_some() {
            [below, plain]
        } else {
            [plain, below]
        };
        match candidates.iter().find(|candidate| self.files.exists(candidate)) {
            Some(found) => self.checked_include(&found.clone(), path.span, folder.is_some()),
            None => {
                let text = format!("included file `{text}` does not exist");
                self.include_error(Class::NoFile, path.span, text);
            }
        }
    }

    fn checked_include(&mut self, path: &Path, span: Span, yaml: bool) {
        if is_yaml(path) == yaml {
            self.file(path, Some(span));
        } else {
            let text = format!(
                "`{}` cannot be included: classic and YAML files do not mix",
                path.display()
            );
            self.include_error(Class::Include, span, text);
        }
    }

    fn include_error(&mut self, class: Class, span: Span, message: String) {
        let help = match class {
            Class::NoFile => "paths are relative to the working directory, or to the folder of the main file",
            _ => "name a file, or a pattern with `*`, in the format of the file that includes it",
        };
        self.errors
            .push(Diagnostic::error("FL0106", class, message).at(span).help(help));
    }

    /// A variable; `file://path` stands for the file's content.
    fn set(&mut self, name: &str, value: String) {
        let value = match value.strip_prefix("file://") {
            Some(path) => match self.files.read(Path::new(path)) {
                Ok(text) => text.trim_end_matches(['\n', '\r']).to_string(),
                Err(error) => {
                    let (reason, help) = unreadable(&error);
                    let text = format!("variable `{name}`: could not read file `{path}`: {reason}");
                    self.errors
                        .push(Diagnostic::error("FL0108", Class::NoFile, text).help(help));
                    return;
                }
            },
            None => value,
        };
        self.variables.set(name, value);
    }

    fn close(&mut self) {
        let Some(section) = self.open.take() else { return };
        let parser = matches!(section.kind, SectionKind::Parser | SectionKind::MultilineParser);
        if parser && !self.in_parsers {
            let text = format!(
                "section [{}] is not valid in the main configuration file",
                section.kind.name()
            );
            let help = "put it into a file of its own and name that with `Parsers_File` in [SERVICE]";
            self.errors.push(
                Diagnostic::error("FL0109", Class::Grammar, text)
                    .at(section.span)
                    .help(help),
            );
        } else if section.kind != SectionKind::Other {
            self.config.add(section);
        }
    }

    /// Reads the files that `Parsers_File` names: relative to the working directory, then to the main file's
    /// folder.
    fn parser_files(&mut self) {
        let entries = self
            .config
            .service
            .iter()
            .flat_map(|service| service.get_all("parsers_file"));
        let named: Vec<_> = entries.map(|entry| entry.value.clone()).collect();
        self.in_parsers = true;
        for path in named {
            let text = self.variables.replace(&path.value, &mut Vec::new());
            let candidates = [PathBuf::from(&text), self.base.join(&text)];
            match candidates
                .iter()
                .find(|candidate| self.files.exists(candidate))
                .cloned()
            {
                Some(found) => {
                    // A parser file may be one that was read already: its sections count once.
                    self.file(&found, Some(path.span));
                    self.close();
                }
                None if text.ends_with("parsers.conf") => {
                    let text = format!("parsers file `{text}` does not exist: the built-in parsers are used");
                    self.config
                        .warnings
                        .push(Diagnostic::warning("FL0412", text).at(path.span));
                }
                None => {
                    let text = format!("parsers file `{text}` does not exist");
                    let help =
                        "check the path; the usual parsers (json, apache2, nginx, docker …) are built in";
                    let error = Diagnostic::error("FL0106", Class::NoFile, text)
                        .at(path.span)
                        .help(help);
                    self.errors.push(error);
                }
            }
        }
    }

    fn finish(mut self) -> Result<Loaded, Failure> {
        self.replace_variables();
        let Self {
            sources,
            config,
            errors,
            ..
        } = self;
        if errors.is_empty() {
            return Ok(Loaded { config, sources });
        }
        let mut diagnostics = errors;
        diagnostics.extend(config.warnings);
        diagnostics.sort_by_key(|diagnostic| std::cmp::Reverse(diagnostic.severity));
        debug_assert!(
            diagnostics
                .iter()
                .any(|diagnostic| diagnostic.severity == Severity::Error)
        );
        Err(Failure { diagnostics, sources })
    }

    fn replace_variables(&mut self) {
        let Config {
            service,
            parsers,
            multiline_parsers,
            inputs,
            filters,
            outputs,
            others,
            warnings,
        } = &mut self.config;
        let lists = [parsers, multiline_parsers, inputs, filters, outputs, others];
        let sections = service.iter_mut().chain(lists.into_iter().flatten());
        for entry in sections.flat_map(|section| &mut section.entries) {
            let mut unset = Vec::new();
            let value = self.variables.replace(&entry.value.value, &mut unset);
            for name in unset {
                if let Some(reason) = self.variables.failure(&name) {
                    let error = Diagnostic::error("FL0110", Class::NoFile, format!("${{{name}}}: {reason}"));
                    let help = "a router fetches secrets with the role of its task: `firelane iam` prints its policy";
                    self.errors.push(error.at(entry.value.span).help(help));
                    continue;
                }
                let text = format!("[env] variable ${{{name}}} is used but not set");
                warnings.push(Diagnostic::warning("FL0413", text).at(entry.value.span));
            }
            entry.value.value = value;
        }
    }
}

/// Loads `data` as a file that includes itself and others: never panics, every place lies in a file.
#[doc(hidden)]
pub fn fuzz(data: &[u8], name: &str) {
    let text = String::from_utf8_lossy(data).into_owned();
    let mut files: BTreeMap<PathBuf, String> = BTreeMap::new();
    files.insert(name.into(), text);
    files.insert("other.conf".into(), "[SERVICE]\n    Flush 1\n".into());
    let env: std::collections::HashMap<String, String> = std::collections::HashMap::new();
    let (sources, diagnostics) = match load(Path::new(name), &files, &env) {
        Ok(loaded) => (loaded.sources, loaded.config.warnings),
        Err(failure) => {
            assert!(failure.diagnostics.iter().any(|d| d.severity == Severity::Error));
            (failure.sources, failure.diagnostics)
        }
    };
    for diagnostic in diagnostics {
        assert!(!diagnostic.render(&sources).is_empty());
    }
}
