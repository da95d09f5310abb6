//! A world for tests: the real directory in a process of its own, and bare clients that speak its
//! protocol over real QUIC, well or badly.

#![allow(dead_code, reason = "each test file uses its own part of the world")]

pub(crate) mod tabs;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use quid_common::address::DirectoryAddress;
use quid_common::amount::{Amount, Currency};
use quid_common::checkpoint::Checkpoint;
use quid_common::entry::Registration;
use quid_common::frame::{BODY_LEN_MAX, FrameReader};
use quid_common::id::{InstanceId, LedgerId, OrderId};
use quid_common::key::{PublicKey, SecretKey};
use quid_common::name::Name;
use quid_common::order::{Memo, Order, STATEMENT_VERSION, SignedOrder, Void};
use quid_common::refusal::Reason;
use quid_common::signed::Signed;
use quid_common::time::LedgerTime;
use quid_common::tls::{self, TlsIdentity};
use quid_common::wire::{
    Login, Message, OpenSettle, Refused, Register, Run, Submit, SubmitRefused, SubmitVoid, Welcome,
};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint, RecvStream, SendStream};
use tempfile::TempDir;

/// The directory's program, running on a folder that is removed with it.
pub(crate) struct Directory {
    pub(crate) place: TempDir,
    pub(crate) address: DirectoryAddress,
    /// Where it serves metrics, if it does.
    pub(crate) metrics: Option<SocketAddr>,
    child: Child,
    /// What `serve` was told besides, and is told again at a restart.
    settings: Vec<String>,
}

impl Directory {
    /// A new ledger that gives everybody `opening`.
    pub(crate) fn start(opening: &str) -> Self {
        let place = tempfile::tempdir().expect("a place for the test's files");
        Self::start_on(place, opening, "127.0.0.1:0")
    }

    /// The same with more arguments for `serve`.
    pub(crate) fn start_told(opening: &str, settings: &[&str]) -> Self {
        let place = tempfile::tempdir().expect("a place for the test's files");
        let settings = settings.iter().map(ToString::to_string).collect();
        Self::serve(place, opening, "127.0.0.1:0", settings)
    }

    /// The data that is in `place`, served at `listen`.
    pub(crate) fn start_on(place: TempDir, opening: &str, listen: &str) -> Self {
        Self::serve(place, opening, listen, Vec::new())
    }

    /// The data that is in `place`, with more arguments for `serve`.
    pub(crate) fn serve_on(place: TempDir, settings: &[&str]) -> Self {
        let settings = settings.iter().map(ToString::to_string).collect();
        Self::serve(place, "100", "127.0.0.1:0", settings)
    }

    /// The data that is in `place`, with these variables in the program's environment.
    pub(crate) fn serve_with(place: TempDir, variables: &[(&str, &Path)]) -> Self {
        let mut command = Command::new(PROGRAM);
        command.envs(variables.iter().copied());
        Self::begin(command, place, "100", "127.0.0.1:0", Vec::new())
    }

    /// The same, with more arguments.
    pub(crate) fn start_with(place: TempDir, opening: &str, listen: &str, more: &[&str]) -> Self {
        let settings = more.iter().map(ToString::to_string).collect();
        Self::serve(place, opening, listen, settings)
    }

    fn serve(place: TempDir, opening: &str, listen: &str, settings: Vec<String>) -> Self {
        Self::begin(Command::new(PROGRAM), place, opening, listen, settings)
    }

    fn begin(
        mut command: Command,
        place: TempDir,
        opening: &str,
        listen: &str,
        settings: Vec<String>,
    ) -> Self {
        let mut child = command
            .args([
                "serve",
                "--listen",
                listen,
                "--opening-balance",
                opening,
                "--data",
            ])
            .arg(place.path().join("data"))
            .args(&settings)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the directory's program runs");
        let stdout = child.stdout.take().expect("piped");
        let mut line = String::new();
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("the address, or the end");
        let Ok(address) = line.trim_end().parse() else {
            let output = child.wait_with_output().expect("it ended");
            panic!("no address: {}", String::from_utf8_lossy(&output.stderr));
        };
        // The log must not fill its pipe.
        let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
        let shown = settings.iter().any(|it| it == "--metrics");
        let metrics = shown.then(|| metrics_in(&mut stderr));
        std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        Self {
            place,
            address,
            metrics,
            child,
            settings,
        }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.place.path().join("data")
    }

