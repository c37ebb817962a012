//! The engine: pipeline, routes, budget, drain, ledgers.
