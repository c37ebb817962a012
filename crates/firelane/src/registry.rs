//! Joins the plugin tables.

use std::sync::OnceLock;

use firelane_engine::Tables;

/// Every plugin that firelane has.
pub static TABLES: Tables = Tables {
    inputs: firelane_inputs::INPUTS,
    filters: firelane_filters::FILTERS,
    outputs: firelane_outputs::OUTPUTS,
};

static GIVEN: OnceLock<&'static Tables> = OnceLock::new();

/// Says which plugins this process has. Only the first call counts.
pub(crate) fn set(tables: &'static Tables) {
    // Nobody asks before.
    let _ = GIVEN.set(tables);
}

/// The plugins that this process has.
pub(crate) fn tables() -> &'static Tables {
    GIVEN.get().copied().unwrap_or(&TABLES)
}

/// Names of all inputs, filters and outputs, aliases included.
pub(crate) fn names() -> [Vec<&'static str>; 3] {
    let with = |name: &'static str, aliases: &'static [&'static str]| {
        std::iter::once(name)
            .chain(aliases.iter().copied())
            .collect::<Vec<_>>()
    };
    let tables = tables();
    [
        tables
            .inputs
            .iter()
            .flat_map(|plugin| with(plugin.name, plugin.aliases))
            .collect(),
        tables
            .filters
            .iter()
            .flat_map(|plugin| with(plugin.name, plugin.aliases))
            .collect(),
        tables
            .outputs
            .iter()
            .flat_map(|plugin| with(plugin.name, plugin.aliases))
            .collect(),
    ]
}
