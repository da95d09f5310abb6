//! A secret that is typed on a terminal, which does not show it.

use std::io;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// The terminal behind stdin shows nothing of what is typed, until this is dropped.
#[derive(Debug)]
pub struct Quiet(Termios);

impl Quiet {
    /// None if stdin is no terminal.
    #[must_use]
    pub fn begin() -> Option<Self> {
        let before = tcgetattr(io::stdin()).ok()?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        quiet.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(io::stdin(), OptionalActions::Flush, &quiet).ok()?;
        Some(Self(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}

/// One line from stdin with its end, past the buffers of the standard library, which are not wiped.
/// Waits for it; nothing ends that but the line or the end of the input.
///
/// # Errors
/// It cannot be read.
pub fn read_line() -> io::Result<Zeroizing<Vec<u8>>> {
    let mut line = Zeroizing::new(vec![0; LINE_LEN]);
    let mut len = 0;
    while let Some(rest) = line.get_mut(len..) {
        let read = rustix::io::read(io::stdin(), rest)?;
        len = read.saturating_add(len);
        if read == 0 || line.get(..len).is_some_and(|line| line.ends_with(b"\n")) {
            break;
        }
    }
    line.truncate(len);
    Ok(line)
}

/// As much as a terminal gives in one line, so that no copy is left behind.
const LINE_LEN: usize = 4096;
