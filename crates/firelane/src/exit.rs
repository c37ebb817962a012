//! Exit codes: an interface for scripts. Under the name `fluent-bit` its own codes (1 and 255) are used
//! instead.

use std::process::ExitCode;

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything was done; every record was delivered or dropped by a rule of the user.
    Ok,
    /// The command line is wrong (`EX_USAGE`).
    Usage,
    /// A file that was named is missing or cannot be read (`EX_NOINPUT`).
    NoInput,
    /// The router failed while it ran (`EX_SOFTWARE`).
    Failed,
    /// A socket, file or database could not be opened at the start (`EX_OSERR`).
    Open,
    /// The configuration is wrong (`EX_CONFIG`).
    Config,
    /// The router stopped with records that it could not deliver in time, or its outputs dropped some. Of a
    /// command: records on disk are damaged.
    LeftOver,
}

/// What Fluent Bit would have said of a bad start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Reading the configuration: 1.
    Load,
    /// Initialising plugins: 255.
    Init,
}

impl Exit {
    /// All codes with their meaning, for the manual.
    pub(crate) const ALL: [(Self, &'static str); 7] = [
        (
            Self::Ok,
            "success; every record was delivered, or dropped by a rule of the configuration",
        ),
        (Self::Usage, "the command line is wrong"),
        (
            Self::NoInput,
            "a file that was named is missing or cannot be read",
        ),
        (Self::Failed, "the router failed while it ran"),
        (
            Self::Open,
            "a socket, file or database could not be opened at the start",
        ),
        (
            Self::LeftOver,
            "the router stopped with records left at the end of the grace period, or an output dropped \
             records: refused, retries used up, over its share of the memory; `buffer`: records on disk are damaged",
        ),
        (Self::Config, "the configuration is wrong"),
    ];

    /// The worse of two: the higher number.
    pub(crate) fn max(self, other: Self) -> Self {
        if other.number() > self.number() {
            other
        } else {
            self
        }
    }

    /// The number under our own name.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Usage => 64,
            Self::NoInput => 66,
            Self::Failed => 70,
            Self::Open => 71,
            Self::LeftOver => 75,
            Self::Config => 78,
        }
    }

    /// The number under the name `fluent-bit`: a stop is a success there, whatever was left.
    pub(crate) fn fluent_bit(self, stage: Stage) -> u8 {
        match (self, stage) {
            (Self::Ok | Self::LeftOver, _) => 0,
            (Self::Usage | Self::NoInput, _) | (_, Stage::Load) => 1,
            (_, Stage::Init) => 255,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees: the numbers are an interface and do not change by accident.
    #[test]
    fn the_numbers_are_pinned() {
        let numbers: Vec<_> = Exit::ALL.iter().map(|(exit, _)| exit.number()).collect();
        assert_eq!(numbers, [0, 64, 66, 70, 71, 75, 78]);
        assert_eq!(Exit::Config.fluent_bit(Stage::Load), 1);
        assert_eq!(Exit::Config.fluent_bit(Stage::Init), 255);
        assert_eq!(Exit::LeftOver.fluent_bit(Stage::Init), 0);
    }
}
