//! The model's side: says a token only inside what the tab pays for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quid_common::amount::Amount;
use quid_common::id::OrderId;
use quid_common::tab::units;
use quid_examples::Failure;
use quid_examples::till::{Till, asked_to_stop, charge_to};
use quid_node::{Decision, Home, IncomingTab, Node, Options, TabPolicy};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use crate::Serve;
use crate::model::Answer;

pub(crate) async fn run(serve: &Serve) -> Result<(), Failure> {
    let home = Home::open(&serve.home)?;
    let currency = home.currency().ok_or("register a name first")?;
    let price = currency.parse(&serve.price)?;
    let tabs = TabPolicy {
        // What a crash may cost us.
        exposure: units(price, serve.exposure),
        accept: Some(Arc::new(move |terms| {
            if terms.unit == price {
                Decision::Accept
            } else {
                Decision::Decline
            }
        })),
        ..TabPolicy::default()
    };
    let options = Options {
        listen: true,
        tabs,
        ..Options::default()
    };
    let node = Node::start(home, options).await?;
    node.login().await?;
    let listener = TcpListener::bind(serve.listen).await?;
    println!("{} a token", currency.display(price));
    println!("answers at {}", listener.local_addr()?);

    let till = Till::default();
    tokio::spawn(till.clone().fill(node.clone()));
    let api = Arc::new(Api {
        price,
        window: serve.window,
        pace: Duration::from_millis(serve.pace),
        till,
        meters: Mutex::default(),
    });
    tokio::select! {
        stopped = asked_to_stop() => stopped?,
        failed = listen(api, listener) => failed?,
    }
    // Claims what was paid.
    node.close().await;
    Ok(())
}

async fn listen(api: Arc<Api>, listener: TcpListener) -> Result<(), Failure> {
    loop {
        let (stream, from) = listener.accept().await?;
        let api = Arc::clone(&api);
        tokio::spawn(async move {
            if let Err(error) = api.answer_all(stream).await {
                eprintln!("{from}: {error}");
            }
        });
    }
}

struct Api {
    price: Amount,
    window: u32,
    pace: Duration,
    till: Till,
    meters: Mutex<HashMap<OrderId, Meter>>,
}

/// Tokens that were said for a tab. Whoever holds it says one: no two answers share a unit.
type Meter = Arc<tokio::sync::Mutex<u32>>;

impl Api {
    /// One connection: says the price, hears which tab pays, says what is owed on it, and answers
    /// questions until the client leaves.
    async fn answer_all(&self, stream: TcpStream) -> Result<(), Failure> {
        let mut stream = BufReader::new(stream);
        let welcome = format!("price {} window {}\n", self.price.units(), self.window);
        stream.write_all(welcome.as_bytes()).await?;
        let Some(line) = line(&mut stream).await? else {
            return Ok(());
        };
        let id = line.strip_prefix("tab ").ok_or("no tab was named")?;
        let tab = self.till.find(id.parse()?).await.ok_or("no such tab")?;
        tab.set_window(self.window);
        let meter = self.meter(&tab);
        let said = *meter.lock().await;
        stream
            .write_all(format!("said {said}\n").as_bytes())
            .await?;
        while let Some(line) = self::line(&mut stream).await? {
            let wish = line.strip_prefix("ask ").and_then(|it| it.split_once(' '));
            let (most, question) = wish.ok_or("no question")?;
            for token in Answer::to(question).take(most.parse()?) {
                sleep(self.pace).await;
                let mut said = meter.lock().await;
                tokio::select! {
                    paid = charge_to(&tab, *said + 1, self.window) => paid?,
                    _ = stream.fill_buf() => return Err("the client left".into()),
                }
                stream.write_all(format!("{token}\n").as_bytes()).await?;
                *said += 1;
            }
            stream.write_all(b"\n").await?;
        }
        Ok(())
    }

    /// What was said for a tab. Of one that an earlier run of this program had, everything that is
    /// known to be paid: it was said then. If that run was killed, payments that were not on the
    /// disk are unknown, and count anew when the client's node shows them again.
    fn meter(&self, tab: &IncomingTab) -> Meter {
        let mut meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        let meter = meters.entry(tab.id());
        Arc::clone(meter.or_insert_with(|| Arc::new(tokio::sync::Mutex::new(tab.owed()))))
    }
}

/// The next line, of a bounded length.
async fn line(stream: &mut BufReader<TcpStream>) -> Result<Option<String>, Failure> {
    let mut line = String::new();
    let read = timeout(LINE_WAIT, stream.take(LINE_LEN_MAX).read_line(&mut line)).await??;
    Ok((read > 0).then(|| line.trim_end().to_owned()))
}

/// Longest time between two questions.
const LINE_WAIT: Duration = Duration::from_secs(60);

const LINE_LEN_MAX: u64 = 4096;
