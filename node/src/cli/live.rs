//! The tabs that run, below a listener's events: a line each, written over in place.

use std::future::ready;
use std::io;
use std::time::Duration;

use quid_common::amount::{Amount, Currency};
use quid_common::key::PublicKey;
use quid_common::name::Name;
use quid_common::tab::{Terms, units};
use quid_node::{Event, IncomingTab, Node, Role, Tab, TabItem, TabStage};
use rustix::termios::tcgetwinsize;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::screen::{Output, Sink};

/// Shows the tabs that pay `node` and those that it pays on, until the node is closed.
pub(crate) async fn show(node: &Node, sink: &Sink) {
    let mut tabs = Vec::new();
    let mut events = node.events();
    let mut shown = Vec::new();
    let mut ticks = interval(REDRAW_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            tab = node.next_tab() => match tab {
                Some(tab) => tabs.push(Running::new(End::Payee(tab))),
                None => return,
            },
            event = events.next() => match event {
                Some(Event::Tab(told)) => hear(&mut tabs, node, &told).await,
                Some(_) => {}
                None => return,
            },
            _ = ticks.tick() => {
                let lines = look(&mut tabs, node).await;
                if lines != shown {
                    sink.try_send(Output::Foot(lines.clone()));
                    shown = lines;
                }
            }
        }
    }
}

async fn hear(tabs: &mut Vec<Running>, node: &Node, told: &TabItem) {
    match told.role {
        Role::Payer if told.stage == TabStage::Open => {
            // This process opened it just now, and so has it at hand.
            if let Ok(tab) = node.tab(told.tab).await {
                tabs.push(Running::new(End::Payer(tab)));
            }
        }
        Role::Payer => {}
        Role::Payee => {
            for tab in tabs.iter_mut() {
                let terms = tab.end.terms();
                if (terms.payer, terms.id) == (told.key, told.tab) {
                    tab.claimed = told.claimed.unwrap_or_default();
                }
            }
        }
    }
}

/// Lets go of the tabs that are over, and gives a line for each of the others that has room.
async fn look(tabs: &mut Vec<Running>, node: &Node) -> Vec<String> {
    let mut running = Vec::with_capacity(tabs.len());
    for mut tab in tabs.drain(..) {
        if !tab.end.is_over().await {
            tab.count();
            running.push(tab);
        }
    }
    *tabs = running;
    if tabs.is_empty() {
        return Vec::new();
    }
    let currency = node.home().currency().unwrap_or_default();
    let (width, height) = size();
    let room = (height / 2).clamp(1, LINES_MAX);
    // Those that moved last, in the order in which they came.
    let mut newest: Vec<Instant> = tabs.iter().map(|tab| tab.moved).collect();
    newest.sort_unstable_by(|one, two| two.cmp(one));
    let oldest = newest.get(room - 1).copied();
    let mut lines: Vec<String> = tabs
        .iter()
        .filter(|tab| oldest.is_none_or(|oldest| tab.moved >= oldest))
        .take(room)
        .map(|tab| tab.line(&currency, width))
        .collect();
    let hidden = tabs.len() - lines.len();
    if hidden > 0 {
        lines.push(fitting(&[format!("and {hidden} more")], width));
    }
    lines
}

/// One tab, and how fast it is paid.
struct Running {
    end: End,
    /// Units paid when they were last counted, and when that was.
    counted: (u32, Instant),
    /// Units a second between the last two counts.
    rate: u64,
    paid: u32,
    claimed: u32,
    /// When something was paid last.
    moved: Instant,
}

/// Either end of a tab.
enum End {
    Payer(Tab),
    Payee(IncomingTab),
}

impl Running {
    fn new(end: End) -> Self {
        let (paid, now) = (end.paid(), Instant::now());
        Self {
            counted: (paid, now),
            rate: 0,
            paid,
            claimed: 0,
            moved: now,
            end,
        }
    }

