//! The keeper: writes down the furthest links, claims them, and ends tabs in time.
//!
//! One task for all tabs of a node. Saving is one step of the journal for every tab that is due;
//! claims of different tabs run beside each other, those of one tab one after another.

use std::sync::Arc;
use std::time::Duration;

use quid_common::chain::{GAP_MAX, Mark};
use quid_common::entry::Fact;
use quid_common::receipt::Receipt;
use quid_common::refusal::{Class, Reason};
use quid_common::tab::Close;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout};

use super::desk::Desk;
use super::incoming::{Held, Phase, State};
use crate::directory::{Answer, Submission};
use crate::heads::Source;

/// Tabs that are claimed at once.
const CLAIMING_MAX: usize = 64;

/// How long a stopping node may take to claim.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// The longest time between two looks at all tabs.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// The shortest.
const LOOK_PAUSE: Duration = Duration::from_millis(10);

/// Keeps a desk's tabs until the node stops.
pub(crate) async fn keep(desk: Arc<Desk>) {
    desk.resume().await;
    let room = Arc::new(Semaphore::new(CLAIMING_MAX));
    loop {
        let woken = desk.keeper.notified();
        end_expired(&desk);
        save(&desk, |held, state| {
            state.phase().over().is_some()
                || held.is_save_pressing(state)
                || has_waited(&desk, state.unsaved_since)
        })
        .await;
        for held in desk.all() {
            claim_if_due(&desk, held, &room);
        }
        tokio::select! {
            () = woken => {}
            () = sleep_until(next_look(&desk)) => {}
        }
    }
}

/// Saves and claims everything, as far as the time allows: what a node does before it stops.
pub(crate) async fn claim_all(desk: &Arc<Desk>) {
    for held in desk.all() {
        held.stop();
    }
    save(desk, |_, _| true).await;
    let mut claims = tokio::task::JoinSet::new();
    for held in desk.all() {
        let desk = Arc::clone(desk);
        // Beside a claim that is under way this one does no harm.
        let behind = {
            let state = held.lock();
            state.mark.index > state.claimed
        };
        if behind {
            claims.spawn(async move { claim(&desk, &held, Until::Nothing).await });
        }
    }
    let all = async { while claims.join_next().await.is_some() {} };
    let _ = timeout(LAST_WAIT, all).await;
}

/// Whether something has waited for as long as it may.
fn has_waited(desk: &Desk, since: Option<Instant>) -> bool {
    since.is_some_and(|since| since.elapsed() >= desk.policy.every)
}

/// When the next tab is due or ends.
fn next_look(desk: &Desk) -> Instant {
    let now = Instant::now();
    let ledger_now = desk.clock.now();
    let mut next = now + LOOK_EVERY;
    for held in desk.all() {
        let state = held.lock();
        let unclaimed_since = state.unclaimed_since.filter(|_| !state.claiming);
        for since in [state.unsaved_since, unclaimed_since].into_iter().flatten() {
            let due = since.checked_add(desk.policy.every);
            next = next.min(due.unwrap_or(next));
        }
        if let Some(ledger_now) = ledger_now
            && state.phase().over().is_none()
        {
            next = next.min(now + state.expires.since(ledger_now));
        }
    }
    // Whatever has no room just now does not keep us running in circles.
    next.max(now + LOOK_PAUSE)
}

/// Ends the tabs whose time has passed: the last links are claimed within the grace.
fn end_expired(desk: &Desk) {
    let Some(now) = desk.clock.now() else { return };
    for held in desk.all() {
        if held.expire(now) {
            held.tell();
        }
    }
}

