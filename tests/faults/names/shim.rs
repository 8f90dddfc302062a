//! Stands before getaddrinfo(3) in a router that a test starts: names are what the file `L7R_NAMES` says.
//!
//! A line of it is `NAME ADDRESS`, `NAME fail` or `NAME hang`; what hangs does so until the line is another. Built by the
//! test, loaded with LD_PRELOAD.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::time::Duration;

type Ask = unsafe extern "C" fn(*const c_char, *const c_char, *const c_void, *mut *mut c_void) -> c_int;

const EAI_AGAIN: c_int = -3;
const RTLD_NEXT: *mut c_void = -1isize as *mut c_void;

unsafe extern "C" {
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
}

fn line_of(name: &str) -> Option<String> {
    let file = std::fs::read_to_string(std::env::var_os("L7R_NAMES")?).ok()?;
    let line = file.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned));
    line
}

/// # Safety
/// As getaddrinfo(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getaddrinfo(
    node: *const c_char,
    service: *const c_char,
    hints: *const c_void,
    answer: *mut *mut c_void,
) -> c_int {
    // SAFETY: it is what glibc calls by this name, and it gets what we got but for another name that lives as long.
    let ask: Ask = unsafe { std::mem::transmute(dlsym(RTLD_NEXT, c"getaddrinfo".as_ptr())) };
    // SAFETY: the caller's string.
    let name = unsafe { CStr::from_ptr(node) }.to_str().unwrap_or_default();
    loop {
        match line_of(name).as_deref() {
            None | Some("fail") => return EAI_AGAIN,
            Some("hang") => std::thread::sleep(Duration::from_millis(10)),
            Some(address) => {
                let Ok(address) = CString::new(address) else { return EAI_AGAIN };
                // SAFETY: see above.
                return unsafe { ask(address.as_ptr(), service, hints, answer) };
            }
        }
    }
}
