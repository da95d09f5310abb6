//! The system's randomness, as this program's libraries get it.
//!
//! Hash maps and `tokio::select!` draw from the system, and nothing lets their users choose from
//! what. So this program brings the function that they call, `getrandom` of the C library: a thread
//! that simulates draws from its seed, and any other from the kernel. TLS does not ask here; what it
//! draws changes bytes, never their number or order.
#![allow(unsafe_code, reason = "a function of the C library is replaced")]

use std::cell::RefCell;
use std::ffi::{c_uint, c_void};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rustix::rand::GetRandomFlags;

thread_local! {
    static STREAM: RefCell<Option<StdRng>> = const { RefCell::new(None) };
}

/// From now on this thread, which must be new, draws from `seed`.
pub fn draw_from(seed: u64) {
    STREAM.with_borrow_mut(|stream| *stream = Some(StdRng::seed_from_u64(seed)));
}

/// Takes the place of the C library's function.
///
/// # Safety
/// `buffer` must be valid for writing `len` bytes, as for the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut c_void, len: usize, flags: c_uint) -> isize {
    if buffer.is_null() || len == 0 {
        return 0;
    }
    // SAFETY: the caller promises so many bytes; all are written before any is read.
    let bytes = unsafe {
        buffer.cast::<u8>().write_bytes(0, len);
        std::slice::from_raw_parts_mut(buffer.cast::<u8>(), len)
    };
    // A thread that is ending has no stream any more.
    let drawn = STREAM.try_with(|stream| match stream.borrow_mut().as_mut() {
        Some(stream) => {
            stream.fill_bytes(bytes);
            true
        }
        None => false,
    });
    if drawn.unwrap_or(false) {
        return len.cast_signed();
    }
    match rustix::rand::getrandom(bytes, GetRandomFlags::from_bits_retain(flags)) {
        Ok(count) => count.cast_signed(),
        Err(_) => -1,
    }
}
