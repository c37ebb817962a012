//! One file per command.

pub(crate) mod aws;
pub(crate) mod buffer;
pub(crate) mod check;
pub(crate) mod ecs_init;
pub(crate) mod iam;
pub(crate) mod init;
pub(crate) mod logs;
pub(crate) mod plugins;
pub(crate) mod probe;
pub(crate) mod render;
pub(crate) mod router;
pub(crate) mod router_task;
pub(crate) mod task;
