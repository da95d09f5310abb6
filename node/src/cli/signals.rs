//! SIGINT, SIGTERM and SIGHUP end every command cleanly, and in time.

use std::time::Duration;
use std::{io, process, thread};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that is cancelled by the first signal to stop, and a watchdog that ends the process
/// [`STOP_MAX`] later, whatever hangs.
pub(crate) fn stop_on_signal() -> io::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = Terminate::new()?;
    let cancelled = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            () = terminate.recv() => {}
        }
        stop_now(&cancelled);
        // Somebody who asks twice does not want to wait.
        tokio::select! {
            _ = interrupt.recv() => {}
            () = terminate.recv() => {}
        }
        process::exit(1);
    });
    Ok(stop)
}

/// From now on a file that may not grow any more (`ulimit -f`) fails the write, as a full disk does,
/// instead of ending the process without a word.
pub(crate) fn outlive_file_size_limit() -> io::Result<()> {
    // Taking the signal is all; what has been taken once stays so.
    signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw())).map(drop)
}

/// Cancels `stop`, and sees to it that the process ends within [`STOP_MAX`].
pub(crate) fn stop_now(stop: &CancellationToken) {
    stop.cancel();
    let watchdog = thread::Builder::new().spawn(|| {
        thread::sleep(STOP_MAX);
        process::exit(1);
    });
    if watchdog.is_err() {
        process::exit(1);
    }
}

/// The signals that end a program which handles SIGINT otherwise.
#[derive(Debug)]
pub(crate) struct Terminate {
    terminate: Signal,
    hangup: Signal,
}

impl Terminate {
    /// Takes the signals from now on.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for one of them.
    pub(crate) async fn recv(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

/// Longest time from a signal to the process's end: below the promised 5 s.
const STOP_MAX: Duration = Duration::from_millis(4_500);
