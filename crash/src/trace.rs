//! A program whose every system call is seen before it is made, and at any of which it can be
//! killed or told that the disk has failed.
//!
//! The calls that have an effect are counted over all threads of the program, in the order in which
//! it makes them.

use std::collections::HashMap;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};

use nix::errno::Errno;
use nix::libc::{PTRACE_SYSCALL_INFO_ENTRY, PTRACE_SYSCALL_INFO_EXIT};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::Failure;
use crate::calls::Call;
use crate::registers;

/// What to do with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Do {
    /// It is made.
    Go,
    /// The program is killed, and the call is not made.
    Kill,
    /// It is not made, and fails with this error.
    Fail(Errno),
}

/// Decides what to do with each call that has an effect.
pub(crate) type Rule = Box<dyn FnMut(&Call) -> Do + Send>;

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By itself, with this exit code.
    Code(i32),
    /// By a signal.
    Signal(Signal),
}

/// A traced program.
#[derive(Debug)]
pub(crate) struct Traced {
    pid: Pid,
    shared: Arc<Mutex<State>>,
    follower: Option<JoinHandle<()>>,
}

struct State {
    rule: Rule,
    /// Calls with an effect since the rule was given.
    calls: u64,
    /// The first call that was not made.
    struck: Option<String>,
    ended: Option<Ended>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("calls", &self.calls)
            .field("struck", &self.struck)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl Traced {
    /// Starts a launcher under `rule`; it becomes the program to be traced.
    pub(crate) fn start(mut launcher: Command, rule: Rule) -> Result<Self, Failure> {
        let shared = Arc::new(Mutex::new(State {
            rule,
            calls: 0,
            struck: None,
            ended: None,
        }));
        let (sender, started) = mpsc::channel();
        let state = Arc::clone(&shared);
        // Only the thread that starts a program may trace it.
        let follower = thread::Builder::new().name("trace".into()).spawn(move || {
            let pid = match launcher.spawn() {
                Ok(child) => Pid::from_raw(child.id().cast_signed()),
                Err(error) => return drop(sender.send(Err(error))),
            };
            // What the launcher holds open is not waited for.
            drop(launcher);
            let _ = sender.send(Ok(pid));
            if let Err(error) = follow(pid, &state) {
                eprintln!("quid-crash: cannot trace process {pid}: {error}");
                let _ = kill(pid, Signal::SIGKILL);
            }
            lock(&state)
                .ended
                .get_or_insert(Ended::Signal(Signal::SIGKILL));
        })?;
        let pid = started.recv()??;
        Ok(Self {
            pid,
            shared,
            follower: Some(follower),
        })
    }

    /// From now on this rule holds, and calls are counted anew.
    pub(crate) fn arm(&self, rule: Rule) {
        let mut state = lock(&self.shared);
        state.rule = rule;
        state.calls = 0;
        state.struck = None;
    }

    /// Calls with an effect since the rule was given.
    pub(crate) fn calls(&self) -> u64 {
        lock(&self.shared).calls
    }

    /// The first call that the rule did not let go.
    pub(crate) fn struck(&self) -> Option<String> {
        lock(&self.shared).struck.clone()
    }

    pub(crate) fn ended(&self) -> Option<Ended> {
        lock(&self.shared).ended
    }

    /// Kills it, if it runs, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        if self.ended().is_none() {
            // It may be ending just now.
            let _ = kill(self.pid, Signal::SIGKILL);
        }
        if let Some(follower) = self.follower.take() {
            // A panic in it has been printed.
            let _ = follower.join();
        }
    }
}

/// Calls that are failing, by thread: the error, and what the arguments were.
type Failing = HashMap<Pid, (Errno, [u64; 3])>;

