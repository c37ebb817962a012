//! What a plugin is: a static with a name, a manual page and a pure `build`.

use std::sync::Arc;
use std::time::Duration;

use firelane_conf::{Diagnostic, Section};
use firelane_parse::Parsers;
use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;

use crate::{Filter, Input, Output, Stage};

/// How far a plugin can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stability {
    /// Complete and tested against the real thing.
    Stable,
    /// Complete, less tried.
    Beta,
    /// May change.
    Experimental,
}

/// Settings of the `[SERVICE]` that plugins see.
#[derive(Debug, Clone)]
pub struct Service {
    /// `flush`
    pub flush: Duration,
    /// `json.escape_unicode`: write non-ASCII as `\uXXXX`.
    pub escape_unicode: bool,
    /// `json.convert_nan_to_null`: write doubles that are not finite as `null`; on by default.
    pub nan_to_null: bool,
    /// Folder of the main configuration file, for relative paths.
    pub base: std::path::PathBuf,
}

impl Default for Service {
    fn default() -> Self {
        Self {
            flush: Duration::from_secs(1),
            escape_unicode: true,
            nan_to_null: true,
            base: ".".into(),
        }
    }
}

/// What `build` is given. Building has no effects: `firelane check` runs it.
#[derive(Clone, Copy)]
pub struct BuildCx<'a> {
    /// Instance name: `http.0`, or the alias.
    pub instance: &'a str,
    /// The whole section, for the places of values.
    pub section: &'a Section,
    /// The properties `tls`, `tls.*` and `net.*`, split off for plugins that are
    /// [`network`](OutputPlugin::network).
    pub network: &'a Section,
    /// The property `workers` of an output, if given.
    pub workers: Option<usize>,
    /// The parsers that are defined.
    pub parsers: &'a Arc<Parsers>,
    /// Service settings.
    pub service: &'a Service,
    /// Warnings that `build` wants said: an option that has no effect, a risky choice.
    pub warnings: &'a Warnings,
}

/// Collects warnings during `build`.
#[derive(Debug, Default)]
pub struct Warnings(std::sync::Mutex<Vec<Diagnostic>>);

impl Warnings {
    /// Adds one.
    pub fn push(&self, warning: Diagnostic) {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .push(warning);
    }

    /// Takes all.
    pub fn take(&self) -> Vec<Diagnostic> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

/// A built filter: fusable, or with memory.
pub enum BuiltFilter {
    /// Edits single records.
    Filter(Box<dyn Filter>),
    /// Keeps state; the function makes one instance per scope.
    Stage(Box<dyn Fn() -> Box<dyn Stage> + Send + Sync>),
}

/// Configuration of an input: a serde struct whose field docs are its manual page.
pub trait InputConfig: DeserializeOwned + JsonSchema {
    /// The user's words to a runtime value, without effects.
    fn build(self, cx: &BuildCx<'_>) -> Result<Box<dyn Input>, Vec<Diagnostic>>;
}

/// Configuration of a filter.
pub trait FilterConfig: DeserializeOwned + JsonSchema {
    /// The user's words to a runtime value, without effects.
    fn build(self, cx: &BuildCx<'_>) -> Result<BuiltFilter, Vec<Diagnostic>>;
}

/// Configuration of an output.
pub trait OutputConfig: DeserializeOwned + JsonSchema {
    /// The user's words to a runtime value, without effects.
    fn build(self, cx: &BuildCx<'_>) -> Result<Arc<dyn Output>, Vec<Diagnostic>>;
}

macro_rules! plugin {
    ($(#[$doc:meta])* $name:ident, $config:ident, $built:ty) => {
        $(#[$doc])*
        pub struct $name {
            /// Its name in `Name` lines.
            pub name: &'static str,
            /// Other names it answers to.
            pub aliases: &'static [&'static str],
            /// One line for lists.
            pub summary: &'static str,
            /// How far it can be trusted.
            pub stability: Stability,
            /// Whether it takes `tls`, `tls.*` and `net.*`.
            pub network: bool,
            build: fn(&Section, &BuildCx<'_>) -> Result<$built, Vec<Diagnostic>>,
            schema: fn() -> Schema,
        }

        impl $name {
            /// A plugin whose properties are the fields of `C`.
            pub const fn new<C: $config>(
                name: &'static str,
                summary: &'static str,
                stability: Stability,
            ) -> Self {
                Self {
                    name,
                    aliases: &[],
                    summary,
                    stability,
                    network: false,
                    build: |own, cx| own.parse::<C>(cx.instance).and_then(|config| config.build(cx)),
                    schema: || schemars::schema_for!(C),
                }
            }

            /// Other names it answers to.
            #[must_use]
            pub const fn aliases(mut self, aliases: &'static [&'static str]) -> Self {
                self.aliases = aliases;
                self
            }

            /// It takes `tls`, `tls.*` and `net.*`.
            #[must_use]
            pub const fn network(mut self) -> Self {
                self.network = true;
                self
            }

            /// Whether `name` (any case) means this plugin.
            pub fn answers_to(&self, name: &str) -> bool {
                let mut names = self.aliases.iter().chain([&self.name]);
                names.any(|known| known.eq_ignore_ascii_case(name))
            }

            /// Builds an instance from its own properties, all errors at once, without effects.
            pub fn build(&self, own: &Section, cx: &BuildCx<'_>) -> Result<$built, Vec<Diagnostic>> {
                (self.build)(own, cx)
            }

            /// Its properties with types, defaults and docs.
            pub fn schema(&self) -> Schema {
                (self.schema)()
            }
        }
    };
}

plugin!(
    /// An input plugin.
    InputPlugin, InputConfig, Box<dyn Input>
);
plugin!(
    /// A filter plugin.
    FilterPlugin, FilterConfig, BuiltFilter
);
plugin!(
    /// An output plugin.
    OutputPlugin, OutputConfig, Arc<dyn Output>
);
