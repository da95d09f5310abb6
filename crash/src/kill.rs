//! `quid-crash kill`: the payer, the payee or the directory is killed at a call of an operation, and
//! perhaps at one of its restart. Afterwards everybody must know the end, and the same one.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::{self, Display, Formatter};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

use crate::Failure;
use crate::operation::{Ready, refs};
use crate::options::Kill;
use crate::point::{Operation, Plot, Point, Victim, Wanted};
use crate::rules::{kill_at, let_go};
use crate::scene::{PATIENCE, Scene};
use crate::stage::Stage;
use crate::trace::Traced;

/// Runs all points that were asked for, and says what was found.
///
/// # Errors
/// The first point after which something was wrong, and how to run it again.
pub(crate) fn run(options: &Kill) -> Result<(), Failure> {
    let seed = options.seed.unwrap_or_else(|| rand::rng().random());
    eprintln!("seed {seed}");
    let wanted = |plot: &Plot| {
        options.wanted.is_empty() || options.wanted.iter().any(|it| it.includes(plot))
    };
    let mut plots: Vec<Plot> = Plot::all().into_iter().filter(wanted).collect();
    // What waits longest goes first.
    plots.sort_by_key(|plot| std::cmp::Reverse(plot.victim));
    let share = options.points.div_ceil(plots.len());
    let queue = Mutex::new(VecDeque::from(plots));
    let tally = Mutex::new(Tally::default());
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..options.jobs {
            scope.spawn(|| {
                while let Some(plot) = pop(&queue) {
                    if let Err(failed) = run_plot(plot, share, seed, options, &tally) {
                        lock(&queue).clear();
                        lock(&tally).failed.push(failed);
                    }
                }
            });
        }
    });
    let tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    tally.report(seed, begun.elapsed())
}

