//! Hostile and damaged request streams against the request parser: however a stream is cut into pieces, it
//! gives the same requests, and where redis-protocol's decoder finds a request, ours finds the same one.
//!
//! `RINGFORT_FUZZ_SECONDS` (default 3) bounds the run, `RINGFORT_FUZZ_SEED` repeats one.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use redis_protocol::resp2::{decode::decode, types::OwnedFrame};
use ringfort::protocol::{Parsed, ParserLimits, ProtocolError, RequestParser, Span};
use ringfort::store::Rng;

/// The oracle recurses for every nested array: it is shown short streams only.
const STREAM_BYTES_MAX: usize = 1024;

type Request = Vec<Vec<u8>>;

/// What a stream holds.
#[derive(Debug, PartialEq)]
struct Outcome {
    requests: Vec<Request>,
    error: Option<ProtocolError>,
}

#[derive(Default)]
struct Feeder {
    parser: RequestParser,
    buf: Vec<u8>,
    spans: Vec<Span>,
    requests: Vec<Request>,
}

impl Feeder {
    fn new(limits: ParserLimits) -> Self {
        Self {
            parser: RequestParser::new(limits),
            ..Self::default()
        }
    }

    /// One arrival of bytes; requests without arguments are skipped.
    fn feed(&mut self, piece: &[u8]) -> Result<(), ProtocolError> {
        self.buf.extend_from_slice(piece);
        loop {
            self.spans.clear();
            match self.parser.parse(&mut self.buf, &mut self.spans) {
                Parsed::Command { consumed } => {
                    assert!(!self.spans.is_empty());
                    let args = self.spans.iter().map(|&(start, end)| {
                        assert!(start <= end && end as usize <= consumed);
                        self.buf[start as usize..end as usize].to_vec()
                    });
                    self.requests.push(args.collect());
                    self.buf.drain(..consumed);
                }
                Parsed::Empty { consumed } => {
                    assert!(consumed > 0 && self.spans.is_empty());
                    self.buf.drain(..consumed);
                }
                Parsed::Incomplete { need } => {
                    assert!(need > 0 && self.spans.is_empty());
                    return Ok(());
                }
                Parsed::Error(error) => return Err(error),
            }
        }
    }
}

fn run<'a>(limits: ParserLimits, pieces: impl Iterator<Item = &'a [u8]>) -> Outcome {
    let mut feeder = Feeder::new(limits);
    let mut error = None;
    for piece in pieces {
        if let Err(found) = feeder.feed(piece) {
            error = Some(found);
            break;
        }
    }
    Outcome {
        requests: feeder.requests,
        error,
    }
}