    /// SIGKILL, then the same folder on the same port.
    pub(crate) fn kill_and_restart(mut self) -> Self {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it was ours");
        self.restart()
    }

    /// SIGTERM, then the same folder on the same port; it must end by itself, well, within 5 s.
    pub(crate) fn stop_and_restart(mut self) -> Self {
        self.terminate();
        self.restart()
    }

    /// SIGTERM; leaves the folder.
    pub(crate) fn stop(mut self) -> TempDir {
        self.terminate();
        std::mem::replace(&mut self.place, tempfile::tempdir().expect("a place"))
    }

    fn terminate(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
        let begun = std::time::Instant::now();
        let status = self.child.wait().expect("it was ours");
        assert!(
            status.success() && begun.elapsed() < Duration::from_secs(5),
            "{status}"
        );
    }

    fn restart(mut self) -> Self {
        let listen = format!("{}:{}", self.address.host(), self.address.port());
        let place = std::mem::replace(&mut self.place, tempfile::tempdir().expect("a place"));
        let settings = std::mem::take(&mut self.settings);
        Self::serve(place, "100", &listen, settings)
    }

    /// Runs another command of the program on the same data.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        run_on(&self.data(), arguments)
    }

    /// The audit's JSON, which must say that the books are sound.
    pub(crate) fn audit(&self) -> serde_json::Value {
        let output = self.run(&["audit", "--json"]);
        let text = String::from_utf8(output.stdout).expect("JSON is UTF-8");
        let report: serde_json::Value = serde_json::from_str(&text).expect("one JSON object");
        assert_eq!(report["ok"], true, "{report}");
        report
    }

    pub(crate) async fn client(&self, seed: u8) -> Client {
        Client::connect(&self.address, seed).await
    }

    /// A member called `name`, registered and logged in.
    pub(crate) async fn member(&self, seed: u8, name: &str) -> Member {
        let client = self.client(seed).await;
        client.register(name).await.expect("the name is free");
        client.log_in(true).await.expect("registered")
    }
}

/// Calls the directory as a program that speaks another protocol would; how that ends.
pub(crate) async fn alien_handshake(
    directory: &Directory,
) -> Result<Connection, quinn::ConnectionError> {
    let address = &directory.address;
    let identity = TlsIdentity::new(&SecretKey::from_seed(&[99; 32]).seed()).expect("sound");
    let config = tls::client_config(&identity, *address.key().as_bytes(), tls::ALPN_PEER);
    let config = QuicClientConfig::try_from(config.expect("sound")).expect("TLS 1.3");
    let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into()).expect("a free port");
    let server = SocketAddr::new(address.host().parse().expect("an address"), address.port());
    let config = ClientConfig::new(Arc::new(config));
    let connecting = endpoint.connect_with(config, server, tls::SERVER_NAME);
    connecting.expect("sound").await
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address of the metrics, out of the log, where it comes before the directory's address.
fn metrics_in(log: &mut impl BufRead) -> SocketAddr {
    for line in log.lines() {
        let line = line.expect("the log is text");
        if let Some((_, address)) = line.split_once("metrics=") {
            return address.trim().parse().expect("an address and port");
        }
    }
    panic!("the directory does not say where it serves metrics");
}

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_quid-directory");

pub(crate) fn run_on(data: &Path, arguments: &[&str]) -> Output {
    let output = Command::new(PROGRAM)
        .args(arguments)
        .arg("--data")
        .arg(data)
        .output();
    output.expect("the directory's program runs")
}

/// A connection, still a stranger.
pub(crate) struct Client {
    pub(crate) key: SecretKey,
    pub(crate) directory: PublicKey,
    pub(crate) connection: Connection,
    pub(crate) endpoint: Endpoint,
}