/// Writes down the furthest links of the tabs that `test` picks.
async fn save(desk: &Desk, test: impl Fn(&Held, &State) -> bool) {
    let mut marks = Vec::new();
    let mut saved = Vec::new();
    for held in desk.all() {
        let mark = {
            let state = held.lock();
            (state.mark.index > state.saved && test(&held, &state)).then_some(state.mark)
        };
        if let Some(mark) = mark {
            let (payer, id) = held.which();
            marks.push((payer, id, mark));
            saved.push((held, mark.index));
        }
    }
    if marks.is_empty() {
        return;
    }
    match desk.books.home.journal().save_marks(marks).await {
        Ok(()) => {
            for (held, index) in saved {
                {
                    let mut state = held.lock();
                    state.saved = state.saved.max(index);
                    let more = state.mark.index > state.saved;
                    state.unsaved_since = more.then(Instant::now);
                }
                held.tell();
            }
        }
        Err(error) => {
            // Nothing more is taken than what the exposure allows.
            tracing::error!(%error, "cannot save what tabs have paid");
            for (held, _) in saved {
                held.lock().unsaved_since = Some(Instant::now());
            }
        }
    }
}

/// Starts claiming a tab that is due, unless that is under way.
fn claim_if_due(desk: &Arc<Desk>, held: Arc<Held>, room: &Arc<Semaphore>) {
    if desk.directory.is_over() {
        return;
    }
    let due = {
        let state = held.lock();
        let late =
            state.late || held.is_claim_pressing(&state) || has_waited(desk, state.unclaimed_since);
        let behind = state.mark.index > state.claimed;
        let due = match state.phase() {
            Phase::Open | Phase::Stopping => behind && late,
            Phase::Ending(_) => true,
            Phase::Over(_) => false,
        };
        due && !state.claiming
    };
    if !due {
        return;
    }
    let Ok(place) = Arc::clone(room).try_acquire_owned() else {
        return;
    };
    {
        let mut state = held.lock();
        state.claiming = true;
        state.late = false;
    }
    let this = Arc::clone(desk);
    desk.tasks.spawn(async move {
        let _place = place;
        claim(&this, &held, Until::Little).await;
        held.lock().claiming = false;
        held.tell();
        this.keeper.notify_one();
    });
}

/// What an answer to a claim or close came to.
enum Next {
    /// Go on with the next.
    On,
    /// Ask again after a while.
    Again,
    /// Nothing of the tab is left.
    Gone,
}

/// How long claiming goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// What is left may wait its time: a stream of payments does not become one of claims.
    Little,
    Nothing,
}

/// Claims what is paid by now, and closes the tab if it is ending.
async fn claim(desk: &Arc<Desk>, held: &Held, until: Until) {
    let mut backoff = desk.books.home.backoff();
    // What was paid when this began is claimed in any case.
    let paid = held.lock().mark.index;
    loop {
        let (step, closing) = {
            let mut state = held.lock();
            let closing = match state.phase() {
                Phase::Open | Phase::Stopping => false,
                Phase::Ending(_) => true,
                Phase::Over(_) => return,
            };
            let behind = state.mark.index > state.claimed;
            // Whatever is not claimed now begins a new time.
            state.unclaimed_since = behind.then(Instant::now);
            let wait = until == Until::Little
                && state.claimed >= paid
                && !closing
                && !held.is_claim_pressing(&state);
            let step = (behind && !wait).then(|| (state.claimed, state.target()));
            (step, closing)
        };
        let next = match step {
            Some((from, mark)) => claim_step(desk, held, from, mark).await,
            None if closing => close(desk, held).await,
            None => return,
        };
        match next {
            Next::On => {}
            Next::Again => {
                if desk.directory.any_link().await.is_none() {
                    return;
                }
                backoff.wait().await;
            }
            Next::Gone => return gone(desk, held).await,
        }
    }
}

/// Claims one step: at most [`GAP_MAX`] units.
async fn claim_step(desk: &Arc<Desk>, held: &Held, from: u32, mark: Mark) -> Next {
    let (payer, id) = held.which();
    // Hashed anew only after a restart, or past a single payment as large as a claim.
    let to = mark.index.min(from.saturating_add(GAP_MAX));
    let lower = move || mark.lower(&id, to);
    let target = if mark.index == to {
        Some(mark)
    } else {
        let workers = desk.books.home.surroundings().workers;
        workers.run(lower).await.flatten()
    };
    let (Some(target), Some(link)) = (target, desk.directory.any_link().await) else {
        return Next::Again;
    };
    let submission = Submission::Claim {
        payer,
        id,
        from,
        mark: target,
    };
    match link.submit(submission).await {
        Ok(Answer::Settled(receipt)) => claimed(desk, held, target, receipt).await,
        Ok(Answer::Refused(Reason::STALE_CLAIM, _)) => catch_up(desk, held).await,
        Ok(Answer::Refused(Reason::NO_TAB, _)) => Next::Gone,
        Ok(Answer::Refused(reason, _)) if reason.class() == Class::NotFinal => Next::Again,
        Ok(Answer::Refused(reason, _)) => {
            tracing::error!(tab = %id, reason = reason.name(), "a claim was refused");
            Next::Again
        }
        Ok(Answer::Voided(_)) | Err(_) => Next::Again,
    }
}