/// A request in the one form that every decoder agrees on.
fn encode(request: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", request.len()).into_bytes();
    for arg in request {
        bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// The first request as redis-protocol sees it, if it is an array of bulk strings in canonical form.
fn oracle(stream: &[u8]) -> Option<Request> {
    let (frame, consumed) = decode(stream).ok()??;
    let OwnedFrame::Array(frames) = frame else {
        return None;
    };
    let args = frames.into_iter().map(|frame| match frame {
        OwnedFrame::BulkString(bytes) => Some(bytes),
        _ => None,
    });
    let request = args.collect::<Option<Request>>()?;
    (!request.is_empty() && encode(&request) == stream[..consumed]).then_some(request)
}

/// The first request as our parser sees it, if it came in canonical form.
fn ours(stream: &[u8]) -> Option<Request> {
    let mut spans = Vec::new();
    let parsed = RequestParser::default().parse(&mut stream.to_vec(), &mut spans);
    let Parsed::Command { consumed } = parsed else {
        return None;
    };
    let args = spans
        .iter()
        .map(|&(start, end)| stream[start as usize..end as usize].to_vec());
    let request: Request = args.collect();
    (encode(&request) == stream[..consumed]).then_some(request)
}

/// Everything that must hold for any stream of at most STREAM_BYTES_MAX bytes.
fn check(stream: &[u8], limits: ParserLimits) {
    let whole = run(limits, std::iter::once(stream));
    for cut in 0..=stream.len() {
        let (head, tail) = stream.split_at(cut);
        assert_eq!(run(limits, [head, tail].into_iter()), whole, "cut at {cut}");
    }
    for size in [1, 2, 3, 7] {
        assert_eq!(
            run(limits, stream.chunks(size)),
            whole,
            "in pieces of {size}"
        );
    }
    if stream.first() == Some(&b'*') {
        assert_eq!(ours(stream), oracle(stream), "redis-protocol disagrees");
    }
}

/// Changes that meet the parser's decisions more often than random bytes would.
fn mutate(stream: &mut Vec<u8>, rng: &mut Rng) {
    const BYTES: &[u8] = b"*$\r\n0123456789-+\"'\\ xP\x00\xff";
    for _ in 0..rng.below(4) {
        if stream.is_empty() {
            return;
        }
        let at = rng.below(stream.len());
        match rng.below(5) {
            0 => stream[at] = BYTES[rng.below(BYTES.len())],
            1 => stream.insert(at, BYTES[rng.below(BYTES.len())]),
            2 => drop(stream.remove(at)),
            3 => stream.truncate(at),
            _ => {
                let end = (at + rng.below(20)).min(stream.len());
                let copy = stream[at..end].to_vec();
                stream.splice(at..at, copy);
            }
        }
    }
    stream.truncate(STREAM_BYTES_MAX);
}

fn random_stream(rng: &mut Rng) -> Vec<u8> {
    const INLINE: [&[u8]; 6] = [
        b"PING\r\n",
        b"SET k \"a\\x00 b\\n\"\r\n",
        b"GET 'it\\'s'\n",
        b"\r\n",
        b"*0\r\n",
        b"*-1\r\n",
    ];
    let mut stream = Vec::new();
    for _ in 0..=rng.below(4) {
        if rng.below(4) == 0 {
            stream.extend_from_slice(INLINE[rng.below(INLINE.len())]);
            continue;
        }
        let request: Request = (0..=rng.below(5))
            .map(|_| {
                let len = if rng.below(8) == 0 {
                    rng.below(130)
                } else {
                    rng.below(12)
                };
                (0..len).map(|_| rng.next_u64() as u8).collect()
            })
            .collect();
        stream.extend_from_slice(&encode(&request));
    }
    stream.truncate(STREAM_BYTES_MAX);
    stream
}

fn random_limits(rng: &mut Rng) -> ParserLimits {
    match rng.below(4) {
        0 => ParserLimits {
            authenticated: false,
            ..ParserLimits::default()
        },
        1 => ParserLimits {
            multibulk_args_max: 3,
            bulk_bytes_max: 8,
            authenticated: true,
        },
        _ => ParserLimits::default(),
    }
}

#[test]
fn damaged_streams_give_the_same_requests_however_they_are_cut() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let seconds = number("RINGFORT_FUZZ_SECONDS").unwrap_or(3);
    let seed = number("RINGFORT_FUZZ_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let mut rounds = 0u64;
    while rounds == 0 || Instant::now() < deadline {
        let round_seed = seed.wrapping_add(rounds);
        let outcome = std::panic::catch_unwind(|| {
            let mut rng = Rng::new(round_seed);
            let limits = random_limits(&mut rng);
            let mut stream = random_stream(&mut rng);
            mutate(&mut stream, &mut rng);
            check(&stream, limits);
        });
        assert!(
            outcome.is_ok(),
            "failed with seed {round_seed}; repeat with: RINGFORT_FUZZ_SEED={round_seed} \
             RINGFORT_FUZZ_SECONDS=0 cargo test --test fuzz_protocol damaged_streams"
        );
        rounds += 1;
    }
    println!("{rounds} streams from seed {seed}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn valid_requests_are_read_as_redis_protocol_reads_them(
        requests in prop::collection::vec(
            prop::collection::vec(prop::collection::vec(any::<u8>(), 0..24), 1..6),
            1..4,
        ),
    ) {
        let stream: Vec<u8> = requests.iter().flat_map(|request| encode(request)).collect();
        prop_assert_eq!(oracle(&stream), requests.first().cloned());
        check(&stream, ParserLimits::default());
        let outcome = run(ParserLimits::default(), std::iter::once(&stream[..]));
        prop_assert_eq!(outcome, Outcome { requests, error: None });
    }

    #[test]
    fn mutated_requests_are_read_as_redis_protocol_reads_them(
        request in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..24), 1..6),
        seed: u64,
    ) {
        let mut stream = encode(&request);
        mutate(&mut stream, &mut Rng::new(seed));
        check(&stream, ParserLimits::default());
    }

    #[test]
    fn any_bytes_are_read_the_same_however_they_are_cut(
        stream in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        check(&stream, ParserLimits::default());
    }
}