fn pop(queue: &Mutex<VecDeque<Plot>>) -> Option<Plot> {
    lock(queue).pop_front()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All points of one operation and victim, on one scene.
fn run_plot(
    plot: Plot,
    share: usize,
    seed: u64,
    options: &Kill,
    tally: &Mutex<Tally>,
) -> Result<(), String> {
    let begun = Instant::now();
    let stage = Stage::open(plot.victim, None).map_err(|error| format!("{plot}: {error}"))?;
    let mut run = PlotRun { stage };
    let fail = |run: PlotRun, point: &Point, error: Failure| {
        let kept = run.stage.scene.folder.keep();
        format!(
            "{point}: {error}\n  again: cargo run -p quid-crash -- kill {point} --seed {seed}\n  \
             files: {}",
            kept.display()
        )
    };
    // Without a kill, to learn how many calls there are.
    let clean = Point {
        plot,
        nth: 0,
        again: 0,
    };
    let (calls, restart) = match run.measure(&clean) {
        Ok(measured) => measured,
        Err(error) => return Err(fail(run, &clean, error)),
    };
    let mut found = Found::default();
    for point in points(plot, calls, restart, share, seed, options) {
        if found.killed >= share && !options.all {
            break;
        }
        match run.point(&point) {
            Ok(outcome) => found.add(&outcome),
            Err(error) => return Err(fail(run, &point, error)),
        }
    }
    eprintln!(
        "{plot}: {calls} calls, {restart} of a restart; {found} in {:.0?}",
        begun.elapsed()
    );
    lock(tally).plots.insert(plot, found);
    Ok(())
}

/// Which points: one that was named; all, the calls of the restart in turn; or some at random.
fn points(
    plot: Plot,
    calls: u64,
    restart: u64,
    share: usize,
    seed: u64,
    options: &Kill,
) -> Vec<Point> {
    let named = options
        .wanted
        .iter()
        .filter(|it: &&Wanted| it.includes(&plot));
    let named: Vec<Point> = named
        .filter_map(|it| it.calls)
        .map(|(nth, again)| Point { plot, nth, again })
        .collect();
    if !named.is_empty() {
        return named;
    }
    let mut chance = StdRng::seed_from_u64(seed ^ (plot_number(plot) << 32));
    let mut second = |of: u64| match chance.random_bool(0.5) {
        true => chance.random_range(1..=of.max(1)),
        false => 0,
    };
    if options.all {
        let first = (1..=calls).map(|nth| (nth, 0));
        let during_restart = (1..=restart).map(|again| (1 + again % calls.max(1), again));
        let all = first.chain(during_restart);
        return options
            .part
            .of(all.map(|(nth, again)| Point { plot, nth, again }));
    }
    let mut chance = StdRng::seed_from_u64(seed ^ plot_number(plot));
    // Some are past the victim's last call.
    (0..2 * share)
        .map(|_| Point {
            plot,
            nth: chance.random_range(1..=calls.max(1)),
            again: second(restart),
        })
        .collect()
}

fn plot_number(plot: Plot) -> u64 {
    let all = Plot::all();
    let at = all.iter().position(|it| *it == plot);
    at.unwrap_or_default() as u64
}

/// One operation and victim under way.
struct PlotRun {
    stage: Stage,
}

/// What came of a point.
#[derive(Debug)]
struct Outcome {
    /// The call at which the victim was killed; none if it made fewer.
    struck: Option<String>,
    /// Whether it was killed again while it started.
    again: bool,
    /// From when the last fault was over to when everybody knew the end.
    known: Duration,
}

impl PlotRun {
    /// Counts the calls of the operation, and those of a restart.
    fn measure(&mut self, clean: &Point) -> Result<(u64, u64), Failure> {
        let (calls, _) = self.carry_out(clean)?;
        let restart = match clean.plot.victim {
            Victim::Payer => {
                let mut status = self.stage.scene.payer.start(&["status"], Some(let_go()))?;
                status.finish(PATIENCE)?;
                status.traced().map_or(0, |it| it.calls())
            }
            victim => {
                let service = self.stage.scene.service(victim).ok_or("it is no service")?;
                service.running()?.kill()?;
                service.start(None)?.ok_or("it ends at its start")?;
                service.running()?.traced().map_or(0, |it| it.calls())
            }
        };
        Ok((calls, restart))
    }

    fn point(&mut self, point: &Point) -> Result<Outcome, Failure> {
        Ok(self.carry_out(point)?.1)
    }

    /// Carries out the operation with its kills, waits for the end and checks it.
    fn carry_out(&mut self, point: &Point) -> Result<(u64, Outcome), Failure> {
        let Plot { operation, victim } = point.plot;
        let ready = match point.plot.begins_early() {
            false => self.stage.ready(operation)?,
            true => {
                let nth = point.nth;
                let arm = |scene: &mut Scene| {
                    traced(scene, victim)?.arm(kill_at(nth));
                    Ok(())
                };
                self.stage.ready_after(operation, arm)?
            }
        };
        let done = match victim {
            Victim::Payer => self.kill_payer(point, &ready)?,
            _ => self.kill_service(point, &ready)?,
        };
        let outcome = Outcome {
            struck: done.struck,
            again: done.again,
            known: self.stage.end(ready, victim, done.said)?,
        };
        Ok((done.calls, outcome))
    }

    /// The command itself is killed, and the next one of the home too.
    fn kill_payer(&mut self, point: &Point, ready: &Ready) -> Result<Done, Failure> {
        let mut command = ready
            .home
            .start(&refs(&ready.command), Some(kill_at(point.nth)))?;
        let said = command.finish(PATIENCE)?;
        let traced = command.traced().ok_or("it is not traced")?;
        let (calls, struck) = (traced.calls(), traced.struck());
        let mut again = false;
        if struck.is_some() && point.again > 0 {
            let next: &[&str] = match point.plot.operation {
                Operation::Register => &refs(&ready.command),
                _ => &["status"],
            };
            let mut next = ready.home.start(next, Some(kill_at(point.again)))?;
            next.finish(PATIENCE)?;
            again = next.traced().is_some_and(|it| it.struck().is_some());
        }
        Ok(Done {
            said: said.lines.last().cloned(),
            calls,
            struck,
            again,
        })
    }

    /// A service is killed while the payer's command runs beside it, and starts again at once.
    fn kill_service(&mut self, point: &Point, ready: &Ready) -> Result<Done, Failure> {
        let victim = point.plot.victim;
        if !point.plot.begins_early() {
            self.traced(victim)?.arm(kill_at(point.nth));
        }
        let mut command = ready.home.start(&refs(&ready.command), None)?;
        let mut done = Done::default();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let traced = self.traced(victim)?;
            if done.struck.is_none() {
                done.calls = traced.calls();
                done.struck = traced.struck();
                if done.struck.is_some() {
                    done.again = self.restart(point)?;
                }
            }
            let over = command.ended()?.is_some();
            // Whoever is asked may be killed just now.
            if over && (done.struck.is_some() || ready.is_over(&self.stage.scene).unwrap_or(false))
            {
                break;
            }
            if Instant::now() > deadline {
                return Err(format!("{:?} does not end", ready.command).into());
            }
            thread::sleep(Duration::from_millis(4));
        }
        done.said = command.lines()?.pop();
        if done.struck.is_none() {
            self.traced(victim)?.arm(let_go());
        }
        Ok(done)
    }

    /// Starts the victim again, to be killed again as the point says; whether it was.
    fn restart(&mut self, point: &Point) -> Result<bool, Failure> {
        let service = self
            .stage
            .scene
            .service(point.plot.victim)
            .ok_or("it is no service")?;
        // Waits until the kill has come through.
        service.running()?.kill()?;
        let ready = service.start(Some(kill_at(point.again)))?.is_some();
        if ready {
            self.traced(point.plot.victim)?.arm(let_go());
        } else {
            service.running()?.kill()?;
            service.start(None)?.ok_or("it ends at its start")?;
        }
        Ok(!ready)
    }

    fn traced(&mut self, victim: Victim) -> Result<&Traced, Failure> {
        traced(&mut self.stage.scene, victim)
    }
}

