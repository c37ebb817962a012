//! Joins the plugin tables.

use firelane_engine::Tables;

/// Every plugin that this binary has.
pub(crate) static TABLES: Tables = Tables {
    inputs: firelane_inputs::INPUTS,
    filters: firelane_filters::FILTERS,
    outputs: firelane_outputs::OUTPUTS,
};

/// Names of all inputs, filters and outputs, aliases included.
pub(crate) fn names() -> [Vec<&'static str>; 3] {
    let with = |name: &'static str, aliases: &'static [&'static str]| {
        std::iter::once(name)
            .chain(aliases.iter().copied())
            .collect::<Vec<_>>()
    };
    [
        TABLES
            .inputs
            .iter()
            .flat_map(|plugin| with(plugin.name, plugin.aliases))
            .collect(),
        TABLES
            .filters
            .iter()
            .flat_map(|plugin| with(plugin.name, plugin.aliases))
            .collect(),
        TABLES
            .outputs
            .iter()
            .flat_map(|plugin| with(plugin.name, plugin.aliases))
            .collect(),
    ]
}
