//! The control side, pure: text of a task definition to findings, configuration, run plan and policies.
//!
//! ```text
//! text ──source──▶ tree with places ──cfn──▶ resolved tree ──taskdef──▶ TaskDefinition
//!                                                                      │
//!        ┌───────────┬──────────────┬─────────────┬─────────────┬──────┘
//!      lint        render          plan          graph         iam
//! ```
//!
//! No file, clock, socket or environment variable is touched here: the binary reads files and hands them in.
//! What ECS does is taken from its agent; every rule names its source.

pub mod source;
pub mod text;

pub mod cfn;
pub mod taskdef;

pub mod context;

pub mod firelens;
pub mod plan;
pub mod render;

pub mod destinations;
pub mod graph;
pub mod iam;
pub mod init;
pub mod lint;

#[doc(hidden)]
pub mod fuzz;

#[cfg(test)]
mod tests;
