//! What goes over several modules: properties of generated definitions, and every message as people read it.

mod messages;
mod properties;
