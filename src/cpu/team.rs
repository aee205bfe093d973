//! Threads that do a job together, in lockstep.
//!
//! A leader (whoever calls [`Team::run`]) and helpers, each of which has been given a thread by somebody else: a web
//! worker that shares the memory, or `std::thread`. Between jobs helpers wait. Waiting is spinning for a moment,
//! since most waits are short, and then sleep, since other programs want the core as well.

use crate::error::{Error, Result};
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Looks at a word before sleep: a tenth of a millisecond or so. To fall asleep and be woken takes as long.
const SPINS: u32 = if cfg!(target_arch = "wasm32") { 100_000 } else { 5_000 };
/// How often a sleeper looks whether those it waits for are still there.
const NAP: Duration = Duration::from_secs(1);
/// Naps after which a helper counts as lost: a step between two barriers takes seconds at the very most.
const PATIENCE: u32 = 30;
/// More threads than any machine has use for.
pub const MAX_THREADS: usize = 64;

/// The leader's end.
pub struct Team {
    core: Arc<Core>,
}

/// What all threads of a team see.
#[derive(Default)]
pub struct Core {
    helpers: AtomicUsize,
    /// What idle helpers watch: the number of jobs so far × 256, and the threads of the last one, the leader among them.
    jobs: Word,
    job: Slot,
    /// Helpers that are still at the job.
    busy: Word,
    arrived: AtomicUsize,
    /// Changes with each barrier.
    barriers: Word,
    /// The job is given up: nobody waits at a barrier.
    broken: AtomicBool,
    /// A helper has died at work, or vanished.
    lost: AtomicBool,
    /// If not 0: helpers from this number on may go.
    dismissed: AtomicUsize,
}

/// What helpers run.
type Job = *const (dyn Fn(&Member) + Sync);

#[derive(Default)]
struct Slot(UnsafeCell<Option<Job>>);

// SAFETY: written by the leader while all helpers wait for the next job, read by them after they have seen it begin.
unsafe impl Sync for Slot {}
// SAFETY: the job itself is `Sync`, and outlives its run.
unsafe impl Send for Slot {}

/// One thread at a job.
pub struct Member<'a> {
    /// 0 is the leader.
    pub index: usize,
    /// Threads of the job.
    pub threads: usize,
    core: &'a Core,
}

/// Somebody has given the job up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken;

impl Team {
    /// A team of one.
    pub fn alone() -> Self {
        Team::of(Arc::default())
    }

    /// The leader of those who help `core`.
    pub fn of(core: Arc<Core>) -> Self {
        Team { core }
    }

