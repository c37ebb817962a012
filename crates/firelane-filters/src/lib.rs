//! The filters. Each edits single records in place: no decoding, no allocation per record.
//!
//! A filter is one file that reads from top to bottom: options, build, the rules, tests.

pub mod grep;
pub mod modify;
pub mod parser;
pub mod record_modifier;

mod rules;

use firelane_core::FilterPlugin;

/// All filters, in alphabetical order.
pub static FILTERS: &[&FilterPlugin] = &[
    &grep::PLUGIN,
    &modify::PLUGIN,
    &parser::PLUGIN,
    &record_modifier::PLUGIN,
];

#[cfg(test)]
mod testing;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_names_are_unique() {
        assert!(FILTERS.is_sorted_by(|one, next| one.name < next.name));
    }

    #[test]
    fn every_property_has_a_manual_entry() {
        for plugin in FILTERS {
            let schema = plugin.schema();
            let properties = schema
                .get("properties")
                .and_then(|properties| properties.as_object());
            for (name, property) in properties.expect("a filter has properties") {
                assert!(property.get("description").is_some(), "{}: {name}", plugin.name);
            }
        }
    }
}
