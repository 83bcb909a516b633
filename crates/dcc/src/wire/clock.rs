//! The real clock and id source.

use dcc_core::Timestamp;
use dcc_core::ports::Clock;
use uuid::Uuid;

pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        // Before 1970 the machine's clock is broken; zero is as good as any, and order does not depend on it.
        let now = since.map_or(0, |d| d.as_millis() as i64);
        #[cfg(debug_assertions)]
        let now = now + super::failpoint::clock_offset_ms();
        Timestamp(now)
    }
    fn fresh_id(&self) -> Uuid {
        Uuid::now_v7()
    }
    fn random(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).expect("the kernel's random source answers on every supported system");
        bytes
    }
}