fn traced(scene: &mut Scene, victim: Victim) -> Result<&Traced, Failure> {
    let service = scene.service(victim).ok_or("it is no service")?;
    let traced = service.running()?.traced();
    traced.ok_or_else(|| "it is not traced".into())
}

/// What was done to the victim, and what the command said.
#[derive(Default)]
struct Done {
    said: Option<Value>,
    calls: u64,
    struck: Option<String>,
    again: bool,
}

/// What was found at the points of one operation and victim.
#[derive(Debug, Default)]
struct Found {
    points: usize,
    /// Points at which the victim was killed: the others were past its last call.
    killed: usize,
    again: usize,
    slowest: Duration,
}

impl Found {
    fn add(&mut self, outcome: &Outcome) {
        self.points += 1;
        self.killed += usize::from(outcome.struck.is_some());
        self.again += usize::from(outcome.again);
        self.slowest = self.slowest.max(outcome.known);
    }
}

impl Display for Found {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            points,
            killed,
            again,
            slowest,
        } = self;
        write!(
            f,
            "{points} points, {killed} killed, {again} killed again at the restart, every end \
             known within {slowest:.1?}"
        )
    }
}

/// What was found in all.
#[derive(Debug, Default)]
struct Tally {
    plots: BTreeMap<Plot, Found>,
    failed: Vec<String>,
}

impl Tally {
    fn report(self, seed: u64, took: Duration) -> Result<(), Failure> {
        let mut all = Found::default();
        for found in self.plots.values() {
            all.points += found.points;
            all.killed += found.killed;
            all.again += found.again;
            all.slowest = all.slowest.max(found.slowest);
        }
        if !self.failed.is_empty() {
            return Err(self.failed.join("\n").into());
        }
        println!("seed {seed}: {all}; nothing lost, nothing doubled, in {took:.0?}");
        Ok(())
    }
}
