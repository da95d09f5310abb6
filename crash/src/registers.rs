//! Where each machine keeps a system call's number, arguments and result.

use nix::libc::user_regs_struct;

/// The call that a stopped thread is about to make: its number and its first arguments.
#[cfg(target_arch = "x86_64")]
pub(crate) fn call(registers: &user_regs_struct) -> (i64, [u64; 3]) {
    let arguments = [registers.rdi, registers.rsi, registers.rdx];
    (registers.orig_rax.cast_signed(), arguments)
}

/// Gives the call other first arguments.
#[cfg(target_arch = "x86_64")]
pub(crate) fn set_arguments(registers: &mut user_regs_struct, first: u64, second: u64) {
    registers.rdi = first;
    registers.rsi = second;
}

/// Makes the call return this.
#[cfg(target_arch = "x86_64")]
pub(crate) fn set_result(registers: &mut user_regs_struct, result: i64) {
    registers.rax = result.cast_unsigned();
}

/// The call that a stopped thread is about to make: its number and its first arguments.
#[cfg(target_arch = "aarch64")]
pub(crate) fn call(registers: &user_regs_struct) -> (i64, [u64; 3]) {
    let [first, second, third, ..] = registers.regs;
    (registers.regs[8].cast_signed(), [first, second, third])
}

/// Gives the call other first arguments.
#[cfg(target_arch = "aarch64")]
pub(crate) fn set_arguments(registers: &mut user_regs_struct, first: u64, second: u64) {
    registers.regs[0] = first;
    registers.regs[1] = second;
}

/// Makes the call return this; set after the arguments, since the result takes the place of the
/// first.
#[cfg(target_arch = "aarch64")]
pub(crate) fn set_result(registers: &mut user_regs_struct, result: i64) {
    registers.regs[0] = result.cast_unsigned();
}
