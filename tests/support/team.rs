//! Models on several threads.

use std::thread;
use wisplm::cpu::{Executor, Team};
use wisplm::loader::Model;

/// Runs `work` on a model that has `threads` threads.
pub fn on_threads<T>(model: &mut Model, threads: usize, work: impl FnOnce(&mut Model) -> T) -> T {
    thread::scope(|scope| {
        let team = Team::alone();
        for _ in 1..threads {
            let core = team.core().clone();
            scope.spawn(move || core.help());
        }
        while team.core().helpers() < threads - 1 {
            thread::yield_now();
        }
        cpu(model).set_team(team).unwrap();
        cpu(model).set_threads(threads).unwrap();
        let outcome = work(model);
        cpu(model).set_team(Team::alone()).unwrap();
        outcome
    })
}

/// The executor that has threads.
pub fn cpu(model: &mut Model) -> &mut Executor {
    model.executor.cpu_mut().expect("the model is on the CPU")
}
