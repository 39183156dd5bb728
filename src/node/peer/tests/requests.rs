//! Single questions and streams, over loopback.

use super::*;

const CHUNK: usize = STREAM_CHUNK_BYTES_MAX;

/// Answers with the question backwards, and with nothing to "never".
fn backwards(home: Arc<Home>, incoming: Rc<dyn Incoming>) -> Rc<Serving> {
    let control: ControlHandler = Rc::new(|from, mut request| {
        assert_eq!(from, LOCAL);
        Box::pin(async move {
            if request == b"never" {
                std::future::pending::<()>().await;
            }
            request.reverse();
            request
        })
    });
    Serving::new(home, incoming, control, Rc::new(drop))
}

fn answering(timing: Timing) -> Remote {
    let home = home(REMOTE, timing);
    Remote::start_with("127.0.0.1:0", home, Box::new(backwards))
}

#[test]
fn a_question_is_answered_by_whoever_is_there() {
    on_a_worker(async {
        let remote = answering(timing());
        let home = home(LOCAL, timing());
        let target = Target {
            node: NodeId::ZERO,
            ..at(&remote.address)
        };
        let answer = ask(&home, target, b"abc", PATIENCE).await.unwrap();
        assert_eq!(answer, (REMOTE, b"cba".to_vec()));
        let long = vec![9; CONTROL_BYTES_MAX];
        let (_, answer) = ask(&home, target, &long, PATIENCE).await.unwrap();
        assert!(answer == long);
        let (_, answer) = ask(&home, target, b"", PATIENCE).await.unwrap();
        assert!(answer.is_empty());
    });
}

#[test]
fn a_question_without_answer_may_have_been_seen_and_one_that_was_not_asked_has_not() {
    on_a_worker(async {
        let remote = answering(timing());
        let home = home(LOCAL, timing());
        let limit = Duration::from_millis(100);
        let error = ask(&home, at(&remote.address), b"never", limit).await;
        let error = error.unwrap_err();
        assert!(matches!(error, AskError::TooSlow));
        assert!(!error.is_certainly_unseen());

        let long = vec![0; CONTROL_BYTES_MAX + 1];
        let error = ask(&home, at(&remote.address), &long, PATIENCE).await;
        assert!(matches!(error, Err(AskError::TooLarge { .. })));
        let error = ask(&home, at("127.0.0.1:1"), b"x", PATIENCE).await;
        assert!(matches!(
            error,
            Err(AskError::NotAsked(DialError::Unreachable(_)))
        ));
        let other = Target {
            node: NodeId(0xC),
            ..at(&remote.address)
        };
        let error = ask(&home, other, b"x", PATIENCE).await.unwrap_err();
        let wrong = DialError::Handshake(HandshakeError::WrongNode {
            expected: NodeId(0xC),
            found: REMOTE,
        });
        assert_eq!(error.to_string(), AskError::NotAsked(wrong).to_string());
        assert!(error.is_certainly_unseen());
    });
}

#[test]
fn questions_beyond_the_bound_are_told_that_the_node_is_busy() {
    on_a_worker(async {
        let remote = answering(timing());
        let home = home(LOCAL, timing());
        for _ in 0..CONTROL_INFLIGHT_MAX {
            let (home, address) = (home.clone(), remote.address.clone());
            tokio::task::spawn_local(async move {
                ask(&home, at(&address), b"never", PATIENCE * 10).await
            });
        }
        let start = Instant::now();
        loop {
            let limit = Duration::from_millis(200);
            match ask(&home, at(&remote.address), b"never", limit).await {
                Err(AskError::NotAsked(DialError::Handshake(HandshakeError::Busy))) => break,
                other => assert!(start.elapsed() < PATIENCE, "{other:?}"),
            }
        }
    });
}

/// What the receiver of a stream does.
#[derive(Clone, Copy)]
enum Receiving {
    /// Takes everything, answers with the length.
    All,
    /// Answers after the header.
    Refuse,
    /// Takes nothing and says nothing.
    Stand,
    /// Goes after the header.
    Leave,
}

fn receiving(how: Receiving, timing: Timing) -> Remote {
    let make = move |home, incoming| {
        let control: ControlHandler = Rc::new(|_, _| Box::pin(std::future::pending()));
        let take = move |receiver| drop(tokio::task::spawn_local(take(how, receiver)));
        Serving::new(home, incoming, control, Rc::new(take))
    };
    Remote::start_with("127.0.0.1:0", home(REMOTE, timing), Box::new(make))
}

