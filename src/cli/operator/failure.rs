//! How an operator's command ends: the exit codes, and what is said where it does not end well. Prints nothing itself.

use std::io;

use crate::admin::api::Refusal;

/// What the exit codes mean, for the help of every command.
pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    refused, or something wrong was found
  2    wrong usage
  3    the cluster cannot be reached
  4    the outcome is unknown: look, and repeat the command
  130  interrupted";

/// A command that came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    /// It looked for something wrong, and found it.
    Found,
    /// By Ctrl-C or SIGTERM, before it was done.
    Interrupted,
}

impl Outcome {
    pub(super) fn exit_code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Found => 1,
            Self::Interrupted => 130,
        }
    }
}

/// Why a command did not come to its end. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("{0}")]
    Usage(String),
    /// It was not done.
    #[error("{reason}")]
    Refused { kind: Refusal, reason: String },
    /// It was not done, because nobody was there to do it.
    #[error("{0}")]
    Unreachable(String),
    /// It may have been done.
    #[error("{0}")]
    Unknown(String),
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    pub(super) fn refused(reason: impl Into<String>) -> Self {
        Self::Refused {
            kind: Refusal::Conflict,
            reason: reason.into(),
        }
    }

    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Refused { .. } => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) => 3,
            Self::Unknown(_) => 4,
            // Whoever reads has seen enough (`ringfort shards | head`).
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::Output(_) => 1,
        }
    }

    /// Whether whoever asks again may get another answer: nobody was there. A refusal stays one.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Unknown(_))
    }

    /// Nobody has to be told of a reader who has seen enough.
    pub(super) fn is_silent(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_has_its_exit_code() {
        let codes = [
            Failure::refused("no").exit_code(),
            Failure::Usage("no".into()).exit_code(),
            Failure::Unreachable("no".into()).exit_code(),
            Failure::Unknown("no".into()).exit_code(),
            Failure::Output(io::ErrorKind::StorageFull.into()).exit_code(),
        ];
        assert_eq!(codes, [1, 2, 3, 4, 1]);
        let seen_enough = Failure::Output(io::ErrorKind::BrokenPipe.into());
        assert_eq!(
            (seen_enough.exit_code(), seen_enough.is_silent()),
            (0, true)
        );
    }
}