impl Client {
    pub(crate) async fn connect(address: &DirectoryAddress, seed: u8) -> Self {
        let key = SecretKey::from_seed(&[seed; 32]);
        let identity = TlsIdentity::new(&key.seed()).expect("a sound seed");
        let pin = *address.key().as_bytes();
        let config = tls::client_config(&identity, pin, tls::ALPN_DIRECTORY).expect("sound");
        let config = QuicClientConfig::try_from(config).expect("TLS 1.3");
        let mut endpoint = Endpoint::client(([127, 0, 0, 1], 0).into()).expect("a free port");
        endpoint.set_default_client_config(ClientConfig::new(Arc::new(config)));
        let server = SocketAddr::new(address.host().parse().expect("an address"), address.port());
        let connecting = endpoint.connect(server, tls::SERVER_NAME).expect("sound");
        let connection = connecting.await.expect("the directory is up");
        Self {
            key,
            directory: address.key(),
            connection,
            endpoint,
        }
    }

    pub(crate) async fn register(&self, name: &str) -> Result<u64, Reason> {
        self.register_with(name, None).await
    }

    /// Registers with an invite code.
    pub(crate) async fn register_with(
        &self,
        name: &str,
        invite: Option<&str>,
    ) -> Result<u64, Reason> {
        let message = self.registration(name, invite);
        match self.request(&message).await {
            Message::Registered(registered) => Ok(registered.receipt.index),
            Message::Refused(Refused { reason }) => Err(reason),
            other => panic!("not an answer to a registration: {other:?}"),
        }
    }

    pub(crate) fn registration(&self, name: &str, invite: Option<&str>) -> Message {
        let registration = Registration {
            directory: self.directory,
            name: name.parse().expect("a valid name"),
            key: self.key.public(),
            recovery: None,
        };
        let registration = Signed::new(registration, &self.key).into_bytes().into();
        let invite = invite.map(str::to_owned);
        Register {
            registration,
            invite,
        }
        .into()
    }

    pub(crate) async fn log_in(self, listening: bool) -> Result<Member, Reason> {
        self.log_in_with(listening, None).await
    }

    /// Logs in and shows a checkpoint that it was given before.
    pub(crate) async fn log_in_with(
        self,
        listening: bool,
        checkpoint: Option<Checkpoint>,
    ) -> Result<Member, Reason> {
        let login = Login {
            instance: InstanceId([self.key.public().as_bytes()[0]; 16]),
            listening,
            hidden: false,
            checkpoint,
        };
        match self.request(&login.into()).await {
            Message::Welcome(welcome) => Ok(Member {
                client: self,
                welcome,
            }),
            Message::Refused(Refused { reason }) => Err(reason),
            other => panic!("not an answer to a login: {other:?}"),
        }
    }

    /// One message on a stream of its own, and the answer.
    pub(crate) async fn request(&self, message: &Message) -> Message {
        let mut stream = self.open().await;
        stream.send(message).await;
        stream.next().await.expect("an answer")
    }

    pub(crate) async fn open(&self) -> Stream {
        let (send, receive) = self.connection.open_bi().await.expect("connected");
        Stream::new(send, receive)
    }
}

/// A session that has logged in.
pub(crate) struct Member {
    pub(crate) client: Client,
    pub(crate) welcome: Welcome,
}

impl Member {
    pub(crate) fn key(&self) -> PublicKey {
        self.client.key.public()
    }

    /// An order of this member, `life` from the login's ledger time, with an id made of `number`.
    pub(crate) fn order(&self, payee: PublicKey, amount: u64, number: u64) -> SignedOrder {
        Signed::new(self.unsigned(payee, amount, number), &self.client.key)
    }

    pub(crate) fn unsigned(&self, payee: PublicKey, amount: u64, number: u64) -> Order {
        let mut random = [0; 10];
        random[2..].copy_from_slice(&number.to_be_bytes());
        Order {
            version: STATEMENT_VERSION,
            ledger: self.welcome.ledger,
            id: OrderId::new(self.welcome.time.plus(Duration::from_secs(60)), random),
            payer: self.key(),
            payee,
            amount: Amount::new(amount).expect("below the maximum"),
            memo: Memo::default(),
            reference: None,
        }
    }

    pub(crate) async fn settle(&self) -> Settle {
        let mut stream = self.client.open().await;
        stream.send(&OpenSettle {}.into()).await;
        Settle { stream, number: 0 }
    }

    pub(crate) async fn balance(&self) -> u64 {
        use quid_common::wire::AskBalance;
        match self.client.request(&AskBalance {}.into()).await {
            Message::Balance(balance) => balance.available.units(),
            other => panic!("not a balance: {other:?}"),
        }
    }

