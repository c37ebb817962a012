//! The log on a disk that fails: the commit thread of a router is played by a model that knows what it was
//! promised, over failed writes, full disks, killed processes, power losses and flipped bits.
//!
//! Every run is decided by its seed. `FIRELANE_CRASH_SEED=N` runs one seed of each test and tells each step;
//! `FIRELANE_SOAK=1` runs new seeds for ten minutes, or for `FIRELANE_SOAK_SECONDS`.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests; clippy exempts only the tests themselves"
)]

mod check;
mod rng;
mod sim;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use sim::Faults;
use world::{Mode, World};

/// Plays one seed.
fn play(seed: u64, mode: Mode, trace: bool) {
    let mut world = World::new(seed, mode, trace);
    world.crash();
    let steps = world.rng.between(10, 80);
    for _ in 0..steps {
        if world.rng.chance(mode.crashes, 1000) {
            world.disk.die_in(world.rng.below(9));
        }
        step(&mut world);
        if world.disk.is_dead() || world.rng.chance(mode.crashes, 3000) {
            world.crash();
        }
    }
    world.finish();
}

fn step(world: &mut World) {
    match world.rng.below(100) {
        0..25 if world.pending.blocks.len() < 6 => world.append(),
        0..60 => world.settle_some(),
        60..62 => world.settle_all(),
        62..90 => world.commit_and_check(),
        90..95 => world.compact(),
        _ if !world.disk.is_dead() => world.load_one(),
        _ => {}
    }
}

/// Plays `count` seeds, or the one of the environment, or as many as there is time for.
fn run(mode: Mode, count: u64) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("FIRELANE_CRASH_SEED") {
        return play(seed, mode, true);
    }
    let soak = number("FIRELANE_SOAK_SECONDS").or(number("FIRELANE_SOAK").map(|_| 600));
    let begin = Instant::now();
    let first: u64 = if soak.is_some() {
        std::process::id().into()
    } else {
        0
    };
    let mut played = 0;
    for seed in (first * 1_000_000).. {
        let over = match soak {
            None => played >= count,
            Some(seconds) => begin.elapsed() >= Duration::from_secs(seconds),
        };
        if over {
            break;
        }
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| play(seed, mode, false))) {
            eprintln!("{mode:?}: repeat with FIRELANE_CRASH_SEED={seed}");
            resume_unwind(panic);
        }
        played += 1;
    }
    eprintln!("{played} seeds in {:?}", begin.elapsed());
}

#[test]
fn crashes_lose_nothing() {
    let mode = Mode {
        crashes: 150,
        ..Mode::default()
    };
    run(mode, 2000);
}

#[test]
fn failing_disks_lose_nothing() {
    let faults = Faults { writes: 80, reads: 2 };
    let mode = Mode {
        faults,
        crashes: 80,
        ..Mode::default()
    };
    run(mode, 2000);
}

#[test]
fn full_disks_get_room_again() {
    let mode = Mode {
        faults: Faults { writes: 10, reads: 0 },
        full: true,
        crashes: 30,
        ..Mode::default()
    };
    run(mode, 2000);
}

#[test]
fn bit_rot_is_told_and_spares_the_rest() {
    let faults = Faults { writes: 30, reads: 0 };
    let mode = Mode {
        faults,
        crashes: 100,
        rot: true,
        ..Mode::default()
    };
    run(mode, 2000);
}
