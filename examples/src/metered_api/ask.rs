//! The client's side: pays for tokens as they come, and never more than it said.

use std::io::Write;
use std::time::Duration;

use quid_common::amount::{Amount, Currency};
use quid_common::tab::units;
use quid_examples::till::asked_to_stop;
use quid_examples::{Failure, purse};
use quid_node::{Home, Node, Options, Tab};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::Ask;

pub(crate) async fn run(ask: &Ask) -> Result<(), Failure> {
    let node = Node::start(Home::open(&ask.home)?, Options::default()).await?;
    let currency = node.login().await?.currency;
    let ended = tokio::select! {
        ended = ask_all(ask, &node, &currency) => ended,
        stopped = asked_to_stop() => {
            stopped?;
            Err("stopped".into())
        }
    };
    node.close().await;
    ended
}

async fn ask_all(ask: &Ask, node: &Node, currency: &Currency) -> Result<(), Failure> {
    let mut stream = BufReader::new(TcpStream::connect(ask.address).await?);
    let welcome = line(&mut stream).await?;
    let mut words = welcome.split(' ');
    let mut number = |name| {
        let named = words.next() == Some(name);
        let number = words.next().and_then(|word| word.parse::<u64>().ok());
        number.filter(|_| named).ok_or("the seller says no price")
    };
    let price = Amount::new(number("price")?).ok_or("no amount")?;
    let window = u32::try_from(number("window")?)?;
    if price > currency.parse(&ask.price)? {
        return Err(format!("a token costs {}", currency.display(price)).into());
    }
    // Somebody has to begin.
    let ahead = ask.ahead.max(u32::from(window == 0));
    let all = ask.most.saturating_mul(u32::try_from(ask.questions.len())?);
    let wanted = all.saturating_add(ahead).saturating_add(window);
    // An earlier run's tab will do if enough is left on it.
    let fits = |item: &quid_node::TabItem| item.units.saturating_sub(item.paid) >= wanted;
    let tab = purse::tab_to(node, &ask.seller, price, wanted, fits).await?;
    timeout(ANSWER_WAIT, tab.accepted()).await??;
    stream
        .write_all(format!("tab {}\n", tab.id()).as_bytes())
        .await?;
    let said = line(&mut stream).await?;
    let said = said.strip_prefix("said ").ok_or("the seller is confused")?;
    let mut had: u32 = said.parse()?;
    // What came on credit before and was not paid then: never more than the window.
    if had > tab.progress().queued.saturating_add(window) {
        return Err("the seller wants to be paid for what it did not say".into());
    }
    for question in &ask.questions {
        println!("> {question}");
        let question = format!("ask {} {}\n", ask.most, question.replace('\n', " "));
        stream.write_all(question.as_bytes()).await?;
        let count = answer(&mut stream, &tab, ahead, &mut had).await?;
        let paid = units(price, count).unwrap_or(Amount::MAX);
        println!("\n  ({count} tokens, {})", currency.display(paid));
    }
    let paid = purse::close_all(node, &ask.seller).await?;
    println!("the tab paid {}", currency.display(paid));
    Ok(())
}

/// Shows an answer as it comes, and pays for it; how many tokens it had.
async fn answer(
    stream: &mut BufReader<TcpStream>,
    tab: &Tab,
    ahead: u32,
    had: &mut u32,
) -> Result<u32, Failure> {
    let mut count = 0;
    loop {
        pay_up_to(tab, had.saturating_add(ahead)).await?;
        let token = line(stream).await?;
        if token.is_empty() {
            return Ok(count);
        }
        (count, *had) = (count + 1, *had + 1);
        print!("{token} ");
        std::io::stdout().flush()?;
    }
}

async fn pay_up_to(tab: &Tab, total: u32) -> Result<(), Failure> {
    let more = total.saturating_sub(tab.progress().queued);
    if more > 0 {
        timeout(ANSWER_WAIT, tab.send(more)).await??;
    }
    Ok(())
}

async fn line(stream: &mut BufReader<TcpStream>) -> Result<String, Failure> {
    let mut line = String::new();
    match timeout(ANSWER_WAIT, stream.read_line(&mut line)).await?? {
        0 => Err("the seller has left; ask again".into()),
        _ => Ok(line.trim_end().to_owned()),
    }
}

/// Longest time for a token, or for the seller to take money.
const ANSWER_WAIT: Duration = Duration::from_secs(15);