/// Takes what proves a claim.
async fn claimed(desk: &Desk, held: &Held, target: Mark, receipt: Receipt) -> Next {
    let (payer, id) = held.which();
    let proven = match desk.books.trust.prove(&receipt, Source::Directory) {
        Ok(proven) => proven,
        Err(error) => {
            tracing::error!(tab = %id, %error, "a claim's receipt proves nothing");
            return Next::Again;
        }
    };
    let Fact::Claim(fact) = &proven.entry().fact else {
        return Next::Again;
    };
    let ours = (fact.payer, fact.id, fact.index, fact.link);
    if ours != (payer, id, target.index, target.link) {
        tracing::error!(tab = %id, "a receipt about something else was given for a claim");
        return Next::Again;
    }
    let index = fact.index;
    let journal = desk.books.home.journal();
    if let Err(error) = journal.tab_claimed(payer, id, index).await {
        // The directory knows it all the same, and tells it when asked.
        tracing::error!(tab = %id, %error, "cannot keep a claim");
    }
    {
        let mut state = held.lock();
        state.claimed = state.claimed.max(index);
        state.saved = state.saved.max(index);
        if state.saved >= state.mark.index {
            state.unsaved_since = None;
        }
    }
    tracing::info!(
        tab = %id, entry = proven.index(), units = index.saturating_sub(fact.from), payer = %payer.short(), "claimed"
    );
    held.tell();
    desk.tell(held, Some(proven.index()));
    Next::On
}

/// Learns from the directory what is claimed.
async fn catch_up(desk: &Desk, held: &Held) -> Next {
    let (payer, id) = held.which();
    match desk.directory.ask_tab(payer, id).await {
        Ok(Some(open)) => {
            let mut state = held.lock();
            state.expires = state.expires.min(open.expires);
            if state.claimed >= open.claimed {
                return Next::Again;
            }
            state.claimed = open.claimed;
            Next::On
        }
        Ok(None) => Next::Gone,
        Err(_) => Next::Again,
    }
}

/// Gives back what is not claimed.
async fn close(desk: &Arc<Desk>, held: &Held) -> Next {
    let (payer, id) = held.which();
    let Some(link) = desk.directory.any_link().await else {
        return Next::Again;
    };
    let close = Close::sign(link.welcome.ledger, payer, id, desk.books.home.secret());
    match link.submit(Submission::Close(close.into_bytes())).await {
        Ok(Answer::Settled(_)) | Ok(Answer::Refused(Reason::NO_TAB, _)) => Next::Gone,
        Ok(Answer::Refused(reason, _)) => {
            tracing::debug!(tab = %id, reason = reason.name(), "a close was refused");
            Next::Again
        }
        Ok(Answer::Voided(_)) | Err(_) => Next::Again,
    }
}

/// Nothing of the tab is left at the directory.
async fn gone(desk: &Desk, held: &Held) {
    let (payer, id) = held.which();
    if let Err(error) = desk
        .books
        .home
        .journal()
        .incoming_tab_ended(payer, id)
        .await
    {
        tracing::error!(tab = %id, %error, "cannot note that a tab has ended");
    }
    let lost = held.gone();
    desk.forget(&held.which());
    // A node that stops claims beside what is under way, and both come here.
    let Some(lost) = lost else { return };
    if lost > 0 {
        tracing::error!(
            tab = %id, payer = %payer.short(), units = lost,
            "a tab was released before all that it paid was claimed"
        );
    }
    tracing::info!(tab = %id, payer = %payer.short(), "tab over");
    desk.tell(held, None);
}
