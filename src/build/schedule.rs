//! Builds stages beside each other, each as soon as those it needs are built.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::error::BuildError;
use crate::cancel::Cancel;
use crate::plan::StageId;

/// Stages and those that each of them needs.
pub(crate) type Needs = BTreeMap<StageId, BTreeSet<StageId>>;

/// At least two, whatever the machine: a stage often waits for the network or a server, and then another can compute.
pub(crate) fn workers() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from).max(2)
}

/// Calls `build` for every stage, on up to `workers` threads, this one included.
///
/// The first error ends the others through `cancel`, and is the one returned, unless it is itself the echo of
/// an error and another stage says more.
pub(crate) fn run(
    needs: Needs,
    workers: usize,
    cancel: &Cancel,
    build: impl Fn(StageId) -> Result<(), BuildError> + Sync,
) -> Result<(), BuildError> {
    let helpers = workers.min(needs.len()).saturating_sub(1);
    let board = Board::new(needs);
    let work = || work(&board, cancel, &build);
    std::thread::scope(|scope| {
        for _ in 0..helpers {
            let helper = std::thread::Builder::new().name("stage".to_owned());
            // This thread works in any case: without help the build only takes longer.
            if helper.spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        work();
    });
    board.into_outcome()
}

fn work(board: &Board, cancel: &Cancel, build: &(impl Fn(StageId) -> Result<(), BuildError> + Sync)) {
    while let Some(id) = board.take() {
        let on_panic = EndAll { board, cancel };
        let outcome = build(id);
        std::mem::forget(on_panic);
        match outcome {
            Ok(()) => board.finish(id),
            Err(error) => {
                // Noted before the others are told: what they say then comes second.
                board.fail(error);
                cancel.by_failure();
            }
        }
    }
}

/// Dropped by a panic only: the other threads must not wait for a stage that never ends.
struct EndAll<'b> {
    board: &'b Board,
    cancel: &'b Cancel,
}

impl Drop for EndAll<'_> {
    fn drop(&mut self) {
        self.board.abandon();
        self.cancel.by_failure();
    }
}

/// Who waits for whom.
struct Board {
    /// Guards everything; held for moments.
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// What each stage that has not begun still waits for.
    waiting: Needs,
    running: usize,
    abandoned: bool,
    failure: Option<BuildError>,
}

impl Board {
    fn new(waiting: Needs) -> Self {
        Self {
            state: Mutex::new(State {
                waiting,
                running: 0,
                abandoned: false,
                failure: None,
            }),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next stage to build, in the order of the file. Waits for one; `None` when there will be none.
    fn take(&self) -> Option<StageId> {
        let mut state = self.lock();
        loop {
            if state.abandoned {
                return None;
            }
            let ready = state.waiting.iter().find(|(_, needs)| needs.is_empty());
            if let Some(id) = ready.map(|(id, _)| *id) {
                state.waiting.remove(&id);
                state.running += 1;
                return Some(id);
            }
            if state.running == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn finish(&self, id: StageId) {
        let mut state = self.lock();
        state.running -= 1;
        for needs in state.waiting.values_mut() {
            needs.remove(&id);
        }
        self.changed.notify_all();
    }

    fn fail(&self, error: BuildError) {
        let mut state = self.lock();
        let says_more = |first: &BuildError| first.is_echo() && !error.is_echo();
        if state.failure.as_ref().is_none_or(says_more) {
            state.failure = Some(error);
        }
        state.abandoned = true;
        self.changed.notify_all();
    }

    fn abandon(&self) {
        self.lock().abandoned = true;
        self.changed.notify_all();
    }

    fn into_outcome(self) -> Result<(), BuildError> {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        state.failure.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::super::error::Problem;
    use super::*;
    use crate::cancel::Cancelled;

    fn needs(edges: &[(usize, &[usize])]) -> Needs {
        let set = |ids: &[usize]| ids.iter().copied().map(StageId).collect();
        edges.iter().map(|(id, needs)| (StageId(*id), set(needs))).collect()
    }

    fn failure(text: &'static str) -> BuildError {
        BuildError::new(Problem::System {
            what: text,
            source: std::io::Error::other("of a test"),
        })
    }

    #[test]
    fn every_stage_is_built_once_after_those_it_needs() {
        let edges: [(usize, &[usize]); 7] = [
            (0, &[]),
            (1, &[0]),
            (2, &[0]),
            (3, &[]),
            (4, &[1, 2]),
            (5, &[3, 4]),
            (6, &[]),
        ];
        for workers in 1..5 {
            let built = Mutex::new(Vec::new());
            run(needs(&edges), workers, &Cancel::default(), |id| {
                let built_before = built.lock().unwrap().clone();
                for needed in edges[id.0].1 {
                    assert!(built_before.contains(needed), "{id} before {needed}");
                }
                built.lock().unwrap().push(id.0);
                Ok(())
            })
            .unwrap();
            let mut built = built.into_inner().unwrap();
            if workers == 1 {
                assert_eq!(built, [0, 1, 2, 3, 4, 5, 6], "the order of the file");
            }
            built.sort_unstable();
            assert_eq!(built, [0, 1, 2, 3, 4, 5, 6], "{workers} workers");
        }
    }

    #[test]
    fn independent_stages_are_under_way_at_the_same_time() {
        let both = Barrier::new(2);
        let edges: [(usize, &[usize]); 3] = [(0, &[]), (1, &[]), (2, &[0, 1])];
        run(needs(&edges), 2, &Cancel::default(), |id| {
            if id.0 < 2 {
                both.wait();
            }
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn the_first_error_ends_the_others_and_is_the_one_reported() {
        let cancel = Cancel::default();
        let both = Barrier::new(2);
        let edges: [(usize, &[usize]); 4] = [(0, &[]), (1, &[]), (2, &[0]), (3, &[1])];
        let error = run(needs(&edges), 2, &cancel, |id| {
            assert!(id.0 < 2, "nothing begins after a failure");
            both.wait();
            if id.0 == 0 {
                return Err(failure("the cause"));
            }
            loop {
                cancel.check()?;
                std::thread::yield_now();
            }
        })
        .unwrap_err();
        assert_eq!(error.to_string(), "the cause");
    }

    #[test]
    fn an_error_says_more_than_an_echo_that_came_before_it() {
        let echo = || BuildError::new(Cancelled { signal: 0 });
        let interrupted = || BuildError::new(Cancelled { signal: 2 });
        let killed = || BuildError::new(crate::run::RunError::from(Cancelled { signal: 0 }));
        for (errors, reported) in [
            ([echo(), failure("the cause")], "the cause"),
            ([killed(), failure("the cause")], "the cause"),
            ([failure("the cause"), echo()], "the cause"),
            ([failure("first"), failure("second")], "first"),
            ([echo(), interrupted()], "interrupted by signal 2"),
        ] {
            let board = Board::new(Needs::new());
            for error in errors {
                board.fail(error);
            }
            let error = board.into_outcome().unwrap_err();
            let innermost = error.chain().last().unwrap().to_string();
            assert!(
                [innermost, error.to_string()].contains(&reported.to_owned()),
                "{error}: {reported}"
            );
        }
    }

    #[test]
    fn a_panic_ends_the_build_and_not_only_its_thread() {
        let both = Barrier::new(2);
        let edges: [(usize, &[usize]); 3] = [(0, &[]), (1, &[]), (2, &[0, 1])];
        let panicked = std::panic::catch_unwind(|| {
            run(needs(&edges), 2, &Cancel::default(), |id| {
                both.wait();
                assert_eq!(id.0, 1);
                Ok(())
            })
        });
        assert!(panicked.is_err());
    }
}