/// Sees the program through all its calls to its end.
fn follow(main: Pid, shared: &Mutex<State>) -> nix::Result<()> {
    let mut failing = Failing::new();
    // The stop that a thread begins with is ours, not a signal for it.
    let mut met = vec![main];
    let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
    let mut begun = false;
    loop {
        let status = match waitpid(None, Some(flags)) {
            Ok(status) => status,
            Err(Errno::EINTR) => continue,
            // All threads are gone.
            Err(Errno::ECHILD) => return Ok(()),
            Err(error) => return Err(error),
        };
        let (thread, signal) = match status {
            WaitStatus::Exited(pid, code) => {
                if pid == main {
                    lock(shared).ended = Some(Ended::Code(code));
                }
                continue;
            }
            WaitStatus::Signaled(pid, signal, _) => {
                if pid == main {
                    lock(shared).ended = Some(Ended::Signal(signal));
                }
                continue;
            }
            WaitStatus::PtraceSyscall(thread) => {
                gone(at_call(thread, main, shared, &mut failing))?;
                (thread, None)
            }
            WaitStatus::Stopped(thread, Signal::SIGTRAP) if !begun => {
                begun = true;
                ptrace::setoptions(thread, OPTIONS)?;
                (thread, None)
            }
            WaitStatus::Stopped(thread, Signal::SIGSTOP) if !met.contains(&thread) => {
                met.push(thread);
                (thread, None)
            }
            WaitStatus::Stopped(thread, signal) => (thread, Some(signal)),
            WaitStatus::PtraceEvent(thread, ..) => (thread, None),
            WaitStatus::Continued(_) | WaitStatus::StillAlive => continue,
        };
        gone(ptrace::syscall(thread, signal))?;
    }
}

/// A thread stands before or behind a call.
fn at_call(
    thread: Pid,
    main: Pid,
    shared: &Mutex<State>,
    failing: &mut Failing,
) -> nix::Result<()> {
    match ptrace::syscall_info(thread)?.op {
        PTRACE_SYSCALL_INFO_ENTRY => {
            let mut registers = ptrace::getregs(thread)?;
            let (number, arguments) = registers::call(&registers);
            let Some(call) = Call::new(thread, number, arguments) else {
                return Ok(());
            };
            match lock(shared).judge(&call) {
                Do::Go => Ok(()),
                Do::Kill => kill(main, Signal::SIGKILL),
                Do::Fail(error) => {
                    failing.insert(thread, (error, arguments));
                    // With a file that is not open and a name that is nowhere it has no effect.
                    registers::set_arguments(&mut registers, u64::MAX, u64::MAX);
                    ptrace::setregs(thread, registers)
                }
            }
        }
        PTRACE_SYSCALL_INFO_EXIT => match failing.remove(&thread) {
            Some((error, [first, second, _])) => {
                let mut registers = ptrace::getregs(thread)?;
                registers::set_arguments(&mut registers, first, second);
                registers::set_result(&mut registers, -i64::from(error as i32));
                ptrace::setregs(thread, registers)
            }
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

impl State {
    fn judge(&mut self, call: &Call) -> Do {
        if self.struck.is_some() && self.ended.is_some() {
            return Do::Go;
        }
        self.calls += 1;
        let what = (self.rule)(call);
        if what != Do::Go {
            self.struck.get_or_insert_with(|| call.to_string());
        }
        what
    }
}

/// A thread that is gone needs nothing more.
fn gone(result: nix::Result<()>) -> nix::Result<()> {
    match result {
        Err(Errno::ESRCH) => Ok(()),
        result => result,
    }
}

fn lock(shared: &Mutex<State>) -> MutexGuard<'_, State> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All threads are followed, and nothing outlives this process.
const OPTIONS: Options = Options::PTRACE_O_TRACESYSGOOD
    .union(Options::PTRACE_O_TRACECLONE)
    .union(Options::PTRACE_O_TRACEFORK)
    .union(Options::PTRACE_O_TRACEVFORK)
    .union(Options::PTRACE_O_TRACEEXEC)
    .union(Options::PTRACE_O_EXITKILL);
