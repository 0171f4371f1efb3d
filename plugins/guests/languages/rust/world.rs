//! The plugin world (plugins/wit/tars.wit) for plugins in Rust, by the
//! canonical ABI. A plugin has `fn handle(capability: &str, input: &str) ->
//! Result<String, Failure>` in its root; the rest is here.

use std::alloc::{alloc, handle_alloc_error, realloc, Layout};
use std::mem::{forget, take};

/// Why a call failed: a code for programs, a message for people.
pub struct Failure(pub &'static str, pub &'static str);

/// A list as the host sees it. No bytes have an address that nobody frees.
#[repr(C)]
struct Bytes {
    at: *mut u8,
    size: usize,
}

/// A result<string, error>.
#[repr(C)]
pub struct Outcome {
    failed: u8,
    value: Bytes, // or the code
    message: Bytes,
}

/// Takes over what the host put where cabi_realloc said.
unsafe fn text(at: *mut u8, size: usize) -> String {
    if size == 0 {
        return String::new();
    }
    String::from_utf8_unchecked(Vec::from_raw_parts(at, size, size))
}

fn give(mut bytes: Vec<u8>) -> Bytes {
    bytes.shrink_to_fit();
    let given = Bytes { at: bytes.as_mut_ptr(), size: bytes.len() };
    forget(bytes);
    given
}

fn lend(text: &'static str) -> Bytes {
    Bytes { at: text.as_ptr() as *mut u8, size: text.len() }
}

#[no_mangle]
unsafe extern "C" fn handle(capability: *mut u8, capability_size: usize, input: *mut u8, input_size: usize) -> *mut Outcome {
    let (capability, input) = (text(capability, capability_size), text(input, input_size));
    Box::into_raw(Box::new(match crate::handle(&capability, &input) {
        Ok(output) => Outcome { failed: 0, value: give(output.into_bytes()), message: lend("") },
        Err(Failure(code, message)) => Outcome { failed: 1, value: lend(code), message: lend(message) },
    }))
}

#[no_mangle]
unsafe extern "C" fn cabi_post_handle(outcome: *mut Outcome) {
    let mut outcome = Box::from_raw(outcome);
    if outcome.failed == 0 {
        let size = take(&mut outcome.value.size);
        drop(text(outcome.value.at, size));
    }
}

#[no_mangle]
unsafe extern "C" fn cabi_realloc(old: *mut u8, old_size: usize, align: usize, size: usize) -> *mut u8 {
    if size == 0 {
        return align as *mut u8;
    }
    let layout = Layout::from_size_align(size, align).expect("a layout");
    let at = match old_size {
        0 => alloc(layout),
        _ => realloc(old, Layout::from_size_align(old_size, align).expect("a layout"), size),
    };
    if at.is_null() {
        handle_alloc_error(layout);
    }
    at
}
