//! A connection that sends argument vectors and reads replies without losing their types.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::reply::Reply;

const REPLY_TIMEOUT: Duration = Duration::from_secs(20);
/// A reply larger than any file expects is a fault, not a reason to fill the memory.
const BULK_BYTES_MAX: usize = 64 << 20;
const ELEMENTS_MAX: usize = 1 << 20;
const DEPTH_MAX: usize = 32;

pub struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    pub fn connect(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            reader: BufReader::new(stream),
        })
    }

    pub fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<Reply> {
        let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
        for arg in args {
            bytes.extend_from_slice(format!("${}\r\n", arg.as_ref().len()).as_bytes());
            bytes.extend_from_slice(arg.as_ref());
            bytes.extend_from_slice(b"\r\n");
        }
        self.send(&bytes)?;
        self.read()
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// Whether the server closes the connection without another reply.
    pub fn is_closed(&mut self) -> bool {
        match self.reader.fill_buf() {
            Ok(rest) => rest.is_empty(),
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }

    pub fn read(&mut self) -> io::Result<Reply> {
        self.read_at(0)
    }

    fn read_at(&mut self, depth: usize) -> io::Result<Reply> {
        let line = self.line()?;
        let (&kind, text) = line.split_first().ok_or_else(|| bad("an empty line"))?;
        Ok(match kind {
            b'+' => Reply::Simple(text.to_vec()),
            b'-' => Reply::Error(text.to_vec()),
            b':' => Reply::Int(number(text)?),
            b'_' => Reply::Null,
            b',' => Reply::Double(text.to_vec()),
            b'(' => Reply::BigNumber(text.to_vec()),
            b'#' => Reply::Boolean(text == b"t"),
            b'$' if text == b"-1" => Reply::NullBulk,
            b'$' => Reply::Bulk(self.bulk(text)?),
            b'=' => Reply::Verbatim(self.bulk(text)?),
            b'*' if text == b"-1" => Reply::NullArray,
            b'*' => Reply::Array(self.items(text, 1, depth)?),
            b'~' => Reply::Set(self.items(text, 1, depth)?),
            b'>' => Reply::Push(self.items(text, 1, depth)?),
            b'%' => Reply::Map(self.items(text, 2, depth)?),
            _ => return Err(bad(&format!("the line {}", line.escape_ascii()))),
        })
    }

    fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if !line.ends_with(b"\r\n") {
            return Err(bad("a line without CRLF"));
        }
        line.truncate(line.len() - 2);
        Ok(line)
    }

    fn bulk(&mut self, len: &[u8]) -> io::Result<Vec<u8>> {
        let len = usize::try_from(number(len)?).map_err(|_| bad("a negative length"))?;
        if len > BULK_BYTES_MAX {
            return Err(bad("a bulk string beyond all expectation"));
        }
        let mut bytes = vec![0; len + 2];
        self.reader.read_exact(&mut bytes)?;
        if !bytes.ends_with(b"\r\n") {
            return Err(bad("a bulk string without CRLF behind it"));
        }
        bytes.truncate(len);
        Ok(bytes)
    }

    fn items(&mut self, count: &[u8], each: usize, depth: usize) -> io::Result<Vec<Reply>> {
        let count = usize::try_from(number(count)?).map_err(|_| bad("a negative count"))? * each;
        if count > ELEMENTS_MAX || depth == DEPTH_MAX {
            return Err(bad("an aggregate beyond all expectation"));
        }
        (0..count).map(|_| self.read_at(depth + 1)).collect()
    }
}

fn number(text: &[u8]) -> io::Result<i64> {
    ringfort::protocol::parse_i64(text).ok_or_else(|| bad("a length that is no number"))
}

fn bad(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the server sent {what}"),
    )
}
