//! The live bus: committed events to every reader, bounded.
//!
//! Authority: ephemeral. Invariants: a reader sees every event in order of sequence and none twice, or is told of a gap;
//! one slow reader costs one bounded queue and delays nobody; what is published was durable before. A touch is no event,
//! nor is a changed screen: it has no sequence, is never repeated to a late reader, and one of each thing waits in a queue at most.
//! Failure: a full queue is emptied and becomes one gap; one reader too many is HSK-429-RATE-LIMIT.
//!
//! No runtime is named here: a reader may block with a time limit (a command) or be polled (the async server).

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use dcc_core::event::{Event, EventCode};
use dcc_core::limits::{STREAM_QUEUE_MAX, STREAM_READERS_MAX};
use dcc_core::{ApprovalId, Code, Failure, JobId, MtId, Outcome, SessionId, Timestamp, WorkspaceId, WpId};

/// One event as the stream carries it: enough to know what to read again, never the payload.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EventLine {
    pub seq: u64,
    pub code: EventCode,
    pub ts: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wp_id: Option<WpId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mt_id: Option<MtId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace_id: Option<WorkspaceId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<JobId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_id: Option<ApprovalId>,
}

impl From<&Event> for EventLine {
    fn from(event: &Event) -> Self {
        Self {
            seq: event.seq,
            code: event.code,
            ts: event.ts,
            wp_id: event.wp_id.clone(),
            mt_id: event.mt_id.clone(),
            session_id: event.session_id,
            workspace_id: event.workspace_id,
            job_id: event.job_id,
            approval_id: event.approval_id,
        }
    }
}

/// What a reader gets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StreamItem {
    Event(EventLine),
    /// Events up to this sequence were left out: read everything again.
    Gap { seq: u64 },
    /// Files of this workspace, or what git says of it, may have changed: read what shows it again.
    Touch { workspace_id: WorkspaceId },
    /// The screen of this session's terminal is another: read it again where it is shown.
    Screen { session_id: SessionId },
}

struct Queue {
    items: VecDeque<StreamItem>,
    /// The highest sequence that was put in; lower ones are repeats.
    last_seq: u64,
    waker: Option<Waker>,
    closed: bool,
}

struct Slot {
    queue: Mutex<Queue>,
    ready: Condvar,
}

