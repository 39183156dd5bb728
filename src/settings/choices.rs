//! The settings with a fixed set of answers, as Rust enums.

/// Declares an enum whose variants have names in the settings; a value travels as its position.
macro_rules! choice {
    ($(#[$meta:meta])* $enum:ident { $($(#[$vmeta:meta])* $variant:ident = $name:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $enum { $($(#[$vmeta])* $variant),+ }

        impl $enum {
            /// What an operator may write, in the order of the variants.
            pub const NAMES: &'static [&'static str] = &[$($name),+];

            const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The variant at a position of `NAMES`; the table has checked that it is one.
            pub(super) fn from_position(position: i64) -> Self {
                Self::ALL[position as usize]
            }

            /// As an operator writes it.
            pub fn name(self) -> &'static str {
                Self::NAMES[self as usize]
            }
        }
    };
}

choice! {
    /// When an acknowledged write is safe, and from what.
    Durability {
        /// Synced to disk before the acknowledgement.
        Always = "always",
        /// Written before the acknowledgement, synced every second.
        Everysec = "everysec",
        /// Memory alone.
        None = "none",
    }
}

choice! {
    /// What goes when `maxmemory` is reached.
    MaxmemoryPolicy {
        VolatileLru = "volatile-lru",
        VolatileLfu = "volatile-lfu",
        VolatileRandom = "volatile-random",
        VolatileTtl = "volatile-ttl",
        AllkeysLru = "allkeys-lru",
        AllkeysLfu = "allkeys-lfu",
        AllkeysRandom = "allkeys-random",
        Noeviction = "noeviction",
    }
}

impl MaxmemoryPolicy {
    /// Whether `OBJECT FREQ` has an answer and `OBJECT IDLETIME` none.
    pub fn is_lfu(self) -> bool {
        matches!(self, Self::VolatileLfu | Self::AllkeysLfu)
    }

    /// Whether only keys with a time to live may be evicted.
    pub fn is_volatile(self) -> bool {
        matches!(
            self,
            Self::VolatileLru | Self::VolatileLfu | Self::VolatileRandom | Self::VolatileTtl
        )
    }
}

choice! {
    /// The least severe line that is logged.
    LogLevel {
        Error = "error",
        Warn = "warn",
        Info = "info",
        Debug = "debug",
        Trace = "trace",
    }
}

choice! {
    /// How a log line looks.
    LogFormat {
        Text = "text",
        Json = "json",
    }
}

choice! {
    /// Who may call `DEBUG`.
    DebugCommand {
        No = "no",
        Yes = "yes",
        /// Connections from this machine.
        Local = "local",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_positions_agree() {
        for (position, name) in MaxmemoryPolicy::NAMES.iter().enumerate() {
            assert_eq!(
                MaxmemoryPolicy::from_position(position as i64).name(),
                *name
            );
        }
    }

    #[test]
    fn volatile_policies_are_those_that_say_so() {
        for (position, name) in MaxmemoryPolicy::NAMES.iter().enumerate() {
            let policy = MaxmemoryPolicy::from_position(position as i64);
            assert_eq!(policy.is_volatile(), name.starts_with("volatile-"));
            assert_eq!(policy.is_lfu(), name.ends_with("-lfu"));
        }
    }
}