async fn take(how: Receiving, mut receiver: StreamReceiver) {
    assert_eq!(receiver.from, peer(0));
    assert_eq!(receiver.header, &b"header"[..]);
    match how {
        Receiving::All => {
            let mut bytes = 0usize;
            while let Some(chunk) = receiver.next_chunk().await.unwrap() {
                assert!(chunk.iter().all(|byte| *byte == (bytes / CHUNK) as u8));
                bytes += chunk.len();
            }
            let answer = bytes.to_string();
            receiver.answer(answer.as_bytes()).await.unwrap();
        }
        Receiving::Refuse => receiver.answer(b"no, thank you").await.unwrap(),
        Receiving::Stand => {
            tokio::time::sleep(PATIENCE * 10).await;
            drop(receiver);
        }
        Receiving::Leave => drop(receiver),
    }
}

async fn open(remote: &Remote, timing: Timing) -> StreamSender {
    let home = home(LOCAL, timing);
    open_stream(&home, at(&remote.address), b"header")
        .await
        .unwrap()
}

#[test]
fn ten_mebibytes_are_streamed_and_the_receiver_has_the_last_word() {
    on_a_worker(async {
        let remote = receiving(Receiving::All, timing());
        let mut sender = open(&remote, timing()).await;
        assert_eq!(sender.to(), REMOTE);
        for number in 0..10 {
            sender.send(&vec![number; CHUNK]).await.unwrap();
        }
        let answer = sender.finish(PATIENCE).await.unwrap();
        assert_eq!(answer, (10 * CHUNK).to_string().as_bytes());
    });
}

#[test]
fn a_receiver_that_wants_nothing_is_heard_while_we_send() {
    on_a_worker(async {
        let remote = receiving(Receiving::Refuse, timing());
        let mut sender = open(&remote, timing()).await;
        let error = loop {
            if let Err(error) = sender.send(&vec![0; CHUNK]).await {
                break error;
            }
        };
        assert!(matches!(error, StreamError::AnsweredEarly), "{error}");
        let answer = sender.finish(PATIENCE).await.unwrap();
        assert_eq!(answer, b"no, thank you");
    });
}

#[test]
fn a_receiver_that_stands_still_holds_nobody_up_for_good() {
    on_a_worker(async {
        let remote = receiving(Receiving::Stand, timing());
        let mut sender = open(&remote, impatient()).await;
        let error = loop {
            if let Err(error) = sender.send(&vec![0; CHUNK]).await {
                break error;
            }
        };
        assert!(matches!(error, StreamError::TooSlow), "{error}");
        let after = sender.send(b"more").await;
        assert!(matches!(after, Err(StreamError::GivenUp)));

        let sender = open(&remote, timing()).await;
        let error = sender.finish(Duration::from_millis(50)).await;
        assert!(matches!(error, Err(StreamError::TooSlow)));
    });
}

#[test]
fn a_receiver_that_leaves_breaks_the_stream() {
    on_a_worker(async {
        let remote = receiving(Receiving::Leave, timing());
        let sender = open(&remote, timing()).await;
        let error = sender.finish(PATIENCE).await;
        assert!(matches!(error, Err(StreamError::Broken(_))));
    });
}

#[test]
fn a_sender_that_stands_still_or_leaves_is_an_error_and_not_the_end() {
    on_a_worker(async {
        let results = Arc::new(Mutex::new(Vec::new()));
        let seen = results.clone();
        let make = move |home, incoming| {
            let control: ControlHandler = Rc::new(|_, _| Box::pin(std::future::pending()));
            let take = move |mut receiver: StreamReceiver| {
                let seen = seen.clone();
                tokio::task::spawn_local(async move {
                    let result = receiver.next_chunk().await;
                    seen.lock().unwrap().push(result.unwrap_err().to_string());
                });
            };
            Serving::new(home, incoming, control, Rc::new(take))
        };
        let home = home(REMOTE, impatient());
        let remote = Remote::start_with("127.0.0.1:0", home, Box::new(make));
        let _still = open(&remote, timing()).await;
        drop(open(&remote, timing()).await);
        until("both are noticed", || results.lock().unwrap().len() == 2).await;
        let mut errors = results.lock().unwrap().clone();
        errors.sort();
        let expected = [
            StreamError::TooSlow.to_string(),
            StreamError::Broken(FrameError::Closed).to_string(),
        ];
        assert_eq!(errors, expected);
    });
}

#[test]
fn chunks_beyond_their_limit_and_without_bytes_are_not_sent() {
    on_a_worker(async {
        let remote = receiving(Receiving::All, timing());
        let mut sender = open(&remote, timing()).await;
        for bytes in [0, CHUNK + 1] {
            let refused = sender.send(&vec![0; bytes]).await;
            assert!(matches!(refused, Err(StreamError::Size { .. })));
        }
        sender.send(&[0]).await.unwrap();
        assert_eq!(sender.finish(PATIENCE).await.unwrap(), b"1");
    });
}