impl Slot {
    /// A queue is whole after every statement that changes it, so a poisoned lock holds good data.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn poll(&self, context: &mut Context<'_>) -> Poll<Option<StreamItem>> {
        let mut queue = self.lock();
        if let Some(item) = queue.items.pop_front() {
            return Poll::Ready(Some(item));
        }
        if queue.closed {
            return Poll::Ready(None);
        }
        queue.waker = Some(context.waker().clone());
        Poll::Pending
    }
    fn change(&self, act: impl FnOnce(&mut Queue)) {
        let waker = {
            let mut queue = self.lock();
            act(&mut queue);
            queue.waker.take()
        };
        self.ready.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Queue {
    fn push(&mut self, line: &EventLine) {
        if line.seq <= self.last_seq {
            return;
        }
        self.last_seq = line.seq;
        self.add(StreamItem::Event(line.clone()));
    }

    /// What has no sequence waits once.
    fn tell(&mut self, item: StreamItem) {
        if !self.items.contains(&item) {
            self.add(item);
        }
    }

    fn add(&mut self, item: StreamItem) {
        let last = self.last_seq;
        if self.items.len() >= STREAM_QUEUE_MAX {
            self.items.clear();
            self.items.push_back(StreamItem::Gap { seq: last });
        } else if let [StreamItem::Gap { seq }] = self.items.make_contiguous() {
            // Nobody read the gap yet: it swallows what follows, since the reader reads everything again anyway.
            *seq = last;
        } else {
            self.items.push_back(item);
        }
    }
}

/// Where committed events are published.
#[derive(Default)]
pub struct Hub {
    readers: Mutex<Vec<Weak<Slot>>>,
}

impl Hub {
    fn readers(&self) -> MutexGuard<'_, Vec<Weak<Slot>>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands durable events, in order, to every reader. Returns how many readers there are.
    pub fn publish(&self, lines: &[EventLine]) -> usize {
        self.each(|queue| lines.iter().for_each(|line| queue.push(line)))
    }

    /// Tells every reader that these workspaces may look different now. Returns how many readers there are.
    pub fn touch(&self, workspaces: &[WorkspaceId]) -> usize {
        self.each(|queue| workspaces.iter().for_each(|id| queue.tell(StreamItem::Touch { workspace_id: *id })))
    }

    /// Tells every reader that the screen of this session's terminal has changed.
    pub fn screen(&self, session_id: SessionId) -> usize {
        self.each(|queue| queue.tell(StreamItem::Screen { session_id }))
    }

    fn each(&self, act: impl Fn(&mut Queue)) -> usize {
        let mut readers = self.readers();
        readers.retain(|reader| {
            let Some(slot) = reader.upgrade() else { return false };
            slot.change(&act);
            true
        });
        readers.len()
    }

    /// A new reader. With `after_seq`, the events after it come first: `backlog(after_seq, limit)` reads them from the
    /// recorder. The reader is registered before the backlog is read, so nothing falls between the two. `head` is the
    /// recorder's last sequence; it is read after the registration for the same reason.
    pub fn subscribe(
        &self,
        after_seq: Option<u64>,
        head: impl FnOnce() -> Outcome<u64>,
        backlog: impl FnOnce(u64, usize) -> Outcome<Vec<EventLine>>,
    ) -> Outcome<Subscription> {
        let slot = self.register()?;
        let head = head()?;
        let mut subscription = Subscription { slot, backlog: VecDeque::new(), head, sent_seq: head };
        let Some(after) = after_seq else { return Ok(subscription) };
        subscription.sent_seq = after.min(head);
        if after > head {
            // The reader knows more than this log holds: another project, or a log that was restored.
            subscription.backlog.push_back(StreamItem::Gap { seq: head });
            subscription.sent_seq = head;
            return Ok(subscription);
        }
        let lines = backlog(after, STREAM_QUEUE_MAX + 1)?;
        if lines.len() > STREAM_QUEUE_MAX {
            subscription.backlog.push_back(StreamItem::Gap { seq: head });
        } else {
            subscription.backlog.extend(lines.into_iter().map(StreamItem::Event));
        }
        Ok(subscription)
    }

    fn register(&self) -> Outcome<Arc<Slot>> {
        let mut readers = self.readers();
        readers.retain(|reader| reader.strong_count() > 0);
        if readers.len() >= STREAM_READERS_MAX {
            return Err(Failure::new(Code::RateLimit, format!("{STREAM_READERS_MAX} readers follow the event stream already"))
                .hint("close tabs or commands that follow it, then try again"));
        }
        let slot = Arc::new(Slot {
            queue: Mutex::new(Queue { items: VecDeque::new(), last_seq: 0, waker: None, closed: false }),
            ready: Condvar::new(),
        });
        readers.push(Arc::downgrade(&slot));
        Ok(slot)
    }

    /// Ends every stream, at shutdown.
    pub fn close(&self) {
        for slot in self.readers().drain(..).filter_map(|reader| reader.upgrade()) {
            slot.change(|queue| queue.closed = true);
        }
    }
}

/// One reader's stream; dropping it ends it.
pub struct Subscription {
    slot: Arc<Slot>,
    backlog: VecDeque<StreamItem>,
    head: u64,
    sent_seq: u64,
}

impl Subscription {
    /// The recorder's last sequence when the stream began.
    pub fn head_seq(&self) -> u64 {
        self.head
    }

    /// The next item for an async reader; `None` when the stream has ended.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<StreamItem>> {
        loop {
            let next = self.backlog.pop_front().map_or_else(|| self.slot.poll(context), |item| Poll::Ready(Some(item)));
            let Poll::Ready(Some(item)) = next else { return next };
            if let Some(item) = self.fresh(item) {
                return Poll::Ready(Some(item));
            }
        }
    }

    /// The next item for a blocking reader; `Ok(None)` when the time is over, [`Ended`] when the stream has ended.
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<StreamItem>, Ended> {
        let until = Instant::now() + timeout;
        loop {
            let item = match self.backlog.pop_front() {
                Some(item) => item,
                None => match self.wait(until)? {
                    Some(item) => item,
                    None => return Ok(None),
                },
            };
            if let Some(item) = self.fresh(item) {
                return Ok(Some(item));
            }
        }
    }

    fn wait(&self, until: Instant) -> Result<Option<StreamItem>, Ended> {
        let mut queue = self.slot.lock();
        loop {
            if let Some(item) = queue.items.pop_front() {
                return Ok(Some(item));
            }
            if queue.closed {
                return Err(Ended);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            queue = self.slot.ready.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Drops what the backlog already carried.
    fn fresh(&mut self, item: StreamItem) -> Option<StreamItem> {
        match &item {
            StreamItem::Event(line) if line.seq <= self.sent_seq => return None,
            StreamItem::Event(line) => self.sent_seq = line.seq,
            StreamItem::Gap { seq } => {
                // A queue that held touches alone knows no sequence; a reader never goes back.
                self.sent_seq = self.sent_seq.max(*seq);
                return Some(StreamItem::Gap { seq: self.sent_seq });
            }
            StreamItem::Touch { .. } | StreamItem::Screen { .. } => {}
        }
        Some(item)
    }
}

/// The stream was closed by the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ended;

#[cfg(test)]
mod tests {
    use super::*;

    fn line(seq: u64) -> EventLine {
        EventLine {
            seq,
            code: EventCode::JobAccepted,
            ts: Timestamp(0),
            wp_id: None,
            mt_id: None,
            session_id: None,
            workspace_id: None,
            job_id: None,
            approval_id: None,
        }
    }

    fn drain(subscription: &mut Subscription) -> Vec<(bool, u64)> {
        let mut out = Vec::new();
        while let Ok(Some(item)) = subscription.next_timeout(Duration::ZERO) {
            out.push(match item {
                StreamItem::Event(line) => (true, line.seq),
                StreamItem::Gap { seq } => (false, seq),
                StreamItem::Touch { .. } | StreamItem::Screen { .. } => continue,
            });
        }
        out
    }

    fn workspace(n: u128) -> WorkspaceId {
        format!("0198c0de-0000-7000-8000-{n:012x}").parse().unwrap()
    }

    #[test]
    fn a_touch_is_told_once_to_whoever_listens_and_moves_no_sequence() {
        let hub = Hub::default();
        let mut reader = hub.subscribe(None, || Ok(5), |_, _| Ok(vec![])).unwrap();
        hub.touch(&[workspace(1), workspace(2), workspace(1)]);
        hub.publish(&[line(6)]);
        hub.touch(&[workspace(1)]);
        let mut told = Vec::new();
        while let Ok(Some(item)) = reader.next_timeout(Duration::ZERO) {
            told.push(item);
        }
        let touch = |n| StreamItem::Touch { workspace_id: workspace(n) };
        assert_eq!(told, [touch(1), touch(2), StreamItem::Event(line(6))]);
        hub.touch(&[workspace(1)]);
        assert_eq!(reader.next_timeout(Duration::ZERO), Ok(Some(touch(1))));
        let mut late = hub.subscribe(Some(5), || Ok(6), |_, _| Ok(vec![line(6)])).unwrap();
        assert_eq!(drain(&mut late), [(true, 6)]);
    }

    #[test]
    fn too_many_touches_are_a_gap_that_does_not_go_back() {
        let hub = Hub::default();
        let mut slow = hub.subscribe(None, || Ok(7), |_, _| Ok(vec![])).unwrap();
        let many: Vec<WorkspaceId> = (0..=STREAM_QUEUE_MAX as u128).map(workspace).collect();
        hub.touch(&many);
        assert_eq!(drain(&mut slow), [(false, 7)]);
        hub.publish(&[line(8)]);
        assert_eq!(drain(&mut slow), [(true, 8)]);
    }

    #[test]
    fn backlog_and_live_events_meet_without_hole_or_repeat() {
        let hub = Hub::default();
        let mut reader = hub
            .subscribe(Some(2), || Ok(5), |after, _| {
                // Committed and published while the backlog was being read.
                hub.publish(&[line(5), line(6)]);
                Ok((after + 1..=5).map(line).collect())
            })
            .unwrap();
        hub.publish(&[line(7)]);
        assert_eq!(drain(&mut reader), [3, 4, 5, 6, 7].map(|seq| (true, seq)));
    }

    #[test]
    fn a_reader_from_now_on_sees_only_what_follows_the_head() {
        let hub = Hub::default();
        let mut reader = hub.subscribe(None, || Ok(5), |_, _| panic!("no backlog asked for")).unwrap();
        hub.publish(&[line(5), line(6)]);
        assert_eq!(drain(&mut reader), [(true, 6)]);
    }

    #[test]
    fn a_slow_reader_gets_one_gap_and_delays_nobody() {
        let hub = Hub::default();
        let mut slow = hub.subscribe(None, || Ok(0), |_, _| Ok(vec![])).unwrap();
        let mut quick = hub.subscribe(None, || Ok(0), |_, _| Ok(vec![])).unwrap();
        let many = STREAM_QUEUE_MAX as u64 + 10;
        for seq in 1..=many {
            hub.publish(&[line(seq)]);
            assert_eq!(drain(&mut quick), [(true, seq)]);
        }
        assert_eq!(drain(&mut slow), [(false, many)]);
        hub.publish(&[line(many + 1)]);
        assert_eq!(drain(&mut slow), [(true, many + 1)]);
    }

    #[test]
    fn a_long_absence_or_another_log_is_a_gap() {
        let hub = Hub::default();
        let mut away = hub.subscribe(Some(0), || Ok(5_000), |after, limit| Ok((after + 1..).take(limit).map(line).collect())).unwrap();
        assert_eq!(drain(&mut away), [(false, 5_000)]);
        let mut other = hub.subscribe(Some(90), || Ok(10), |_, _| Ok(vec![])).unwrap();
        hub.publish(&[line(11)]);
        assert_eq!(drain(&mut other), [(false, 10), (true, 11)]);
    }

    #[test]
    fn readers_are_bounded_and_leave_when_dropped() {
        let hub = Hub::default();
        let subscribe = || hub.subscribe(None, || Ok(0), |_, _| Ok(vec![]));
        let held: Vec<_> = (0..STREAM_READERS_MAX).map(|_| subscribe().unwrap()).collect();
        assert_eq!(subscribe().err().unwrap().code, Code::RateLimit);
        drop(held);
        let mut last = subscribe().unwrap();
        hub.close();
        assert_eq!(last.next_timeout(Duration::ZERO), Err(Ended));
    }
}
