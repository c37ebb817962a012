//! How many workers: the CPU quota of the cgroup, rounded up.

/// Workers of the runtime and partitions of the log.
pub(crate) fn workers() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    quota().map_or(cores, |quota| quota.min(cores)).max(1)
}

/// CPUs that the cgroup allows (v2 `cpu.max`), rounded up.
fn quota() -> Option<usize> {
    parse_quota(&std::fs::read_to_string("/sys/fs/cgroup/cpu.max").ok()?)
}

fn parse_quota(text: &str) -> Option<usize> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (usize, usize) = (quota.parse().ok()?, period.parse().ok()?);
    (period > 0).then(|| quota.div_ceil(period))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_are_rounded_up() {
        assert_eq!(parse_quota("150000 100000\n"), Some(2));
        assert_eq!(parse_quota("50000 100000"), Some(1));
        assert_eq!(parse_quota("max 100000"), None);
    }
}
