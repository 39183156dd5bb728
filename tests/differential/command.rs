//! A generated command and how its two replies are to be compared.

use crate::resp::printable;

/// How the replies of the two servers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Byte for byte.
    Exact,
    /// The elements in any order.
    Unordered,
    /// Field and value in turns, the pairs in any order.
    Pairs,
    /// Doubles may be written as Redis 7.2 writes them: `digits` in differences.rs.
    Scores,
    /// Integers that depend on the clock: equal within so much; what is not above 0 exactly.
    Near(i64),
    /// The same RESP type only.
    Kind,
    /// OBJECT ENCODING: `set-listpack` and `list-listpack` in differences.rs.
    Encoding,
}

/// One command of the stream.
#[derive(Clone, Debug)]
pub struct Command {
    pub args: Vec<Vec<u8>>,
    pub check: Check,
    /// Arguments may be replaced, dropped or added to provoke errors.
    pub mutable: bool,
}

impl Command {
    pub fn new(args: Vec<Vec<u8>>) -> Self {
        Self {
            args,
            check: Check::Exact,
            mutable: true,
        }
    }

    pub fn check(mut self, check: Check) -> Self {
        self.check = check;
        self
    }

    /// Leaves the command as it is: a change could make its reply a matter of chance.
    pub fn fixed(mut self) -> Self {
        self.mutable = false;
        self
    }

    /// Adds arguments at the end.
    pub fn with(mut self, args: impl IntoIterator<Item = Vec<u8>>) -> Self {
        self.args.extend(args);
        self
    }

    /// Adds one argument at the end.
    pub fn arg(self, arg: impl ToArg) -> Self {
        self.with([arg.to_arg()])
    }

    /// The command's name in capitals.
    pub fn name(&self) -> String {
        let name = self.args.first().map_or(&b""[..], |name| name);
        String::from_utf8_lossy(name).to_ascii_uppercase()
    }

    /// The command as it could be typed into redis-cli.
    pub fn shown(&self) -> String {
        let quoted = |arg: &Vec<u8>| {
            let plain = |b: &u8| b.is_ascii_graphic() && !b"\"'\\".contains(b);
            if !arg.is_empty() && arg.iter().all(plain) {
                printable(arg)
            } else {
                format!("\"{}\"", printable(arg))
            }
        };
        let words: Vec<String> = self.args.iter().map(quoted).collect();
        words.join(" ")
    }
}

/// What can stand as an argument in [`cmd!`].
pub trait ToArg {
    fn to_arg(self) -> Vec<u8>;
}

impl ToArg for &str {
    fn to_arg(self) -> Vec<u8> {
        self.into()
    }
}

impl ToArg for String {
    fn to_arg(self) -> Vec<u8> {
        self.into_bytes()
    }
}

impl ToArg for Vec<u8> {
    fn to_arg(self) -> Vec<u8> {
        self
    }
}

impl ToArg for i64 {
    fn to_arg(self) -> Vec<u8> {
        self.to_string().into_bytes()
    }
}

/// `cmd!("SET", key, value)`: a command whose replies are compared exactly.
macro_rules! cmd {
    ($($arg:expr),+ $(,)?) => {
        $crate::command::Command::new(vec![$($crate::command::ToArg::to_arg($arg)),+])
    };
}
pub(crate) use cmd;
