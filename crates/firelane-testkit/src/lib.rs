//! Helpers for tests: ports, forward client, fake peers, seeds.
