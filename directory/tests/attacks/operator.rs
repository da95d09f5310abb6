//! The operator's socket in hard times.

use std::time::Duration;

use super::process;
use super::world::Directory;

#[tokio::test]
async fn the_operators_socket_outlives_a_shortage_of_open_files() {
    use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
    use std::io::Read;
    let directory = Directory::start("100");
    directory.member(1, "alice").await;
    let process = i32::try_from(process(&directory))
        .ok()
        .and_then(Pid::from_raw);
    let limit = |most| {
        let limits = Rlimit {
            current: most,
            maximum: getrlimit(Resource::Nofile).maximum,
        };
        prlimit(process, Resource::Nofile, limits).expect("it is ours");
    };
    let before = getrlimit(Resource::Nofile).current;
    limit(Some(3));
    let socket = directory.data().join("operator.sock");
    let mut waiting = std::os::unix::net::UnixStream::connect(socket).expect("it serves");
    waiting
        .set_read_timeout(Some(Duration::from_millis(500)))
        .expect("sound");
    let answer = waiting.read(&mut [0]);
    assert!(answer.is_err(), "the socket was closed: {answer:?}");
    limit(before);
    drop(waiting);
    let issued = directory.run(&["issue", "alice", "1"]);
    assert!(issued.status.success(), "{issued:?}");
}

#[tokio::test]
async fn a_silent_operator_does_not_hold_up_the_stop() {
    let directory = Directory::start("100");
    let socket = directory.data().join("operator.sock");
    let silent = std::os::unix::net::UnixStream::connect(socket).expect("it serves");
    let alice = directory.member(1, "alice").await;
    drop(alice);
    // Asserts that the stop takes less than 5 s.
    directory.stop();
    drop(silent);
}
