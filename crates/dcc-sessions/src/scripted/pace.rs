//! A busy agent: updates at a steady rate, for measuring what they cost on the other side.
//!
//! Authority: none. Invariant: the rate is kept against the clock, so that an agent that was held up catches up.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::play::{Flow, Player};
use super::script::Pace;

impl Player<'_> {
    /// Ends the turn when it is cancelled on the way.
    pub fn pace(&mut self, pace: Pace) -> Flow {
        let begun = Instant::now();
        let mut call = String::new();
        for number in 0..pace.updates {
            wait_until(begun + Duration::from_secs(1).saturating_mul(u32::try_from(number).unwrap_or(u32::MAX)) / pace.per_second.max(1));
            self.peer.poll();
            if self.peer.cancelled {
                return Flow::Stop("cancelled");
            }
            match number % pace.call_every.max(2) {
                0 => {
                    call = self.next_call();
                    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
                    self.begin(&call, &json!({"title": format!("at {now}"), "kind": "read"}));
                }
                1 => self.progress(&call, "completed", &Value::Null),
                _ => self.say("a few words of a longer thought, "),
            }
        }
        Flow::Next
    }
}

fn wait_until(moment: Instant) {
    while let Some(left) = moment.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        // tidy, allowed: a rate is a matter of time
        std::thread::park_timeout(left);
    }
}
