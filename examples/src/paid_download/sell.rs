//! The seller: streams the file to whoever connects, only inside what its tab pays for.

use std::sync::Arc;
use std::time::Duration;

use quid_common::amount::Amount;
use quid_common::id::OrderId;
use quid_common::tab::units;
use quid_examples::Failure;
use quid_examples::till::{Till, asked_to_stop, charge_to};
use quid_node::{Decision, Home, IncomingTab, Node, Options, TabPolicy};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::Sell;
use crate::manifest::Manifest;

pub(crate) async fn run(sell: &Sell) -> Result<(), Failure> {
    let home = Home::open(&sell.home)?;
    let currency = home.currency().ok_or("register a name first")?;
    let price = currency.parse(&sell.price)?;
    let path = sell.file.clone();
    let manifest = tokio::task::spawn_blocking(move || Manifest::of(&path)).await??;
    let chunks = manifest.chunks();
    let options = Options {
        listen: true,
        tabs: TabPolicy {
            // Of what is sold here a crash may cost us so much.
            exposure: units(price, EXPOSURE),
            // A unit pays for a chunk, or the tab is not for this.
            accept: Some(Arc::new(move |terms| {
                if terms.unit == price && terms.length <= chunks {
                    Decision::Accept
                } else {
                    Decision::Decline
                }
            })),
            ..TabPolicy::default()
        },
        ..Options::default()
    };
    let node = Node::start(home, options).await?;
    node.login().await?;
    let listener = TcpListener::bind(sell.listen).await?;
    println!(
        "file {}: {chunks} chunks for {} each",
        manifest.id(),
        currency.display(price)
    );
    println!("data at {}", listener.local_addr()?);

    let till = Till::default();
    tokio::spawn(till.clone().fill(node.clone()));
    let shop = Arc::new(Shop {
        path: sell.file.clone(),
        manifest,
        price,
        window: sell.window,
        till,
    });
    tokio::select! {
        stopped = asked_to_stop() => stopped?,
        failed = serve(shop, listener) => failed?,
    }
    // Claims what was paid.
    node.close().await;
    Ok(())
}

struct Shop {
    path: std::path::PathBuf,
    manifest: Manifest,
    price: Amount,
    window: u32,
    till: Till,
}

async fn serve(shop: Arc<Shop>, listener: TcpListener) -> Result<(), Failure> {
    loop {
        let (stream, from) = listener.accept().await?;
        let shop = Arc::clone(&shop);
        tokio::spawn(async move {
            if let Err(error) = shop.hand_out(stream).await {
                eprintln!("{from}: {error}");
            }
        });
    }
}

impl Shop {
    /// One connection: says what is sold, hears which tab pays and which chunk is wanted first, and
    /// hands over from there on.
    async fn hand_out(&self, mut stream: TcpStream) -> Result<(), Failure> {
        let mut id = [0; 16];
        let wish = async {
            stream.write_u64(self.price.units()).await?;
            stream.write_u32(self.window).await?;
            self.manifest.write_to(&mut stream).await?;
            stream.read_exact(&mut id).await?;
            stream.read_u32().await
        };
        let first = timeout(WISH_WAIT, wish).await??;
        let id = OrderId::from_bytes(id).ok_or("no tab's id")?;
        let tab = self.till.find(id).await.ok_or("no such tab")?;
        tab.set_window(self.window);
        // A tab of n units pays for the last n chunks: so both know which unit is which chunk's,
        // whatever happened to either.
        let paid_before = self.manifest.chunks() - tab.terms().length;
        if first < paid_before {
            return Err("the tab does not pay for that chunk".into());
        }
        let mut file = File::open(&self.path).await?;
        for chunk in first..self.manifest.chunks() {
            let paid = charge_to(&tab, chunk - paid_before + 1, self.window);
            tokio::select! {
                paid = paid => paid?,
                () = gone(&stream) => return Err("the buyer left".into()),
            }
            let (begin, len) = self.manifest.place(chunk);
            let mut bytes = vec![0; len];
            file.seek(std::io::SeekFrom::Start(begin)).await?;
            file.read_exact(&mut bytes).await?;
            timeout(WRITE_WAIT, stream.write_all(&bytes)).await??;
        }
        done(&tab);
        Ok(())
    }
}

fn done(tab: &IncomingTab) {
    let payer = tab
        .payer()
        .map_or("somebody".to_owned(), |it| it.to_string());
    println!("{payer} has it all, on tab {}", tab.id());
}

/// Waits until the other side has ended the connection. It has nothing more to say.
async fn gone(stream: &TcpStream) {
    let _ = stream.peek(&mut [0]).await;
}

/// Chunks that may be paid and not be on our disk yet.
const EXPOSURE: u32 = 16;

/// Longest time for a buyer to say what it wants.
const WISH_WAIT: Duration = Duration::from_secs(60);

/// Longest time for a buyer to take one chunk.
const WRITE_WAIT: Duration = Duration::from_secs(60);
