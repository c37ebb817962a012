//! One file per command.

pub(crate) mod buffer;
pub(crate) mod check;
pub(crate) mod ecs_init;
pub(crate) mod plugins;
pub(crate) mod probe;
pub(crate) mod router;
