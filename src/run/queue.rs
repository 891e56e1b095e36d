//! The queue of a run's drills: so many at once, and fewer where the place that they run in has no room for as many.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::{StreamExt as _, stream};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Runs them, so many at once, begun in their order. One that has ended makes room for the next even while an earlier one goes on; what
/// they come to is in their order all the same.
pub async fn in_the_plans_order<T>(drills: Vec<impl Future<Output = T>>, jobs: usize) -> Vec<T> {
    let numbered = drills.into_iter().enumerate().map(async |(index, drill)| (index, drill.await));
    let mut ended: Vec<_> = stream::iter(numbered).buffer_unordered(jobs).collect().await;
    ended.sort_by_key(|(index, _)| *index);
    ended.into_iter().map(|(_, outcome)| outcome).collect()
}

/// How many drills of this run have a place, and who waits for one of them to give it up.
#[derive(Debug, Default)]
pub struct Places {
    taken: AtomicUsize,
    ended: Notify,
}

/// A drill's place, until it is dropped.
#[derive(Debug)]
pub struct Taken<'p>(&'p Places);

impl Places {
    /// Takes a place. Where there is no room for it now, but other drills of this run have places, it waits until one of them has
    /// ended, and tries again; `waits` hears why. Errs with what `take` says when it is not for room, when nobody is left to wait
    /// for, and when the run is interrupted while it waits.
    pub async fn take<T, E>(
        &self,
        mut take: impl AsyncFnMut() -> Result<T, E>,
        is_full: impl Fn(&E) -> bool,
        mut waits: impl FnMut(&E),
        interrupt: &CancellationToken,
    ) -> Result<(T, Taken<'_>), E> {
        loop {
            // From before the attempt: one that ends meanwhile is not missed.
            let ended = self.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            let before = self.taken.load(Ordering::SeqCst);
            match take().await {
                Ok(place) => {
                    self.taken.fetch_add(1, Ordering::SeqCst);
                    return Ok((place, Taken(self)));
                }
                // One that held a place when this was tried may be gone now: then there may be room.
                Err(error) if is_full(&error) && before > 0 => {
                    waits(&error);
                    tokio::select! {
                        () = ended => {}
                        () = interrupt.cancelled() => return Err(error),
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::SeqCst);
        self.0.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_drill_that_goes_on_keeps_no_other_from_beginning() {
        let begun = RefCell::new(Vec::new());
        let drill = async |name: &'static str, seconds| {
            let at = tokio::time::Instant::now();
            begun.borrow_mut().push((name, at));
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            name
        };
        let start = tokio::time::Instant::now();
        let drills = [("long", 10), ("short", 1), ("other", 1), ("last", 1)];
        let ended = in_the_plans_order(drills.map(|(name, seconds)| drill(name, seconds)).into(), 2).await;
        assert_eq!(ended, ["long", "short", "other", "last"]);
        let begun: Vec<_> = begun.into_inner().into_iter().map(|(name, at)| (name, (at - start).as_secs())).collect();
        assert_eq!(begun, [("long", 0), ("short", 0), ("other", 1), ("last", 2)]);
    }

    fn never() -> CancellationToken {
        CancellationToken::new()
    }

    /// Drills of a second each in a place that has room for so many; how many had it at once, and how often one waited.
    async fn with_room_for(room: usize, drills: usize, jobs: usize) -> (Vec<Result<(), &'static str>>, usize, usize) {
        let (places, inside, most, waited) = (Places::default(), Cell::new(0), Cell::new(0), Cell::new(0));
        let drill = async || {
            let take = async || {
                if inside.get() == room {
                    return Err("full");
                }
                inside.set(inside.get() + 1);
                most.set(most.get().max(inside.get()));
                Ok(())
            };
            let ((), taken) =
                places.take(take, |error| *error == "full", |_| waited.set(waited.get() + 1), &never()).await?;
            tokio::time::sleep(Duration::from_secs(1)).await;
            inside.set(inside.get() - 1);
            drop(taken);
            Ok(())
        };
        let ended = in_the_plans_order((0..drills).map(|_| drill()).collect(), jobs).await;
        (ended, most.get(), waited.get())
    }

    #[tokio::test(start_paused = true)]
    async fn a_drill_that_finds_no_room_waits_until_another_has_ended() {
        let (ended, most, waited) = with_room_for(2, 7, 4).await;
        assert_eq!((ended, most), (vec![Ok(()); 7], 2));
        assert!(waited > 0);
        let (ended, _, waited) = with_room_for(4, 7, 4).await;
        assert_eq!((ended, waited), (vec![Ok(()); 7], 0));
    }

    #[tokio::test(start_paused = true)]
    async fn where_nobody_holds_a_place_a_drill_without_room_is_not_waited_for() {
        let (ended, _, waited) = with_room_for(0, 3, 2).await;
        assert_eq!((ended, waited), (vec![Err("full"); 3], 0));
    }

    #[tokio::test(start_paused = true)]
    async fn another_error_is_not_waited_for() {
        let places = Places::default();
        let taken = places.take(async || Ok::<_, &str>(()), |_| true, |_| (), &never()).await.unwrap();
        let refuse = async || Err::<(), _>("no such context");
        let refused = places.take(refuse, |error| *error == "full", |_| (), &never()).await;
        assert_eq!(refused.unwrap_err(), "no such context");
        drop(taken);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_room_is_told_of_an_interruption() {
        let (places, interrupt) = (Places::default(), CancellationToken::new());
        let _taken = places.take(async || Ok::<_, &str>(()), |_| true, |_| (), &interrupt).await.unwrap();
        let full = async || Err::<(), _>("full");
        let refused = places.take(full, |_| true, |_| interrupt.cancel(), &interrupt).await;
        assert_eq!(refused.unwrap_err(), "full");
    }
}