    /// Counts what is paid by now.
    fn count(&mut self) {
        let (paid, now) = (self.end.paid(), Instant::now());
        if paid != self.paid {
            self.paid = paid;
            self.moved = now;
        }
        let (before, since) = self.counted;
        let time = now.duration_since(since);
        if time >= RATE_OVER {
            let units = u64::from(paid.saturating_sub(before));
            let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
            self.rate = units.saturating_mul(1_000) / millis;
            self.counted = (paid, now);
        }
    }

    /// As much as `width` has room for: who and how much first.
    fn line(&self, currency: &Currency, width: usize) -> String {
        let terms = self.end.terms();
        let amount = units(terms.unit, self.paid).unwrap_or(Amount::MAX);
        let sign = match self.end {
            End::Payer(_) => '-',
            End::Payee(_) => '+',
        };
        let amount = format!("{sign}{}", currency.format(amount));
        let mut who = self.end.who();
        who.truncate(width.saturating_sub(amount.len() + 2).max(WHO_LEN_MIN));
        let mut parts = vec![
            format!("{who} {amount}"),
            format!(" {}", currency.code()),
            format!("  {}/{} units", self.paid, terms.length),
        ];
        if self.rate > 0 {
            parts.push(format!("  {}/s", self.rate));
        }
        if self.claimed > 0 {
            parts.push(format!("  {} claimed", self.claimed));
        }
        fitting(&parts, width)
    }
}

impl End {
    fn terms(&self) -> &Terms {
        match self {
            Self::Payer(tab) => tab.terms(),
            Self::Payee(tab) => tab.terms(),
        }
    }

    fn paid(&self) -> u32 {
        match self {
            Self::Payer(tab) => tab.progress().paid,
            Self::Payee(tab) => tab.paid(),
        }
    }

    /// The other side's name, or the beginning of its key until the name is known. Both are ASCII.
    fn who(&self) -> String {
        let short = |key: PublicKey| key.short().to_string();
        match self {
            Self::Payer(tab) => tab.payee().to_string(),
            Self::Payee(tab) => {
                let name: Option<Name> = tab.payer();
                name.map_or_else(|| short(tab.terms().payer), |name| name.to_string())
            }
        }
    }

    async fn is_over(&self) -> bool {
        let over = async {
            match self {
                Self::Payer(tab) => tab.accepted().await.is_err(),
                Self::Payee(tab) => {
                    tab.over().await;
                    true
                }
            }
        };
        tokio::select! {
            biased;
            over = over => over,
            () = ready(()) => false,
        }
    }
}

/// The first of `parts` and as many more as `width` has room for. The last column stays free: some
/// terminals go on to the next line from there.
fn fitting(parts: &[String], width: usize) -> String {
    let mut line = String::new();
    for part in parts {
        if !line.is_empty() && line.len() + part.len() >= width {
            break;
        }
        line.push_str(part);
    }
    line.truncate(width.saturating_sub(1).max(1));
    line
}

/// The terminal's columns and rows.
fn size() -> (usize, usize) {
    match tcgetwinsize(io::stderr()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
            (usize::from(size.ws_col), usize::from(size.ws_row))
        }
        Ok(_) | Err(_) => (80, 24),
    }
}

/// How often the lines are drawn at most.
const REDRAW_EVERY: Duration = Duration::from_millis(250);

/// The time over which payments are counted for the rate.
const RATE_OVER: Duration = Duration::from_secs(1);

/// Most tabs that have a line.
const LINES_MAX: usize = 10;

/// As much of a name as is shown however little room there is.
const WHO_LEN_MIN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_line_shows_the_beginning_and_leaves_the_last_column_free() {
        let parts = ["alice +0.000300", " QUID", "  300/50000 units", "  25/s"];
        let parts: Vec<String> = parts.iter().map(ToString::to_string).collect();
        for (width, line) in [
            (10, "alice +0."),
            (16, "alice +0.000300"),
            (20, "alice +0.000300"),
            (21, "alice +0.000300 QUID"),
            (37, "alice +0.000300 QUID"),
            (38, "alice +0.000300 QUID  300/50000 units"),
            (80, "alice +0.000300 QUID  300/50000 units  25/s"),
        ] {
            assert_eq!(fitting(&parts, width), line, "{width}");
        }
        assert_eq!(fitting(&parts, 0), "a");
    }
}