    /// What helpers need.
    pub fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Runs `leader` here and `helper` on `threads - 1` helpers, and returns when all are done.
    pub fn run(
        &mut self,
        threads: usize,
        leader: &mut dyn FnMut(&Member),
        helper: &(dyn Fn(&Member) + Sync),
    ) -> Result<()> {
        let core = &*self.core;
        if threads == 1 {
            leader(&Member { index: 0, threads, core });
            return Ok(());
        }
        if threads > 1 + core.helpers() {
            return Err(Error::internal("a step wants more threads than there are"));
        }
        if core.lost.load(Acquire) {
            return Err(lost());
        }
        core.arrived.store(0, Relaxed);
        core.broken.store(false, Relaxed);
        core.busy.value.store(threads as u32 - 1, Relaxed);
        // SAFETY: no helper looks at the job before `jobs` changes, and none is busy. The lifetime that is taken
        // away here is respected, since this function does not return before the last helper has left the job.
        unsafe {
            let job: *const (dyn Fn(&Member) + Sync + '_) = helper;
            *core.job.0.get() = Some(std::mem::transmute::<*const (dyn Fn(&Member) + Sync + '_), Job>(job));
        }
        core.announce(threads);
        let done = catch_unwind(AssertUnwindSafe(|| leader(&Member { index: 0, threads, core })));
        if done.is_err() {
            core.give_up();
        }
        let mut busy = core.busy.value.load(Acquire);
        while busy > 0 {
            if !core.busy.wait(busy) {
                core.lost.store(true, SeqCst);
                break;
            }
            busy = core.busy.value.load(Acquire);
        }
        if let Err(panic) = done {
            resume_unwind(panic);
        }
        if core.lost.load(Acquire) { Err(lost()) } else { Ok(()) }
    }

    /// Lets helpers go until `threads` threads are left, the leader among them.
    pub fn dismiss_from(&mut self, threads: usize) {
        let threads = threads.max(1);
        self.core.dismissed.store(threads, SeqCst);
        self.core.helpers.fetch_min(threads - 1, SeqCst);
        self.core.announce(0);
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.dismiss_from(1);
    }
}

fn lost() -> Error {
    Error::internal("a thread of the engine has failed: load the model again")
}

impl Core {
    /// Helpers that have come and not been dismissed.
    pub fn helpers(&self) -> usize {
        self.helpers.load(SeqCst)
    }

    /// Gives this thread to the team until it is dismissed.
    pub fn help(&self) {
        let mut seen = self.jobs.value.load(SeqCst);
        let index = 1 + self.helpers.fetch_add(1, SeqCst);
        loop {
            let dismissed = self.dismissed.load(SeqCst);
            if dismissed != 0 && index >= dismissed {
                return;
            }
            self.jobs.rest(seen);
            seen = self.jobs.value.load(SeqCst);
            let threads = seen as usize % 256;
            if index >= threads {
                continue;
            }
            // SAFETY: the announcement came after the job was written, and the next one will not be before this
            // helper has left it.
            let Some(job) = (unsafe { (*self.job.0.get()).map(|job| &*job) }) else { continue };
            if catch_unwind(AssertUnwindSafe(|| job(&Member { index, threads, core: self }))).is_err() {
                return self.lose();
            }
            self.leave();
        }
    }

    fn announce(&self, threads: usize) {
        let number = (self.jobs.value.load(SeqCst) / 256).wrapping_add(1);
        self.jobs.value.store(number.wrapping_mul(256) + threads as u32, SeqCst);
        self.jobs.wake();
    }

    /// Notes that a helper has died at work. Called in its place where a trap has ended it.
    pub fn lose(&self) {
        self.lost.store(true, SeqCst);
        self.give_up();
        self.leave();
    }

    fn leave(&self) {
        self.busy.value.fetch_sub(1, SeqCst);
        self.busy.wake();
    }

    fn give_up(&self) {
        self.broken.store(true, SeqCst);
        self.barriers.change();
    }
}

impl Member<'_> {
    /// Waits until all threads are here; whatever they have written is then to be seen. An error if the job is given
    /// up.
    pub fn barrier(&self) -> std::result::Result<(), Broken> {
        let core = self.core;
        if self.threads == 1 {
            return Ok(());
        }
        let number = core.barriers.value.load(SeqCst);
        if core.broken.load(SeqCst) {
            return Err(Broken);
        }
        if core.arrived.fetch_add(1, SeqCst) + 1 == self.threads {
            core.arrived.store(0, SeqCst);
            core.barriers.change();
        } else if !core.barriers.wait(number) {
            core.lost.store(true, SeqCst);
            core.give_up();
        }
        if core.broken.load(SeqCst) { Err(Broken) } else { Ok(()) }
    }

    /// Gives the job up, for all.
    pub fn give_up(&self) {
        self.core.give_up();
    }
}

/// A number that threads wait on to change.
#[derive(Default)]
struct Word {
    value: AtomicU32,
    sleepers: AtomicU32,
    bed: Mutex<()>,
    bell: Condvar,
}

impl Word {
    fn change(&self) {
        self.value.fetch_add(1, SeqCst);
        self.wake();
    }

    /// Wakes those who sleep; the number has changed before.
    fn wake(&self) {
        if self.sleepers.load(SeqCst) > 0 {
            drop(self.bed.lock().unwrap_or_else(PoisonError::into_inner));
            self.bell.notify_all();
        }
    }

    /// Looks for a moment whether the number is still `old`.
    fn spin(&self, old: u32) -> bool {
        for _ in 0..SPINS {
            if self.value.load(Acquire) != old {
                return false;
            }
            std::hint::spin_loop();
        }
        true
    }

    /// Returns when the number is no longer `old` (true), or has been for suspiciously long.
    fn wait(&self, old: u32) -> bool {
        if self.spin(old) {
            let mut naps = 0;
            self.sleep(old, |bed| {
                naps += 1;
                let (bed, _) = self.bell.wait_timeout(bed, NAP).unwrap_or_else(PoisonError::into_inner);
                (bed, naps < PATIENCE)
            });
        }
        self.value.load(SeqCst) != old
    }

    /// Returns when the number is no longer `old`, however long that takes.
    fn rest(&self, old: u32) {
        if self.spin(old) {
            self.sleep(old, |bed| (self.bell.wait(bed).unwrap_or_else(PoisonError::into_inner), true));
        }
    }

    /// Naps while the number is `old` and the nap says to go on.
    fn sleep<'a>(&'a self, old: u32, mut nap: impl FnMut(MutexGuard<'a, ()>) -> (MutexGuard<'a, ()>, bool)) {
        let mut bed = self.bed.lock().unwrap_or_else(PoisonError::into_inner);
        self.sleepers.fetch_add(1, SeqCst);
        let mut patient = true;
        while patient && self.value.load(SeqCst) == old {
            (bed, patient) = nap(bed);
        }
        self.sleepers.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    fn with_helpers<T>(helpers: usize, work: impl FnOnce(&mut Team) -> T) -> T {
        let mut team = Team::alone();
        thread::scope(|scope| {
            for _ in 0..helpers {
                let core = team.core().clone();
                scope.spawn(move || core.help());
            }
            while team.core().helpers() < helpers {
                thread::yield_now();
            }
            let outcome = work(&mut team);
            drop(team);
            outcome
        })
    }

    #[test]
    fn nobody_passes_a_barrier_before_the_last_has_come() {
        for threads in [1, 2, 3, 5] {
            with_helpers(threads - 1, |team| {
                for jobs in 0..20 {
                    let counts: Vec<AtomicUsize> = (0..threads).map(|_| AtomicUsize::new(0)).collect();
                    let work = |member: &Member| {
                        for round in 1..50 {
                            counts[member.index].store(round, Relaxed);
                            member.barrier().unwrap();
                            assert!(counts.iter().all(|count| count.load(Relaxed) == round), "job {jobs}");
                            member.barrier().unwrap();
                        }
                    };
                    team.run(threads, &mut |member| work(member), &work).unwrap();
                }
            });
        }
    }

    #[test]
    fn sleepers_are_woken() {
        with_helpers(2, |team| {
            for _ in 0..3 {
                thread::sleep(Duration::from_millis(50));
                let work = |member: &Member| {
                    thread::sleep(Duration::from_millis(20 * member.index as u64));
                    member.barrier().unwrap();
                };
                team.run(3, &mut |member| work(member), &work).unwrap();
            }
        });
    }

    #[test]
    fn a_job_given_up_ends_for_all_and_the_next_one_runs() {
        with_helpers(2, |team| {
            for index in 0..3 {
                let work = |member: &Member| {
                    if member.index == index {
                        return member.give_up();
                    }
                    assert_eq!(member.barrier(), Err(Broken));
                };
                team.run(3, &mut |member| work(member), &work).unwrap();
                team.run(3, &mut |member| member.barrier().unwrap(), &|member| member.barrier().unwrap())
                    .unwrap();
            }
        });
    }

    #[test]
    fn a_helper_that_panics_is_an_error_and_not_the_end() {
        with_helpers(2, |team| {
            let work = |member: &Member| {
                assert!(member.index != 2, "this panic is meant");
                assert_eq!(member.barrier(), Err(Broken));
            };
            for _ in 0..2 {
                let error = team.run(3, &mut |member| work(member), &work).unwrap_err();
                assert_eq!(error.code, crate::error::Code::Internal);
            }
        });
    }

    #[test]
    fn helpers_can_be_dismissed() {
        with_helpers(3, |team| {
            team.dismiss_from(2);
            assert_eq!(team.core().helpers(), 1);
            team.run(2, &mut |member| member.barrier().unwrap(), &|member| member.barrier().unwrap())
                .unwrap();
            assert!(team.run(3, &mut |_| (), &|_| ()).is_err());
        });
    }
}