    pub(crate) async fn who(&self) -> Vec<Name> {
        use quid_common::wire::Who;
        let mut names: Vec<Name> = Vec::new();
        loop {
            let after = names.last().cloned();
            match self.client.request(&Who { after, limit: 200 }.into()).await {
                Message::WhoPage(page) => {
                    names.extend(page.people.into_iter().map(|person| person.name));
                    if !page.more {
                        return names;
                    }
                }
                other => panic!("not a page: {other:?}"),
            }
        }
    }

    pub(crate) fn time(&self) -> LedgerTime {
        self.welcome.time
    }

    pub(crate) fn ledger(&self) -> LedgerId {
        self.welcome.ledger
    }

    pub(crate) fn currency(&self) -> &Currency {
        &self.welcome.currency
    }
}

/// A settle stream.
pub(crate) struct Settle {
    pub(crate) stream: Stream,
    number: u64,
}

impl Settle {
    /// Submits one order and waits for the answer, which is never `Submit`'s sender's fault here.
    pub(crate) async fn submit(&mut self, order: &SignedOrder) -> Result<u64, Reason> {
        self.submit_bytes(order.bytes()).await
    }

    pub(crate) async fn submit_bytes(&mut self, order: &[u8]) -> Result<u64, Reason> {
        self.number += 1;
        let order = order.to_vec().into();
        let submit = Submit {
            number: self.number,
            order,
            decline: None,
        };
        self.stream.send(&submit.into()).await;
        self.answer().await
    }

    pub(crate) async fn void(&mut self, member: &Member, id: OrderId) -> Result<u64, Reason> {
        self.number += 1;
        let void = Void::sign(member.ledger(), id, &member.client.key)
            .into_bytes()
            .into();
        self.stream
            .send(
                &SubmitVoid {
                    number: self.number,
                    void,
                }
                .into(),
            )
            .await;
        self.answer().await
    }

    fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    async fn answer(&mut self) -> Result<u64, Reason> {
        let (number, answer) = self.next_answer().await;
        assert_eq!(number, self.number);
        answer
    }

    /// The number of what is answered next, and its entry or why it has none.
    pub(crate) async fn next_answer(&mut self) -> (u64, Result<u64, Reason>) {
        match self.stream.next().await.expect("an answer") {
            Message::Settled(settled) => (settled.number, Ok(settled.receipt.index)),
            Message::Voided(voided) => (voided.number, Ok(voided.receipt.index)),
            Message::SubmitRefused(SubmitRefused { number, reason, .. }) => (number, Err(reason)),
            other => panic!("not an answer to an order: {other:?}"),
        }
    }
}

/// A stream of messages.
pub(crate) struct Stream {
    pub(crate) send: SendStream,
    pub(crate) answers: Answers,
}

impl Stream {
    pub(crate) fn new(send: SendStream, receive: RecvStream) -> Self {
        let answers = Answers {
            receive,
            frames: FrameReader::new(BODY_LEN_MAX),
            run: Run::new(),
            kinds: Vec::new(),
        };
        Self { send, answers }
    }

    pub(crate) async fn send(&mut self, message: &Message) {
        let mut bytes = Vec::new();
        message.to_frame().write(&mut bytes);
        self.send.write_all(&bytes).await.expect("connected");
    }

    /// The next message; `None` if the stream or the connection has ended.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        self.answers.next().await
    }

    /// Both directions, for whoever sends while he reads.
    pub(crate) fn split(self) -> (SendStream, Answers) {
        (self.send, self.answers)
    }
}

/// What comes on a stream.
pub(crate) struct Answers {
    pub(crate) receive: RecvStream,
    frames: FrameReader,
    run: Run,
    /// The kinds of all messages so far, as they came.
    pub(crate) kinds: Vec<u16>,
}

impl Answers {
    /// The next message; `None` if the stream or the connection has ended.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        loop {
            let frame = self.frames.next_frame();
            if let Some(frame) = frame.expect("the directory keeps the cap") {
                self.kinds.push(frame.kind);
                let message = Message::from_frame(&frame).expect("the directory's own encoding");
                return Some(self.run.read(message).expect("one before it"));
            }
            let chunk = self.receive.read_chunk(64 * 1024, true).await.ok()??;
            self.frames.push(&chunk.bytes);
        }
    }
}
