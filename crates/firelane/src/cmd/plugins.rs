//! `firelane plugins [show NAME]`: the plugins and their manual pages, made of the configuration types' own
//! docs.

use firelane_core::Stability;
use serde_json::Value;

use crate::compat::CliKind;
use crate::exit::Exit;
use crate::registry::tables;
use crate::say;

/// What is shown of a plugin of any kind.
struct Page {
    kind: &'static str,
    name: &'static str,
    aliases: &'static [&'static str],
    summary: &'static str,
    stability: Stability,
    network: bool,
    schema: Value,
}

/// Properties that every plugin of a kind has.
const COMMON: [(&str, &str); 3] = [
    ("input", "tag, alias, mem_buf_limit, routable, storage.type"),
    ("filter", "match, match_regex, alias"),
    (
        "output",
        "match, match_regex, alias, retry_limit, workers, storage.total_limit_size",
    ),
];

fn pages() -> Vec<Page> {
    macro_rules! pages {
        ($kind:literal, $table:expr) => {
            $table.iter().map(|plugin| Page {
                kind: $kind,
                name: plugin.name,
                aliases: plugin.aliases,
                summary: plugin.summary,
                stability: plugin.stability,
                network: plugin.network,
                schema: plugin.schema().to_value(),
            })
        };
    }
    let tables = tables();
    let inputs = pages!("input", tables.inputs);
    let filters = pages!("filter", tables.filters);
    inputs
        .chain(filters)
        .chain(pages!("output", tables.outputs))
        .collect()
}

/// Lists all plugins.
pub(crate) fn list() -> Exit {
    let line = |page: Page| format!("{:7} {:17} {}\n", page.kind, page.name, page.summary);
    say::out(&pages().into_iter().map(line).collect::<String>())
}

/// Shows the pages of every plugin called `name`, of one kind or all.
pub(crate) fn show(name: &str, kind: Option<CliKind>) -> Exit {
    let kind = kind.map(|kind| match kind {
        CliKind::Input => "input",
        CliKind::Filter => "filter",
        CliKind::Output => "output",
    });
    let all = pages();
    let fits = |page: &&Page| {
        let answers = std::iter::once(&page.name)
            .chain(page.aliases)
            .any(|known| known.eq_ignore_ascii_case(name));
        answers && kind.is_none_or(|kind| page.kind == kind)
    };
    let found: Vec<_> = all.iter().filter(fits).collect();
    if found.is_empty() {
        let near = firelane_conf::suggest::nearest(name, all.iter().map(|page| page.name));
        let near = near.map_or(String::new(), |near| format!(", did you mean `{near}`?"));
        let text = format!("error[FL0002]: there is no plugin `{name}`{near}");
        say::line(&format!("{text}\n   help: `firelane plugins` lists all"));
        return Exit::Usage;
    }
    let texts = found.iter().map(|page| format!("{}\n", page.text()));
    say::out(&texts.collect::<String>())
}

impl Page {
    fn text(&self) -> String {
        let Self {
            kind,
            name,
            summary,
            stability,
            ..
        } = self;
        let mut out = format!("{kind} {name} ({stability:?}): {summary}\n");
        if !self.aliases.is_empty() {
            out.push_str(&format!("also called {}\n", self.aliases.join(", ")));
        }
        out.push('\n');
        let empty = serde_json::Map::new();
        let properties = self
            .schema
            .get("properties")
            .and_then(Value::as_object)
            .unwrap_or(&empty);
        let required: Vec<_> = self
            .schema
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .collect();
        for (key, property) in properties {
            out.push_str(&self.property(key, property, required.iter().any(|name| *name == key)));
        }
        let common = COMMON
            .iter()
            .find(|(known, _)| known == kind)
            .map_or("", |(_, keys)| keys);
        out.push_str(&format!("  and, as every {kind}: {common}\n"));
        if self.network {
            out.push_str("  and for the network: tls, tls.*, net.*\n");
        }
        out
    }

    fn property(&self, key: &str, property: &Value, required: bool) -> String {
        let definition = property
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|path| path.rsplit('/').next());
        let definition = definition
            .and_then(|name| self.schema.get("$defs")?.get(name))
            .unwrap_or(property);
        let kind = kind_of(definition);
        let default = match property.get("default") {
            Some(Value::String(text)) if !text.is_empty() => format!(", default {text}"),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => format!(", default {value}"),
            _ if required => ", required".to_string(),
            _ => String::new(),
        };
        let about = property.get("description").and_then(Value::as_str).unwrap_or("");
        format!(
            "  {key} ({kind}{default})\n      {}\n",
            about.replace('\n', "\n      ")
        )
    }
}

/// The kind of a property for people.
fn kind_of(property: &Value) -> String {
    if let Some(format) = property.get("format").and_then(Value::as_str) {
        return format.to_string();
    }
    if let Some(choices) = property.get("enum").and_then(Value::as_array) {
        let words: Vec<_> = choices.iter().filter_map(Value::as_str).collect();
        return words.join(" | ");
    }
    if let Some(choices) = property
        .get("oneOf")
        .or(property.get("anyOf"))
        .and_then(Value::as_array)
    {
        let words = choices.iter().filter_map(|choice| match choice.get("const") {
            Some(word) => word.as_str().map(String::from),
            None => Some(kind_of(choice)).filter(|kind| kind != "null"),
        });
        return words.collect::<Vec<_>>().join(" | ");
    }
    match property.get("type") {
        Some(Value::String(kind)) if kind == "array" => {
            let items = property.get("items").map(kind_of).unwrap_or_default();
            format!("{items}, repeatable")
        }
        Some(Value::String(kind)) => kind.clone(),
        Some(Value::Array(kinds)) => {
            let kinds: Vec<_> = kinds
                .iter()
                .filter_map(Value::as_str)
                .filter(|kind| *kind != "null")
                .collect();
            kinds.join(" | ")
        }
        _ => "text".to_string(),
    }
}
