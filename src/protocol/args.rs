//! The arguments of one command, borrowed from the bytes they arrived in. Knows no commands.

/// Where one argument lies in its buffer: start and end offset in bytes.
pub type Span = (u32, u32);

/// A command's argument vector: `args[0]` is the command's name as the client wrote it.
///
/// The same view serves a client's read buffer and a log entry, so that a handler never knows
/// whether it runs live or at replay.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    buf: &'a [u8],
    spans: &'a [Span],
}

impl<'a> Args<'a> {
    /// Every span must lie inside `buf`; the parser and the entry decoder guarantee it.
    pub fn new(buf: &'a [u8], spans: &'a [Span]) -> Self {
        Self { buf, spans }
    }

    /// The bytes in which the arguments lie, and where.
    #[inline]
    pub fn parts(&self) -> (&'a [u8], &'a [Span]) {
        (self.buf, self.spans)
    }

    /// Number of arguments, the command's name included.
    #[inline]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The argument at `index`; panics when there is none, so check the arity first (the table does).
    #[inline]
    pub fn at(&self, index: usize) -> &'a [u8] {
        let (start, end) = self.spans[index];
        &self.buf[start as usize..end as usize]
    }

    #[inline]
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        (index < self.spans.len()).then(|| self.at(index))
    }

    /// All arguments from `first` on.
    pub fn from(&self, first: usize) -> impl ExactSizeIterator<Item = &'a [u8]> + Clone + 'a {
        let buf = self.buf;
        self.spans[first.min(self.spans.len())..]
            .iter()
            .map(move |&(start, end)| &buf[start as usize..end as usize])
    }

    /// The same command without its first argument: how a container command sees its subcommand.
    pub fn tail(&self) -> Args<'a> {
        Args {
            buf: self.buf,
            spans: &self.spans[1.min(self.spans.len())..],
        }
    }

    /// Bytes of all arguments together.
    pub fn payload_bytes(&self) -> usize {
        self.spans.iter().map(|&(s, e)| (e - s) as usize).sum()
    }
}

impl std::ops::Index<usize> for Args<'_> {
    type Output = [u8];
    #[inline]
    fn index(&self, index: usize) -> &[u8] {
        self.at(index)
    }
}

/// An argument vector that owns its bytes, for tests and for commands that the node makes itself.
#[derive(Debug, PartialEq, Eq)]
pub struct OwnedArgs {
    buf: Vec<u8>,
    spans: Vec<Span>,
}

impl OwnedArgs {
    pub fn new<I, A>(args: I) -> Self
    where
        I: IntoIterator<Item = A>,
        A: AsRef<[u8]>,
    {
        let mut owned = Self {
            buf: Vec::new(),
            spans: Vec::new(),
        };
        owned.extend(args);
        owned
    }

    /// A copy of a command's arguments, in memory of their size.
    pub fn copy_of(args: &Args) -> Self {
        let mut owned = Self {
            buf: Vec::with_capacity(args.payload_bytes()),
            spans: Vec::with_capacity(args.len()),
        };
        owned.extend(args.from(0));
        owned
    }

    fn extend<A: AsRef<[u8]>>(&mut self, args: impl IntoIterator<Item = A>) {
        for arg in args {
            let start = self.buf.len() as u32;
            self.buf.extend_from_slice(arg.as_ref());
            self.spans.push((start, self.buf.len() as u32));
        }
    }

    pub fn as_args(&self) -> Args<'_> {
        Args::new(&self.buf, &self.spans)
    }
}
