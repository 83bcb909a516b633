//! Named places before and after every durable write and effect, where a test may end the process as SIGKILL would.
//!
//! Compiled with debug assertions only: in a release the macro is nothing and the rest of this module is not there; a
//! tidy check holds that. What happens at a place is given in by the binary, so nothing here does input or output.

/// Marks a place; the name says what has been or is about to be made durable.
#[cfg(debug_assertions)]
#[macro_export]
macro_rules! failpoint {
    ($name:expr) => {
        $crate::failpoint::reach($name)
    };
}

/// In a release a place is nothing.
#[cfg(not(debug_assertions))]
#[macro_export]
macro_rules! failpoint {
    ($name:expr) => {};
}

#[cfg(debug_assertions)]
static HOOK: std::sync::OnceLock<fn(&str)> = std::sync::OnceLock::new();

/// Says what is done at every place from now on; the first caller decides.
#[cfg(debug_assertions)]
pub fn arm(hook: fn(&str)) {
    let _ = HOOK.set(hook);
}

/// Called by [`failpoint!`] only.
#[cfg(debug_assertions)]
pub fn reach(name: &str) {
    if let Some(hook) = HOOK.get() {
        hook(name);
    }
}
